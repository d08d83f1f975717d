//! Column definitions of CREATE TABLE and ALTER TABLE: name, type and the few attributes that rows depend on.

use super::cursor::Cursor;
use super::tokens::Token;

/// A column as a statement defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// The type in the spelling of COLUMN_TYPE, such as `decimal(10,2) unsigned`; `json` whatever the server makes of it.
    pub column_type: String,
    /// Whether it may hold NULL.
    pub nullable: bool,
    /// The character set that the definition names, itself or by a collation.
    pub charset: Option<String>,
    /// The collation that the definition names.
    pub collation: Option<String>,
    /// PRIMARY KEY stands in the definition.
    pub is_primary_key: bool,
}

/// Where a definition puts its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnPlace {
    /// Before all others.
    First,
    /// Behind the column of this name.
    After(String),
}

/// Character sets that stand for bytes.
const BINARY: &str = "binary";

/// A definition with its name, up to the end of the item.
pub(super) fn definition(
    cursor: &mut Cursor<'_>,
) -> Option<(ColumnDefinition, Option<ColumnPlace>)> {
    let name = cursor.identifier()?;
    let (base, arguments) = base_type(cursor)?;
    let mut column = ColumnDefinition {
        name,
        column_type: base.clone(),
        nullable: base != "serial",
        charset: None,
        collation: None,
        is_primary_key: false,
    };
    let mut unsigned = base == "serial";
    let mut place = None;
    while cursor.peek().is_some() && !cursor.is_symbol(',') && !cursor.is_symbol(')') {
        if cursor.eat("UNSIGNED") || cursor.eat("ZEROFILL") {
            unsigned = true;
        } else if cursor.eat("FIRST") {
            place = Some(ColumnPlace::First);
        } else if cursor.eat("AFTER") {
            place = Some(ColumnPlace::After(cursor.identifier()?));
        } else {
            attribute(cursor, &mut column)?;
        }
    }
    if base.starts_with("national ") {
        column.charset = Some("utf8mb3".to_owned());
    }
    column.column_type = full_type(&base, arguments.as_deref(), &column, unsigned)?;
    if column.charset.as_deref() == Some(BINARY) {
        (column.charset, column.collation) = (None, None);
    }
    Some((column, place))
}

fn attribute(cursor: &mut Cursor<'_>, column: &mut ColumnDefinition) -> Option<()> {
    if cursor.eat("NOT") {
        if cursor.eat("NULL") {
            column.nullable = false;
        }
    } else if cursor.eat("NULL") {
        column.nullable = true;
    } else if cursor.eat("CHARSET") || (cursor.is("CHARACTER") && eat_character_set(cursor)) {
        column.charset = Some(cursor.option_value()?.to_ascii_lowercase());
    } else if cursor.eat("COLLATE") {
        let collation = cursor.option_value()?.to_ascii_lowercase();
        let charset = charset_of_collation(&collation);
        column.charset.get_or_insert_with(|| charset.to_owned());
        column.collation = Some(collation);
    } else if cursor.eat("ASCII") {
        column.charset = Some("latin1".to_owned());
    } else if cursor.eat("UNICODE") {
        column.charset = Some("ucs2".to_owned());
    } else if cursor.eat("BYTE") {
        column.charset = Some(BINARY.to_owned());
    } else if cursor.eat("PRIMARY") {
        cursor.eat("KEY");
        (column.is_primary_key, column.nullable) = (true, false);
    } else if cursor.eat("DEFAULT") {
        default_value(cursor);
    } else if cursor.eat("REFERENCES") {
        cursor.table()?;
        // Its rules hold words that mean something else in a definition.
        while cursor.peek().is_some()
            && !cursor.is_symbol(',')
            && !cursor.is_symbol(')')
            && !cursor.is("FIRST")
            && !cursor.is("AFTER")
        {
            cursor.skip_one();
        }
    } else {
        cursor.skip_one();
    }
    Some(())
}

/// The value may be NULL, which says nothing about the column.
fn default_value(cursor: &mut Cursor<'_>) {
    while cursor.eat_symbol('-') || cursor.eat_symbol('+') {}
    cursor.skip_one();
    if cursor.eat_symbol('.') {
        cursor.skip_one();
    }
}

/// Steps over CHARACTER SET, or CHAR SET.
pub(super) fn eat_character_set(cursor: &mut Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    let is = (ahead.eat("CHARACTER") || ahead.eat("CHAR")) && ahead.eat("SET");
    if is {
        *cursor = ahead;
    }
    is
}

/// Collations are named after their character sets: `utf8mb4_general_ci`, `binary`.
pub(in crate::source::mysql) fn charset_of_collation(collation: &str) -> &str {
    collation.split('_').next().unwrap_or(collation)
}

/// The name of a type in one spelling, and what stands in its brackets.
fn base_type(cursor: &mut Cursor<'_>) -> Option<(String, Option<String>)> {
    let first = cursor.word()?;
    cursor.next();
    let is_character = |word: &str| matches!(word, "char" | "character" | "nchar");
    let base = match first.as_str() {
        "national" => {
            let word = cursor.word()?;
            cursor.next();
            let varying = cursor.eat("VARYING") || !is_character(&word);
            if varying {
                "national varchar"
            } else {
                "national char"
            }
            .to_owned()
        }
        "nchar" | "nvarchar" => {
            let varying = cursor.eat("VARYING") || cursor.eat("VARCHAR") || first == "nvarchar";
            if varying {
                "national varchar"
            } else {
                "national char"
            }
            .to_owned()
        }
        "char" | "character" if cursor.eat("VARYING") => "varchar".to_owned(),
        "long" => {
            let bytes = cursor.eat("VARBINARY") || cursor.eat("RAW");
            cursor.eat_any(&["VARCHAR", "CHAR", "CHARACTER", "VARYING"]);
            if bytes { "mediumblob" } else { "mediumtext" }.to_owned()
        }
        "double" => {
            cursor.eat("PRECISION");
            first
        }
        _ => first,
    };
    Some((base, arguments(cursor)?))
}

/// What stands in the brackets behind a type, in the spelling of COLUMN_TYPE; `None` inside if there are none.
fn arguments(cursor: &mut Cursor<'_>) -> Option<Option<String>> {
    if !cursor.eat_symbol('(') {
        return Some(None);
    }
    let mut text = String::new();
    loop {
        match cursor.next()? {
            Token::Symbol(')') => return Some(Some(text)),
            Token::Symbol(',') => text.push(','),
            Token::Word(word) if word.bytes().all(|b| b.is_ascii_digit()) => text.push_str(word),
            // The server cuts blanks off the end of labels.
            Token::Text(label) => {
                let label = label.trim_end_matches(' ').replace('\'', "''");
                text.push_str(&format!("'{label}'"));
            }
            Token::Word(_) | Token::Name(_) | Token::Symbol(_) => return None,
        }
    }
}

/// The type as COLUMN_TYPE writes it; `None` for one that is not known.
fn full_type(
    base: &str,
    arguments: Option<&str>,
    column: &ColumnDefinition,
    unsigned: bool,
) -> Option<String> {
    let is_bytes = column.charset.as_deref() == Some(BINARY);
    let name = match base {
        "bool" | "boolean" => return Some("tinyint(1)".to_owned()),
        "serial" => "bigint",
        "int1" => "tinyint",
        "int2" => "smallint",
        "int3" | "middleint" => "mediumint",
        "integer" | "int4" => "int",
        "int8" => "bigint",
        "float4" => "float",
        "float8" | "real" => "double",
        "dec" | "numeric" | "fixed" => "decimal",
        "char" | "character" if is_bytes => "binary",
        "char" | "character" | "national char" => "char",
        "varchar" | "varcharacter" if is_bytes => "varbinary",
        "varchar" | "varcharacter" | "national varchar" => "varchar",
        "tinytext" | "text" | "mediumtext" | "longtext" if is_bytes => "blob",
        // Their length chooses among the four sizes, which rows do not tell apart.
        "text" | "blob" => return Some(base.to_owned()),
        _ => base,
    };
    let mut text = name.to_owned();
    if let Some(arguments) = arguments {
        text.push_str(&format!("({arguments})"));
    } else if matches!(name, "binary" | "bit" | "char") {
        text.push_str("(1)");
    }
    if unsigned {
        text.push_str(" unsigned");
    }
    text.parse::<crate::schema::MySqlType>()
        .is_ok()
        .then_some(text)
}
