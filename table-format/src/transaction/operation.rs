//! Rows in the way of the instant's operation: collected until a pass over the file groups is worth it, then written.
//!
//! Java: SparkUpsertCommitActionExecutor and its siblings, one per operation.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use crate::env::Reservation;
use crate::error::{Error, Result};
use crate::record::{RowKind, WriteBatch};
use crate::timeline::metadata::WriteOperation;
use crate::transaction::commit::Transaction;
use crate::writer::{BulkInsertWriter, sorted_new_rows};

/// The part of the memory ceiling that may wait: while it is written it is there two or three times. The more waits, the
/// fewer times a copy-on-write group is written anew.
const WAITING_PART: u64 = 4;
const WAITING_BYTES_MIN: u64 = 4 << 20;
/// Rows given to a file at once.
const ROWS_AT_ONCE: usize = 8 << 10;

/// Rows on their way into an instant.
#[derive(Debug)]
pub(super) struct Incoming {
    waiting: Vec<RecordBatch>,
    memory: Reservation,
    passes: u64,
    /// In a lock that is never contended: the writer may move between threads, but not be shared, and whoever looks at the
    /// transaction across an await shares it.
    bulk: Mutex<Option<Box<BulkInsertWriter>>>,
    /// Partitions that are to be dropped.
    pub(super) dropped: BTreeSet<String>,
}

impl Incoming {
    pub(super) fn new(memory: Reservation) -> Self {
        Self {
            waiting: Vec::new(),
            memory,
            passes: 0,
            bulk: Mutex::default(),
            dropped: BTreeSet::new(),
        }
    }

    fn take_bulk(&mut self) -> Option<Box<BulkInsertWriter>> {
        self.bulk
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn push(&mut self, rows: RecordBatch) {
        let bytes = rows.get_array_memory_size() as u64;
        self.memory.resize(self.memory.bytes() + bytes);
        self.waiting.push(rows);
    }

    /// What waits, in one batch.
    fn take(&mut self) -> Result<Option<RecordBatch>> {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(first) = waiting.first() else {
            return Ok(None);
        };
        let rows = match waiting.as_slice() {
            [only] => only.clone(),
            several => concat_batches(&first.schema(), several)?,
        };
        drop(waiting);
        self.memory.resize(rows.get_array_memory_size() as u64);
        Ok(Some(rows))
    }
}

impl Transaction {
    /// Writes rows in the way of the operation with which this instant was begun: upserts and inserts them, deletes their
    /// keys, or drops their partitions. All calls of an instant take batches of the same columns.
    ///
    /// # Errors
    /// `Invalid` for rows that do not fit the table, naming column or key; `Unsupported` for operations that write no rows;
    /// what the store says. The instant cannot be committed any more then.
    pub async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        if let Some(first) = self.incoming.waiting.first()
            && first.schema_ref() != rows.schema_ref()
        {
            self.pass().await?;
        }
        self.incoming.push(rows);
        let ceiling = self.context.env.memory.ceiling_bytes();
        let limit = (ceiling / WAITING_PART).max(WAITING_BYTES_MIN);
        if self.incoming.memory.bytes() >= limit || self.streams() {
            self.pass().await?;
        }
        Ok(())
    }

    /// Deletes the rows with these keys, whatever their ordering values; only key and partition columns are needed.
    ///
    /// # Errors
    /// As [`Transaction::write`].
    pub async fn delete(&mut self, keys: RecordBatch) -> Result<()> {
        self.finish_bucket_load().await?;
        self.upserter.delete(keys).await
    }

    /// Drops the partitions of these paths; `*` stands for any text. Only in an instant of
    /// [`WriteOperation::DeletePartition`].
    ///
    /// # Errors
    /// `Invalid` in other instants, and for a path without `*` that is no partition.
    pub fn drop_partitions(&mut self, paths: &[String]) -> Result<()> {
        if self.operation != WriteOperation::DeletePartition {
            return Err(Error::invalid(format!(
                "an instant of {} drops no partitions",
                self.operation
            )));
        }
        for path in paths {
            let known = self.upserter.groups().partitions();
            let found = known.filter(|(known, _)| matches_path(known, path));
            let found: Vec<String> = found.map(|(known, _)| known.to_owned()).collect();
            if found.is_empty() && !path.contains('*') {
                return Err(Error::invalid(format!(
                    "table {} has no partition `{path}`",
                    self.context.base_format.table_name
                )));
            }
            self.incoming.dropped.extend(found);
        }
        Ok(())
    }

    /// Writes the rows that [`Transaction::write`] has kept back so far, and finishes files. A commit does so by itself;
    /// done before, errors of rows come when the instant can still be aborted.
    ///
    /// # Errors
    /// As [`Transaction::write`].
    pub async fn flush(&mut self) -> Result<()> {
        self.finish_bucket_load().await?;
        self.pass().await?;
        if let Some(bulk) = self.incoming.take_bulk() {
            let stats = bulk.finish().await?;
            self.add(stats);
        }
        Ok(())
    }

    /// Whether rows need not wait for one another.
    fn streams(&self) -> bool {
        let options = &self.context.options;
        self.writes_new_groups() && !options.inserts.sorts_bulk && !options.inserts.combines
    }

    fn writes_new_groups(&self) -> bool {
        let looks_nothing_up = matches!(
            self.operation,
            WriteOperation::BulkInsert
                | WriteOperation::InsertOverwrite
                | WriteOperation::InsertOverwriteTable
        );
        looks_nothing_up && !self.context.index.fixes_groups()
    }

    /// Whether rows go to the groups of their keys. With a bucket index inserts have no choice. Java:
    /// HoodieBucketIndex#requiresTagging.
    fn upserts(&self) -> bool {
        let inserts = matches!(
            self.operation,
            WriteOperation::Insert
                | WriteOperation::BulkInsert
                | WriteOperation::InsertOverwrite
                | WriteOperation::InsertOverwriteTable
        );
        self.operation == WriteOperation::Upsert || inserts && self.context.index.fixes_groups()
    }

    async fn pass(&mut self) -> Result<()> {
        let Some(rows) = self.incoming.take()? else {
            return Ok(());
        };
        let is_insert = !self.upserts()
            && (self.operation == WriteOperation::Insert || self.writes_new_groups());
        let combines = self.context.options.inserts.combines && is_insert;
        if combines && self.incoming.passes > 0 {
            return Err(Error::invalid(
                "hoodie.combine.before.insert needs all rows in memory at once: raise the memory ceiling, or upsert",
            ));
        }
        self.incoming.passes += 1;
        let all = |rows: RecordBatch, kind| WriteBatch {
            kinds: vec![kind; rows.num_rows()],
            records: rows,
        };
        match self.operation {
            _ if self.upserts() => {
                self.finish_bucket_load().await?;
                self.upserter
                    .upsert(all(rows, RowKind::UpdateAfter))
                    .await?;
            }
            WriteOperation::Delete => self.upserter.delete(rows).await?,
            WriteOperation::Insert => {
                self.upserter
                    .insert(all(rows, RowKind::Insert), combines)
                    .await?;
            }
            WriteOperation::DeletePartition => {
                let paths = self.context.partitions.group(&rows)?;
                self.incoming
                    .dropped
                    .extend(paths.into_iter().map(|(path, _)| path));
            }
            _ if self.writes_new_groups() => self.write_new_groups(rows).await?,
            other => {
                return Err(Error::unsupported(format!(
                    "an instant of {other} takes no rows"
                )));
            }
        }
        self.incoming.memory.resize(0);
        Ok(())
    }

    async fn write_new_groups(&mut self, rows: RecordBatch) -> Result<()> {
        let rows = if self.streams() {
            rows
        } else {
            sorted_new_rows(&self.context, rows).await?
        };
        let mut bulk = match self.incoming.take_bulk() {
            Some(bulk) => bulk,
            None => Box::new(self.bulk_insert()),
        };
        let mut offset = 0;
        while offset < rows.num_rows() {
            let length = ROWS_AT_ONCE.min(rows.num_rows() - offset);
            bulk.write(&rows.slice(offset, length)).await?;
            offset += length;
        }
        self.incoming.bulk = Mutex::new(Some(bulk));
        Ok(())
    }
}

/// Whether a path fits a pattern in which `*` stands for any text.
fn matches_path(path: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::matches_path;

    #[test]
    fn stars_stand_for_any_text() {
        for (path, pattern) in [
            ("day=1", "day=1"),
            ("day=1/h=2", "day=1/*"),
            ("day=1/h=2", "*h=2"),
            ("day=1/h=2", "d*=1*2"),
            ("", "*"),
        ] {
            assert!(matches_path(path, pattern), "{path} {pattern}");
        }
        for (path, pattern) in [
            ("day=11", "day=1"),
            ("day=1", "*2"),
            ("day=1", "a*b*c"),
            ("ab", "ab*b"),
        ] {
            assert!(!matches_path(path, pattern), "{path} {pattern}");
        }
    }
}
