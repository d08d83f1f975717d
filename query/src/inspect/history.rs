//! Every retained version of the rows of one key, and the commits that made them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::prelude::{SessionContext, ident, lit};
use table_format::env::MemoryBudget;
use table_format::schema::meta::{COMMIT_SEQNO, COMMIT_TIME, PARTITION_PATH, RECORD_KEY};
use table_format::table::{ChangeWindow, Snapshot, Table};

use crate::error::{Error, Result};
use crate::table_provider::LakebedTableProvider;

/// What one commit made of a row.
#[derive(Debug, Clone)]
pub struct RowVersion {
    /// Begin time of the commit.
    pub instant: String,
    /// The partition that the row is in, or was deleted from.
    pub partition: String,
    /// A single row with its meta columns; `None` when the commit deleted it.
    pub row: Option<RecordBatch>,
}

/// The versions of a record key, oldest first. Versions whose files were cleaned away are not among them.
///
/// # Errors
/// When the table cannot be read; for tables whose rows bear no commit times.
pub async fn history(table: &Table, key: &str, memory: &MemoryBudget) -> Result<Vec<RowVersion>> {
    let window = table.change_window(None, None).await?;
    let mut found = Found::new(window.schema());
    found.add(table.snapshot(None).await?, key, memory).await?;
    for position in 0..window.commits() {
        found.add_commit(&window, position, key, memory).await?;
    }
    Ok(found.into_versions())
}

/// Place of a version in the history: a delete comes after what its commit wrote into other partitions.
type Place = (String, bool, String);

struct Found {
    schema: SchemaRef,
    versions: BTreeMap<Place, RowVersion>,
}

impl Found {
    fn new(schema: &SchemaRef) -> Self {
        Self {
            schema: Arc::clone(schema),
            versions: BTreeMap::new(),
        }
    }

    /// What a commit found and left; a partition that had the row and has it no more was deleted from.
    async fn add_commit(
        &mut self,
        window: &ChangeWindow,
        position: usize,
        key: &str,
        memory: &MemoryBudget,
    ) -> Result<()> {
        let commit = window.retained(position).await?;
        let before = self.add(commit.before(), key, memory).await?;
        let after = self.add(commit.after(), key, memory).await?;
        for partition in before.difference(&after) {
            let instant = commit.instant.time.to_string();
            let place = (instant.clone(), true, partition.clone());
            let version = RowVersion {
                instant,
                partition: partition.clone(),
                row: None,
            };
            self.versions.insert(place, version);
        }
        Ok(())
    }

    /// Adds the rows that a snapshot has of the key; returns their partitions.
    async fn add(
        &mut self,
        snapshot: Snapshot,
        key: &str,
        memory: &MemoryBudget,
    ) -> Result<BTreeSet<String>> {
        let mut partitions = BTreeSet::new();
        if snapshot.slices().is_empty() {
            return Ok(partitions);
        }
        for rows in rows_of_key(snapshot, key, memory).await? {
            let rows = table_format::schema::adapt::adapt_batch(&rows, &self.schema)?;
            for row in 0..rows.num_rows() {
                let text = |name| text_of(&rows, name, row);
                let (instant, partition) = (text(COMMIT_TIME)?, text(PARTITION_PATH)?);
                partitions.insert(partition.clone());
                let place = (instant.clone(), false, text(COMMIT_SEQNO)?);
                self.versions.entry(place).or_insert_with(|| RowVersion {
                    instant,
                    partition,
                    row: Some(rows.slice(row, 1)),
                });
            }
        }
        Ok(partitions)
    }

    fn into_versions(self) -> Vec<RowVersion> {
        self.versions.into_values().collect()
    }
}

/// The rows of a key; files that cannot hold it are left out by their footers.
async fn rows_of_key(
    snapshot: Snapshot,
    key: &str,
    memory: &MemoryBudget,
) -> Result<Vec<RecordBatch>> {
    let provider = LakebedTableProvider::new(snapshot, memory.clone());
    let frame = SessionContext::new().read_table(Arc::new(provider))?;
    Ok(frame
        .filter(ident(RECORD_KEY).eq(lit(key)))?
        .collect()
        .await?)
}

fn text_of(rows: &RecordBatch, name: &str, row: usize) -> Result<String> {
    let column = rows.column_by_name(name);
    let column = column.and_then(|column| column.as_any().downcast_ref::<StringArray>());
    let column = column.filter(|column| column.is_valid(row));
    let column = column.ok_or_else(|| Error::Invalid(format!("a row has no {name}")))?;
    Ok(column.value(row).to_owned())
}
