//! CREATE TABLE: where the new table's columns come from.

use super::alter::{AlterClause, Item, item};
use super::column::{charset_of_collation, definition, eat_character_set};
use super::cursor::Cursor;
use super::statement::TableName;

/// Where the columns of a created table come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreatedFrom {
    /// LIKE another table.
    Like(TableName),
    /// Definitions, as clauses that make the table out of one without columns.
    Definitions(Vec<AlterClause>),
    /// Something that is not understood, such as a SELECT.
    Unknown,
}

/// Reads what stands behind the table's name.
pub(super) fn created_from(cursor: &mut Cursor<'_>) -> CreatedFrom {
    let mut ahead = cursor.clone();
    ahead.eat_symbol('(');
    if ahead.eat("LIKE") {
        return ahead
            .table()
            .map_or(CreatedFrom::Unknown, CreatedFrom::Like);
    }
    definitions(cursor).map_or(CreatedFrom::Unknown, CreatedFrom::Definitions)
}

fn definitions(cursor: &mut Cursor<'_>) -> Option<Vec<AlterClause>> {
    cursor.eat_symbol('(').then_some(())?;
    let mut clauses = Vec::new();
    let mut keys = Vec::new();
    loop {
        match item(cursor)? {
            Item::PrimaryKey(columns) => keys.push(AlterClause::AddPrimaryKey(columns)),
            Item::Other => {}
            Item::Column => {
                let (column, place) = definition(cursor)?;
                if column.is_primary_key {
                    keys.push(AlterClause::AddPrimaryKey(vec![column.name.clone()]));
                }
                let if_not_exists = false;
                clauses.push(AlterClause::Add {
                    column,
                    place,
                    if_not_exists,
                });
            }
        }
        cursor.skip_item();
        if cursor.eat_symbol(')') {
            break;
        }
        cursor.eat_symbol(',').then_some(())?;
    }
    // The definitions count on the character set, wherever it stands.
    let charset = options(cursor)?;
    clauses.splice(0..0, charset.map(AlterClause::DefaultCharset));
    clauses.extend(keys);
    Some(clauses)
}

/// The table's character set, if its options name one; the outer `None` when a SELECT adds columns.
fn options(cursor: &mut Cursor<'_>) -> Option<Option<String>> {
    let mut charset = None;
    while cursor.peek().is_some() {
        if ["SELECT", "AS", "WITH", "VALUES"]
            .iter()
            .any(|word| cursor.is(word))
        {
            return None;
        }
        if cursor.eat("CHARSET") || eat_character_set(cursor) {
            charset = Some(cursor.option_value()?.to_ascii_lowercase());
        } else if cursor.eat("COLLATE") {
            let collation = cursor.option_value()?.to_ascii_lowercase();
            charset.get_or_insert_with(|| charset_of_collation(&collation).to_owned());
        } else {
            cursor.skip_one();
        }
    }
    Some(charset)
}
