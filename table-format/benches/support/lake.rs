//! A table in a temporary directory.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use table_format::config::TableType;
use table_format::env::{Env, MemoryBudget};
use table_format::record::{RowKind, WriteBatch};
use table_format::storage::Storage;
use table_format::table::{Table, TableSpec};
use table_format::writer::{TableWriter, WriteOperation, WriterOptions};
use tempfile::TempDir;

use super::orders;

/// Rows of a batch.
pub(crate) const BATCH_ROWS: u32 = 10_000;

/// A table of orders that goes away with this value.
pub(crate) struct Lake {
    pub(crate) table: Table,
    pub(crate) writer: TableWriter,
    pub(crate) schema: SchemaRef,
    _directory: TempDir,
}

/// The environment of all benchmarks: a ceiling that does not bind.
pub(crate) fn env() -> Env {
    Env::system(MemoryBudget::new(4 << 30))
}

impl Lake {
    /// An empty table.
    pub(crate) async fn create(table_type: TableType) -> Self {
        let directory = TempDir::new().unwrap();
        let storage = Storage::open(directory.path().to_str().unwrap()).unwrap();
        let schema = super::orders_schema();
        let spec = TableSpec {
            name: "orders".to_owned(),
            database: "shop".to_owned(),
            table_type,
            schema: SchemaRef::clone(&schema),
            record_key: vec!["id".to_owned()],
            partition_by: Vec::new(),
            ordering: Vec::new(),
            merge_mode: None,
            properties: BTreeMap::new(),
        };
        let table = Table::create(storage, env(), spec).await.unwrap();
        let writer = table.writer(env(), WriterOptions::default()).await.unwrap();
        Self {
            table,
            writer,
            schema,
            _directory: directory,
        }
    }

    /// Commits so many rows as a snapshot does.
    pub(crate) async fn load(&mut self, rows: u32) {
        let mut transaction = self.writer.begin(WriteOperation::BulkInsert).await.unwrap();
        let mut insert = transaction.bulk_insert();
        for first in (1..=rows).step_by(BATCH_ROWS as usize) {
            insert
                .write(&orders(&self.schema, first, BATCH_ROWS, 0))
                .await
                .unwrap();
        }
        transaction.add(insert.finish().await.unwrap());
        transaction.commit(BTreeMap::new()).await.unwrap();
    }

    /// Commits new versions of the rows from id `first` on, as the stream does.
    pub(crate) async fn update(&mut self, first: u32, rows: u32, version: u32) {
        let mut transaction = self.writer.begin(WriteOperation::Upsert).await.unwrap();
        for first in (first..first + rows).step_by(BATCH_ROWS as usize) {
            let records = orders(&self.schema, first, BATCH_ROWS, version);
            let kinds = vec![RowKind::UpdateAfter; records.num_rows()];
            transaction
                .upsert(WriteBatch { records, kinds })
                .await
                .unwrap();
        }
        transaction.commit(BTreeMap::new()).await.unwrap();
    }
}
