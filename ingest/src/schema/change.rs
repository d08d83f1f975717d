//! How a source table's columns differ from what they were.

use std::fmt;

use super::{SourceColumn, SourceTable};

/// A table after a change, and what changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableChange {
    /// The table from now on.
    pub table: SourceTable,
    /// What became of its columns.
    pub columns: Vec<ColumnChange>,
    /// Whether other columns tell the rows apart.
    pub is_key_changed: bool,
}

/// What became of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnChange {
    /// It is new.
    Added(String),
    /// It is gone.
    Dropped(String),
    /// It has another name.
    Renamed {
        /// The name so far.
        from: String,
        /// The name from now on.
        to: String,
    },
    /// Its values are of another type in the lake.
    Retyped(String),
}

impl ColumnChange {
    /// Whether the type of a column's values changed, by the types that the lake gives them.
    pub fn of_type(old: &SourceColumn, new: &SourceColumn) -> Option<Self> {
        let lake_type = |column: &SourceColumn| column.mysql_type().ok().map(|t| t.arrow_type());
        (lake_type(old) != lake_type(new)).then(|| Self::Retyped(new.name.clone()))
    }
}

impl fmt::Display for ColumnChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(name) => write!(f, "column {name} was added"),
            Self::Dropped(name) => write!(f, "column {name} was dropped"),
            Self::Renamed { from, to } => write!(f, "column {from} was renamed to {to}"),
            Self::Retyped(name) => write!(f, "column {name} has another type"),
        }
    }
}

impl TableChange {
    /// The difference between two descriptions of a table, by the names of columns: what a renaming looks like is a column
    /// dropped and one added.
    pub fn between(old: &SourceTable, new: SourceTable) -> Self {
        let find = |table: &SourceTable, name: &str| {
            table
                .columns
                .iter()
                .find(|column| column.name == name)
                .cloned()
        };
        let mut columns = Vec::new();
        for column in &old.columns {
            match find(&new, &column.name) {
                Some(now) => columns.extend(ColumnChange::of_type(column, &now)),
                None => columns.push(ColumnChange::Dropped(column.name.clone())),
            }
        }
        let is_new = |column: &&SourceColumn| find(old, &column.name).is_none();
        let added = new.columns.iter().filter(is_new);
        columns.extend(added.map(|column| ColumnChange::Added(column.name.clone())));
        let is_key_changed = old.primary_key_names() != new.primary_key_names();
        Self {
            table: new,
            columns,
            is_key_changed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_difference_by_names_and_lake_types() {
        let column = |(name, column_type): &(&str, &str)| SourceColumn {
            name: (*name).to_owned(),
            column_type: (*column_type).to_owned(),
            nullable: true,
            charset: None,
            collation: None,
            is_json_alias: false,
        };
        let table = |columns: &[(&str, &str)]| SourceTable {
            database: "d".to_owned(),
            name: "t".to_owned(),
            columns: columns.iter().map(column).collect(),
            primary_key: vec![0],
            chunk_column: None,
            charset: None,
        };
        let old = table(&[
            ("id", "int"),
            ("a", "smallint"),
            ("b", "int"),
            ("c", "date"),
        ]);
        let new = table(&[
            ("id", "int(11)"),
            ("x", "int"),
            ("a", "int"),
            ("b", "bigint"),
        ]);
        let change = TableChange::between(&old, new);
        let told: Vec<_> = change.columns.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "column b has another type",
                "column c was dropped",
                "column x was added"
            ]
        );
        assert!(!change.is_key_changed);
    }
}
