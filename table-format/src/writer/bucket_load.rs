//! Bulk inserts into a table whose keys can live in one group each.
//!
//! A bucket is one file group, so writers that work side by side cannot have files of their own: what they hand in waits in
//! memory until a pass over the groups is worth it, and then goes the way of upserts. Java: BucketIndexBulkInsertPartitioner.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use tokio::sync::Mutex;

use crate::env::Reservation;
use crate::error::{Error, Result};
use crate::record::{RowKind, WriteBatch};
use crate::writer::upsert::Upserter;

/// The part of the memory ceiling that may wait.
const WAITING_PART: u64 = 8;
const WAITING_BYTES_MIN: u64 = 4 << 20;

/// What the bulk-insert writers of one instant share; `None` once it is finished.
#[derive(Debug)]
pub(crate) struct BucketLoad(Mutex<Option<Rows>>);

#[derive(Debug)]
struct Rows {
    upserter: Upserter,
    waiting: Vec<RecordBatch>,
    memory: Reservation,
}

impl BucketLoad {
    /// A load that goes on from what `upserter` has done.
    pub(crate) fn new(upserter: &Upserter) -> Arc<Self> {
        let rows = Rows {
            memory: upserter.context.env.memory.book(0),
            upserter: upserter.fork(),
            waiting: Vec::new(),
        };
        Arc::new(Self(Mutex::new(Some(rows))))
    }

    /// Takes rows in the columns of the table.
    pub(super) async fn write(&self, rows: &RecordBatch) -> Result<()> {
        let mut load = self.0.lock().await;
        let load = load.as_mut().ok_or_else(|| {
            Error::internal("a bulk insert goes on after its instant was flushed")
        })?;
        let held = load.memory.bytes() + rows.get_array_memory_size() as u64;
        load.memory.resize(held);
        load.waiting.push(rows.clone());
        let ceiling = load.upserter.context.env.memory.ceiling_bytes();
        if held >= (ceiling / WAITING_PART).max(WAITING_BYTES_MIN) {
            load.pass().await?;
        }
        Ok(())
    }

    /// Writes what waits, and hands back what has been done.
    pub(crate) async fn finish(&self) -> Result<Option<Upserter>> {
        let Some(mut load) = self.0.lock().await.take() else {
            return Ok(None);
        };
        load.pass().await?;
        Ok(Some(load.upserter))
    }
}

impl Rows {
    async fn pass(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(first) = waiting.first() else {
            return Ok(());
        };
        let records = concat_batches(&first.schema(), &waiting)?;
        drop(waiting);
        self.memory.resize(records.get_array_memory_size() as u64);
        let kinds = vec![RowKind::Insert; records.num_rows()];
        self.upserter.upsert(WriteBatch { records, kinds }).await?;
        self.memory.resize(0);
        Ok(())
    }
}
