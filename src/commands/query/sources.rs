//! Which tables a query or a prompt knows: those given by path, and those of a lake.

use query::{LakeTable, QuerySession, QueryType};
use table_format::env::MemoryBudget;

use crate::commands::Failure;
use crate::config::parse_bytes;

/// Tables, and the memory that reading them may take.
#[derive(Debug, clap::Args)]
pub(crate) struct Sources {
    /// A table: a path or URL, under the name of its directory unless one is given
    #[arg(short, long = "table", value_name = "[NAME=]PATH")]
    tables: Vec<String>,
    /// All tables of a lake, as DATABASE.TABLE; the bare name does where it is the only one
    #[arg(long, value_name = "DIR")]
    lake: Option<String>,
    /// What merging, sorting, joining and aggregating may take before they spill to disk
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = memory_bytes)]
    memory: u64,
}

impl Sources {
    /// The tables given by path, under their names.
    pub(crate) fn tables(&self) -> Vec<LakeTable> {
        self.tables.iter().map(|text| parse_table(text)).collect()
    }

    /// Whether there is any table to be queried.
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.lake.is_none()
    }

    /// A session that knows them all.
    pub(crate) async fn session(&self, query_type: &QueryType) -> Result<QuerySession, Failure> {
        let memory = MemoryBudget::new(self.memory);
        let mut session = QuerySession::new(memory).map_err(Failure::other)?;
        if let Some(lake) = &self.lake {
            let added = session.add_lake(lake, query_type).await;
            added.map_err(Failure::other)?;
        }
        for table in self.tables() {
            session.add_table(table, query_type.clone());
        }
        Ok(session)
    }
}

fn memory_bytes(text: &str) -> Result<u64, String> {
    parse_bytes(text).ok_or_else(|| format!("`{text}` is not a size such as 512MiB"))
}

/// Reads `[NAME=]PATH`; the name may be `DATABASE.TABLE`.
fn parse_table(text: &str) -> LakeTable {
    let is_name = |name: &str| !name.is_empty() && !name.contains(['/', ':']);
    let (name, location) = match text.split_once('=') {
        Some((name, location)) if is_name(name) => (name, location),
        _ => {
            let last = text.trim_end_matches('/').rsplit('/').next();
            let name = last.filter(|name| !matches!(*name, "" | "." | ".."));
            (name.unwrap_or("t"), text)
        }
    };
    let (database, name) = match name.split_once('.') {
        Some((database, table)) => (Some(database.to_owned()), table),
        None => (None, name),
    };
    LakeTable {
        database,
        name: name.to_owned(),
        location: location.to_owned(),
    }
}

/// The name of a table as it stands in a statement.
pub(crate) fn quoted(table: &LakeTable) -> String {
    let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    match &table.database {
        Some(database) => format!("{}.{}", quote(database), quote(&table.name)),
        None => quote(&table.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_named_by_the_user_or_by_their_directory() {
        for (text, name, location) in [
            ("lake/shop/orders/", "\"orders\"", "lake/shop/orders/"),
            ("o=s3://b/x", "\"o\"", "s3://b/x"),
            ("shop.o=x", "\"shop\".\"o\"", "x"),
            ("lake/day=1", "\"day=1\"", "lake/day=1"),
            ("..", "\"t\"", ".."),
        ] {
            let table = parse_table(text);
            assert_eq!(
                (quoted(&table).as_str(), table.location.as_str()),
                (name, location)
            );
        }
    }

    #[test]
    fn memory_is_a_size() {
        assert_eq!(memory_bytes("64MiB"), Ok(64 << 20));
        assert!(memory_bytes("much").unwrap_err().contains("512MiB"));
    }
}
