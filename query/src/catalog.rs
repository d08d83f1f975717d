//! The tables that a session knows by name. They are opened when a statement names them, and read as they are then.

use std::collections::BTreeMap;

use table_format::table::Table;

use crate::error::{Error, Result};
use crate::lake::LakeTable;
use crate::query_type::QueryType;

/// Names in an error, so that a typing mistake is seen.
const NAMES_SHOWN: usize = 8;

/// A table's name: database, if it has one, and table.
pub(crate) type TableName = (Option<String>, String);

/// Where tables lie, and what a statement sees of them.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    tables: BTreeMap<TableName, (String, QueryType)>,
}

impl Catalog {
    pub(crate) fn add(&mut self, table: LakeTable, query_type: QueryType) {
        let name = (table.database, table.name);
        self.tables.insert(name, (table.location, query_type));
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &TableName> {
        self.tables.keys()
    }

    /// The table of this name; one without a database may be any whose name is the only one like it.
    ///
    /// # Errors
    /// `Invalid` when several databases have a table of the name.
    pub(crate) fn find(
        &self,
        database: Option<&str>,
        name: &str,
    ) -> Result<Option<(&str, &QueryType)>> {
        let exact = (database.map(str::to_owned), name.to_owned());
        if let Some((location, query_type)) = self.tables.get(&exact) {
            return Ok(Some((location.as_str(), query_type)));
        }
        if database.is_some() {
            return Ok(None);
        }
        let mut alike = self.tables.iter().filter(|((_, table), _)| table == name);
        match (alike.next(), alike.next()) {
            (Some((_, (location, query_type))), None) => Ok(Some((location.as_str(), query_type))),
            (Some((one, _)), Some((other, _))) => Err(Error::Invalid(format!(
                "`{name}` may be {} or {}: name its database",
                joined(one),
                joined(other)
            ))),
            (None, _) => Ok(None),
        }
    }

    /// Opens a table for a table function: by its name, or by its path.
    ///
    /// # Errors
    /// `Invalid` when there is no such name; as [`Table::open`].
    pub(crate) async fn open(&self, name: &str) -> Result<Table> {
        let (database, table) = match name.split_once('.') {
            Some((database, table)) => (Some(database), table),
            None => (None, name),
        };
        if let Some((location, _)) = self.find(database, table)? {
            return Ok(Table::open(location).await?);
        }
        if name.contains('/') {
            return Ok(Table::open(name).await?);
        }
        Err(self.unknown(name))
    }

    pub(crate) fn unknown(&self, name: &str) -> Error {
        let mut names: Vec<String> = self.names().map(joined).collect();
        let left = names.len().saturating_sub(NAMES_SHOWN);
        names.truncate(NAMES_SHOWN);
        let known = match (names.is_empty(), left) {
            (true, _) => "there are none: give -t [NAME=]PATH or --lake DIR".to_owned(),
            (false, 0) => format!("there are {}", names.join(", ")),
            (false, left) => format!("there are {} and {left} more", names.join(", ")),
        };
        Error::Invalid(format!("no table `{name}`; {known}"))
    }
}

/// `database.table`, or the bare name.
pub(crate) fn joined((database, table): &TableName) -> String {
    match database {
        Some(database) => format!("{database}.{table}"),
        None => table.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(database: Option<&str>, name: &str) -> LakeTable {
        LakeTable {
            database: database.map(str::to_owned),
            name: name.to_owned(),
            location: format!("{}/{name}", database.unwrap_or("-")),
        }
    }

    #[test]
    fn a_bare_name_finds_the_only_table_of_the_name() {
        let mut catalog = Catalog::default();
        for (database, name) in [(Some("a"), "x"), (Some("a"), "y"), (Some("b"), "y")] {
            catalog.add(table(database, name), QueryType::Snapshot);
        }
        assert_eq!(catalog.find(None, "x").unwrap().unwrap().0, "a/x");
        assert_eq!(catalog.find(Some("b"), "y").unwrap().unwrap().0, "b/y");
        let ambiguous = catalog.find(None, "y").unwrap_err().to_string();
        assert_eq!(ambiguous, "`y` may be a.y or b.y: name its database");
        assert!(catalog.find(Some("b"), "x").unwrap().is_none());
        let unknown = catalog.unknown("z").to_string();
        assert_eq!(unknown, "no table `z`; there are a.x, a.y, b.y");
    }
}
