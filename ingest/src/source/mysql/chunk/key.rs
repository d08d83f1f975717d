//! The key columns that chunks are cut by: how a value is fetched as text, and how the text becomes a literal again.

use crate::schema::{SourceColumn, SourceTable};
use crate::source::mysql::result_set::TextRow;
use crate::source::mysql::sql::{quote_name, quote_text};
use crate::{Error, ErrorKind, Result};

use super::KeyBound;

/// How values of a key column travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source::mysql) enum KeyKind {
    /// Whole numbers, YEAR included.
    Integer,
    /// DECIMAL.
    Decimal,
    /// ENUM, SET, BIT: ordered by their number, not by what they look like.
    Numbered,
    /// Dates and times, UUID, INET4, INET6: a text that the server reads back.
    Quoted,
    /// Byte strings.
    Bytes,
    /// Texts: their bytes with the column's character set and collation.
    Text { charset: String, collation: String },
}

/// A column of the chunk key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source::mysql) struct KeyColumn {
    /// The name between backticks.
    pub(in crate::source::mysql) quoted: String,
    /// The name.
    pub(in crate::source::mysql) name: String,
    /// Whether rows may hold NULL here, which no comparison finds.
    pub(in crate::source::mysql) nullable: bool,
    pub(in crate::source::mysql) kind: KeyKind,
}

/// The leading columns of the table's key that chunks can be cut by: up to the first of a type without reliable equality.
///
/// A column that is chosen for the chunks takes their place.
pub(in crate::source::mysql) fn chunk_key(table: &SourceTable) -> Vec<KeyColumn> {
    let chosen = table.chunk_column.as_slice();
    let positions = if chosen.is_empty() {
        &table.primary_key[..]
    } else {
        chosen
    };
    let columns = positions
        .iter()
        .filter_map(|position| table.columns.get(*position));
    columns.map_while(key_column).collect()
}

/// A column that rows can be ordered by; `None` for a type without reliable equality.
pub(in crate::source::mysql) fn key_column(column: &SourceColumn) -> Option<KeyColumn> {
    let kind = kind_of(column)?;
    Some(KeyColumn {
        quoted: quote_name(&column.name),
        name: column.name.clone(),
        nullable: column.nullable,
        kind,
    })
}

fn kind_of(column: &SourceColumn) -> Option<KeyKind> {
    let lower = column.column_type.to_ascii_lowercase();
    let end = lower.find(['(', ' ']).unwrap_or(lower.len());
    Some(match lower.get(..end)? {
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "year" => {
            KeyKind::Integer
        }
        "decimal" => KeyKind::Decimal,
        "enum" | "set" | "bit" => KeyKind::Numbered,
        "date" | "datetime" | "timestamp" | "time" | "uuid" | "inet4" | "inet6" => KeyKind::Quoted,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => KeyKind::Bytes,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
            match (column.charset.clone()?, column.collation.clone()?) {
                (charset, _) if charset == "binary" => KeyKind::Bytes,
                (charset, collation) => KeyKind::Text { charset, collation },
            }
        }
        // FLOAT and DOUBLE: what prints the same need not be equal.
        _ => return None,
    })
}

impl KeyColumn {
    /// The expression that gives the value as text.
    fn selected(&self) -> String {
        match self.kind {
            KeyKind::Integer | KeyKind::Decimal | KeyKind::Quoted => self.quoted.clone(),
            KeyKind::Numbered => format!("CAST({} AS UNSIGNED)", self.quoted),
            KeyKind::Bytes | KeyKind::Text { .. } => format!("HEX({})", self.quoted),
        }
    }

    /// The literal of a value that [`Self::selected`] gave.
    pub(in crate::source::mysql) fn literal(&self, value: &str) -> Result<String> {
        let hex = |value: &str| {
            value.len().is_multiple_of(2) && value.bytes().all(|b| b.is_ascii_hexdigit())
        };
        match &self.kind {
            KeyKind::Integer | KeyKind::Decimal | KeyKind::Numbered if is_number(value) => {
                Ok(value.to_owned())
            }
            KeyKind::Quoted => Ok(quote_text(value)),
            KeyKind::Bytes if hex(value) => Ok(format!("_binary x'{value}'")),
            KeyKind::Text { charset, collation } if hex(value) => {
                Ok(format!("_{charset} x'{value}' COLLATE {collation}"))
            }
            _ => Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "`{value}` is no bound of key column {}: was the key changed?",
                    self.name
                ),
            )),
        }
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    all_digits(whole) && all_digits(fraction)
}

/// The expressions of all key columns.
pub(in crate::source::mysql) fn select_list(key: &[KeyColumn]) -> String {
    key.iter()
        .map(KeyColumn::selected)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The columns in ascending order.
pub(in crate::source::mysql) fn order_list(key: &[KeyColumn]) -> String {
    key.iter()
        .map(|column| column.quoted.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

impl KeyBound {
    /// The values of a row of [`select_list`].
    pub(in crate::source::mysql) fn read(row: &TextRow, columns: usize) -> Result<Self> {
        let values = (0..columns).map(|position| row.require(position).map(str::to_owned));
        values.collect::<Result<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, column_type: &str, charset: Option<&str>) -> SourceColumn {
        SourceColumn {
            name: name.to_owned(),
            column_type: column_type.to_owned(),
            nullable: false,
            charset: charset.map(str::to_owned),
            collation: charset.map(|charset| format!("{charset}_bin")),
            is_json_alias: false,
        }
    }

    #[test]
    fn the_chunk_key_stops_at_the_first_inexact_column() {
        let table = SourceTable {
            database: "d".to_owned(),
            name: "t".to_owned(),
            columns: vec![
                column("f", "double", None),
                column("b", "varchar(9)", Some("latin1")),
                column("a", "int(10) unsigned", None),
            ],
            primary_key: vec![2, 1, 0],
            chunk_column: None,
            charset: None,
        };
        let names: Vec<_> = chunk_key(&table)
            .into_iter()
            .map(|column| column.quoted)
            .collect();
        assert_eq!(names, ["`a`", "`b`"]);
    }

    #[test]
    fn literals_take_only_what_their_type_writes() {
        let literal = |column_type: &str, charset, value: &str| {
            let column = column("k", column_type, charset);
            let kind = kind_of(&column).unwrap();
            KeyColumn {
                quoted: "`k`".to_owned(),
                name: column.name,
                nullable: false,
                kind,
            }
            .literal(value)
        };
        assert_eq!(
            literal("bigint unsigned", None, "18446744073709551615").unwrap(),
            "18446744073709551615"
        );
        assert_eq!(literal("decimal(9,2)", None, "-1.50").unwrap(), "-1.50");
        assert_eq!(
            literal("char(3)", Some("latin1"), "6162").unwrap(),
            "_latin1 x'6162' COLLATE latin1_bin"
        );
        assert_eq!(
            literal("binary(2)", None, "00ff").unwrap(),
            "_binary x'00ff'"
        );
        assert_eq!(
            literal("datetime(6)", None, "2024-01-01").unwrap(),
            "'2024-01-01'"
        );
        for (column_type, charset, value) in [
            ("int", None, "1 OR 1=1"),
            ("int", None, ""),
            ("int", None, "-"),
            ("char(3)", Some("latin1"), "zz"),
            ("char(3)", Some("latin1"), "616"),
            ("varbinary(3)", None, "x'"),
        ] {
            assert_eq!(
                literal(column_type, charset, value).unwrap_err().kind(),
                ErrorKind::Corrupt,
                "{value}"
            );
        }
    }
}
