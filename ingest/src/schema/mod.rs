//! Source tables as the decoders and the lake see them.

mod arrow_type;
mod change;
mod charset;
mod mysql_type;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use change::{ColumnChange, TableChange};
pub use charset::Charset;
pub use mysql_type::MySqlType;

/// A table of the source, with its columns in the order of row images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceTable {
    /// Database (schema) it lives in.
    pub database: String,
    /// Its name.
    pub name: String,
    /// All columns, in ordinal order, generated and invisible ones included (row images hold them too).
    pub columns: Vec<SourceColumn>,
    /// Positions in `columns` of the primary key (or of the first non-null unique key), in index order.
    pub primary_key: Vec<usize>,
    /// The column that cuts a snapshot's chunks in place of the key. Chosen for a run; no part of the table.
    #[serde(skip)]
    pub chunk_column: Option<usize>,
    /// The character set of text columns that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
}

/// A column as information_schema.COLUMNS describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceColumn {
    /// COLUMN_NAME.
    pub name: String,
    /// COLUMN_TYPE, such as `decimal(10,2) unsigned` or `enum('a','b')`.
    pub column_type: String,
    /// IS_NULLABLE.
    #[serde(default, skip_serializing_if = "is_false")]
    pub nullable: bool,
    /// CHARACTER_SET_NAME of a text column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// COLLATION_NAME of a text column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<String>,
    /// MariaDB's JSON: a LONGTEXT with a `json_valid` check.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_json_alias: bool,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

impl fmt::Display for SourceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.database, self.name)
    }
}
