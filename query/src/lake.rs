//! The tables of a lake: `LAKE/DATABASE/TABLE`, or `LAKE/TABLE` without a database.

use futures::stream::{self, StreamExt, TryStreamExt};
use table_format::storage::Storage;

use crate::error::Result;

const LISTINGS_AT_ONCE: usize = 8;

/// A table found in a lake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LakeTable {
    /// The directory above the table, unless it lies directly in the lake.
    pub database: Option<String>,
    /// The table's directory.
    pub name: String,
    /// Where it is.
    pub location: String,
}

/// Finds the tables of a lake, by database and name. A directory is a table when it holds `.hoodie`.
///
/// # Errors
/// When the location cannot be listed.
pub async fn tables_of_lake(location: &str) -> Result<Vec<LakeTable>> {
    let storage = Storage::open(location)?;
    let mut tables = Vec::new();
    let dirs = storage.list("").await?.dirs;
    let found: Vec<Vec<LakeTable>> = stream::iter(dirs)
        .map(|dir| tables_in(&storage, dir))
        .buffered(LISTINGS_AT_ONCE)
        .try_collect()
        .await?;
    tables.extend(found.into_iter().flatten());
    tables.sort();
    Ok(tables)
}

/// The directory itself if it is a table, else the tables in it.
async fn tables_in(storage: &Storage, dir: String) -> Result<Vec<LakeTable>> {
    let below = storage.list(&dir).await?.dirs;
    if below.iter().any(|name| name == ".hoodie") {
        return Ok(vec![LakeTable {
            location: storage.location_of(&dir),
            name: dir,
            database: None,
        }]);
    }
    let mut tables = Vec::new();
    for name in below {
        let path = format!("{dir}/{name}");
        if storage
            .list(&path)
            .await?
            .dirs
            .iter()
            .any(|inner| inner == ".hoodie")
        {
            tables.push(LakeTable {
                location: storage.location_of(&path),
                name,
                database: Some(dir.clone()),
            });
        }
    }
    Ok(tables)
}
