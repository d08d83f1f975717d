//! The clauses of ALTER TABLE that change columns or keys.

use super::column::{ColumnDefinition, ColumnPlace, definition, eat_character_set};
use super::cursor::Cursor;

/// A clause of ALTER TABLE. Clauses without effect on columns and keys are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlterClause {
    /// ADD COLUMN.
    Add {
        /// The new column.
        column: ColumnDefinition,
        /// Where it goes; at the end by default.
        place: Option<ColumnPlace>,
        /// IF NOT EXISTS: nothing happens when it is there.
        if_not_exists: bool,
    },
    /// DROP COLUMN.
    Drop {
        /// Its name.
        name: String,
        /// IF EXISTS: nothing happens when it is not there.
        if_exists: bool,
    },
    /// CHANGE COLUMN, and MODIFY COLUMN, which keeps the name.
    Change {
        /// The name so far.
        name: String,
        /// The column from now on.
        column: ColumnDefinition,
        /// Where it goes; where it was by default.
        place: Option<ColumnPlace>,
        /// IF EXISTS: nothing happens when it is not there.
        if_exists: bool,
    },
    /// RENAME COLUMN.
    Rename {
        /// The name so far.
        from: String,
        /// The name from now on.
        to: String,
        /// IF EXISTS: nothing happens when it is not there.
        if_exists: bool,
    },
    /// DROP PRIMARY KEY.
    DropPrimaryKey,
    /// ADD PRIMARY KEY with these columns.
    AddPrimaryKey(Vec<String>),
    /// CONVERT TO CHARACTER SET: of every text column and of those to come.
    Convert(String),
    /// The character set of text columns to come.
    DefaultCharset(String),
}

/// The clauses behind the table's name; `None` when one that changes columns is not understood.
pub(super) fn clauses(cursor: &mut Cursor<'_>) -> Option<Vec<AlterClause>> {
    let mut clauses = Vec::new();
    // MariaDB: WAIT n, NOWAIT.
    if cursor.eat("WAIT") {
        cursor.next();
    }
    cursor.eat("NOWAIT");
    while cursor.peek().is_some() {
        clause(cursor, &mut clauses)?;
        cursor.skip_item();
        if !cursor.eat_symbol(',') {
            // A bracket that closes nothing: not for us to understand.
            return cursor.peek().is_none().then_some(clauses);
        }
    }
    Some(clauses)
}

fn clause(cursor: &mut Cursor<'_>, clauses: &mut Vec<AlterClause>) -> Option<()> {
    if cursor.eat("ADD") {
        add(cursor, clauses)
    } else if cursor.eat("DROP") {
        drop_clause(cursor, clauses)
    } else if cursor.eat("MODIFY") {
        cursor.eat("COLUMN");
        let if_exists = eat_if_exists(cursor);
        let (column, place) = definition(cursor)?;
        let name = column.name.clone();
        clauses.push(AlterClause::Change {
            name,
            column,
            place,
            if_exists,
        });
        Some(())
    } else if cursor.eat("CHANGE") {
        cursor.eat("COLUMN");
        let if_exists = eat_if_exists(cursor);
        let name = cursor.identifier()?;
        let (column, place) = definition(cursor)?;
        clauses.push(AlterClause::Change {
            name,
            column,
            place,
            if_exists,
        });
        Some(())
    } else if cursor.eat("RENAME") {
        if cursor.eat("COLUMN") {
            let if_exists = eat_if_exists(cursor);
            let from = cursor.identifier()?;
            cursor.eat("TO").then_some(())?;
            let to = cursor.identifier()?;
            clauses.push(AlterClause::Rename {
                from,
                to,
                if_exists,
            });
        }
        Some(())
    } else if cursor.eat("CONVERT") {
        cursor.eat("TO").then_some(())?;
        (cursor.eat("CHARSET") || eat_character_set(cursor)).then_some(())?;
        // CONVERT TO CHARACTER SET DEFAULT takes the database's.
        let charset = cursor
            .option_value()
            .filter(|name| !name.eq_ignore_ascii_case("default"))?;
        clauses.push(AlterClause::Convert(charset.to_ascii_lowercase()));
        Some(())
    } else {
        table_option(cursor, clauses)
    }
}

/// Options of the table: only the character set matters. Several may follow without a comma.
fn table_option(cursor: &mut Cursor<'_>, clauses: &mut Vec<AlterClause>) -> Option<()> {
    while cursor.peek().is_some() && !cursor.is_symbol(',') {
        if cursor.eat("CHARSET") || eat_character_set(cursor) {
            let charset = cursor.option_value()?.to_ascii_lowercase();
            clauses.push(AlterClause::DefaultCharset(charset));
        } else {
            cursor.skip_one();
        }
    }
    Some(())
}

/// IF EXISTS or IF NOT EXISTS.
fn eat_if_exists(cursor: &mut Cursor<'_>) -> bool {
    let is = cursor.is("IF");
    cursor.eat_if_exists();
    is
}

fn add(cursor: &mut Cursor<'_>, clauses: &mut Vec<AlterClause>) -> Option<()> {
    if !cursor.eat("COLUMN") {
        match item(cursor)? {
            Item::PrimaryKey(columns) => {
                clauses.push(AlterClause::AddPrimaryKey(columns));
                return Some(());
            }
            Item::Other => return Some(()),
            Item::Column if is_no_column(cursor) => return Some(()),
            Item::Column => {}
        }
    }
    let if_not_exists = eat_if_exists(cursor);
    let mut push = |(column, place): (ColumnDefinition, Option<ColumnPlace>)| {
        if column.is_primary_key {
            clauses.push(AlterClause::AddPrimaryKey(vec![column.name.clone()]));
        }
        clauses.push(AlterClause::Add {
            column,
            place,
            if_not_exists,
        });
    };
    if !cursor.eat_symbol('(') {
        push(definition(cursor)?);
        return Some(());
    }
    loop {
        match item(cursor)? {
            Item::PrimaryKey(_) | Item::Other => cursor.skip_item(),
            Item::Column => push(definition(cursor)?),
        }
        if cursor.eat_symbol(')') {
            return Some(());
        }
        cursor.eat_symbol(',').then_some(())?;
    }
}

/// What an item of a list of definitions is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A column: nothing of it is read yet.
    Column,
    /// A primary key with its columns, read up to the closing bracket.
    PrimaryKey(Vec<String>),
    /// Another index or constraint: nothing of it is read yet.
    Other,
}

/// Looks what item comes; `None` for a primary key that is not understood.
pub(super) fn item(cursor: &mut Cursor<'_>) -> Option<Item> {
    const KEYS: [&str; 9] = [
        "INDEX",
        "KEY",
        "UNIQUE",
        "FULLTEXT",
        "SPATIAL",
        "VECTOR",
        "FOREIGN",
        "CHECK",
        "CONSTRAINT",
    ];
    let mut ahead = cursor.clone();
    if ahead.eat("CONSTRAINT") && !ahead.is("PRIMARY") && !is_constraint_kind(&ahead) {
        ahead.identifier();
    }
    if ahead.eat("PRIMARY") {
        ahead.eat("KEY");
        while !ahead.is_symbol('(') {
            // USING BTREE, and a name, which servers take and forget.
            ahead.next()?;
        }
        let names = ahead.names_in_brackets()?;
        *cursor = ahead;
        return Some(Item::PrimaryKey(names));
    }
    let is_key = KEYS.iter().any(|key| cursor.is(key)) && !is_column_called_vector(cursor);
    Some(if is_key { Item::Other } else { Item::Column })
}

fn is_constraint_kind(cursor: &Cursor<'_>) -> bool {
    ["UNIQUE", "FOREIGN", "CHECK"]
        .iter()
        .any(|kind| cursor.is(kind))
}

/// VECTOR is no reserved word: a column may have that name.
fn is_column_called_vector(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    ahead.eat("VECTOR") && !ahead.is("INDEX") && !ahead.is("KEY") && !ahead.is_symbol('(')
}

/// What ADD and DROP take that is neither column nor key: partitions, and MariaDB's time periods.
fn is_no_column(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    cursor.is("PARTITION")
        || (ahead.eat("PERIOD") && ahead.is("FOR"))
        || (ahead.eat("SYSTEM") && ahead.is("VERSIONING"))
}

fn drop_clause(cursor: &mut Cursor<'_>, clauses: &mut Vec<AlterClause>) -> Option<()> {
    const OTHERS: [&str; 6] = [
        "INDEX",
        "KEY",
        "FOREIGN",
        "CHECK",
        "CONSTRAINT",
        "PARTITION",
    ];
    if !cursor.eat("COLUMN") {
        if cursor.eat("PRIMARY") {
            cursor.eat("KEY");
            clauses.push(AlterClause::DropPrimaryKey);
            return Some(());
        }
        if OTHERS.iter().any(|other| cursor.is(other)) || is_no_column(cursor) {
            return Some(());
        }
    }
    let if_exists = eat_if_exists(cursor);
    let name = cursor.identifier()?;
    clauses.push(AlterClause::Drop { name, if_exists });
    Some(())
}
