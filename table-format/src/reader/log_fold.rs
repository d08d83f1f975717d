//! The logs of a slice while they are read: held in memory and folded, or, once that is too much, on disk in buckets by key.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::row::Rows;

use crate::codec::log_block::BlockKind;
use crate::config::ColumnMerge;
use crate::env::MemoryBudget;
use crate::error::{Error, Result};

use super::ReadOptions;
use super::columns::Columns;
use super::log_parts::rows_part;
use super::merge::{Content, LogRecords, MergeCounts, Part};
use super::ordering::Ordering;
use super::spill::{Dealer, SegmentKind, SpillFile, SpillWriter, SpilledRows};

/// Logs up to this part of the memory are held, however much of it is taken.
const HELD_SHARE: u64 = 16;
/// Logs are held as long as no more than this part of the memory is taken.
const TAKEN_SHARE: u64 = 2;
/// Buckets of spilled logs, at most.
const BUCKETS_MAX: u64 = 256;

/// The logs that were read so far.
#[derive(Debug)]
pub(super) struct LogFold {
    columns: Columns,
    column_merge: Option<ColumnMerge>,
    ordering: Option<Arc<Ordering>>,
    memory: MemoryBudget,
    /// What the caller has drawn for these logs.
    reserved_bytes: u64,
    state: State,
    counts: MergeCounts,
    has_partial: bool,
    /// Bytes of the blocks to be read.
    bytes: u64,
    /// Those that were read.
    bytes_read: u64,
}

#[derive(Debug)]
enum State {
    Held(Box<LogRecords>),
    Spilled { dealer: Dealer, writer: SpillWriter },
}

/// All logs of a slice.
#[derive(Debug)]
pub(super) enum FoldedLogs {
    Held(Box<LogRecords>),
    Spilled(Box<SpilledLogs>),
}

/// Logs on disk.
#[derive(Debug)]
pub(super) struct SpilledLogs {
    columns: Columns,
    column_merge: Option<ColumnMerge>,
    ordering: Option<Arc<Ordering>>,
    memory: MemoryBudget,
    dealer: Dealer,
    file: SpillFile,
    /// Of the blocks; they go with the first bucket.
    counts: MergeCounts,
    has_partial: bool,
}

impl LogFold {
    pub(super) fn new(
        columns: &Columns,
        column_merge: Option<ColumnMerge>,
        options: &ReadOptions,
    ) -> Result<Self> {
        let memory = &options.memory;
        let ordering = ordering_of(columns)?.map(Arc::new);
        let logs = records(columns, ordering.as_ref(), column_merge.as_ref(), memory);
        Ok(Self {
            columns: columns.clone(),
            ordering,
            memory: memory.clone(),
            reserved_bytes: options.reserved_bytes,
            state: State::Held(Box::new(logs)),
            counts: MergeCounts::default(),
            has_partial: column_merge.is_some(),
            column_merge,
            bytes: 0,
            bytes_read: 0,
        })
    }

    pub(super) fn columns(&self) -> &Columns {
        &self.columns
    }

    pub(super) fn ordering(&self) -> Option<&Ordering> {
        self.ordering.as_deref()
    }

    pub(super) fn add_blocks(&mut self, kinds: impl Iterator<Item = BlockKind>) {
        self.counts.add_blocks(kinds);
    }

    /// Says how many bytes of blocks are to come.
    pub(super) fn expect(&mut self, bytes: u64) {
        self.bytes = bytes;
    }

    /// Takes in records, which come after those before them.
    pub(super) fn add(&mut self, part: Part) -> Result<()> {
        if let Content::Rows { is_partial, .. } = &part.content {
            self.has_partial |= is_partial;
        }
        match &mut self.state {
            State::Held(logs) => logs.add(part),
            State::Spilled { dealer, writer } => {
                spill(&part, self.ordering.as_deref(), dealer, writer)
            }
        }
    }

    /// Says that so many bytes of blocks were read; lets go of what was held when it became too much.
    pub(super) fn pass(&mut self, bytes: u64) -> Result<()> {
        self.bytes_read += bytes;
        let State::Held(logs) = &mut self.state else {
            return Ok(());
        };
        let held = logs.reservation.bytes();
        let ceiling = self.memory.ceiling_bytes();
        let taken = self.memory.used_bytes().saturating_sub(self.reserved_bytes);
        if held <= ceiling / HELD_SHARE || taken <= ceiling / TAKEN_SHARE {
            return Ok(());
        }
        // Each bucket is to take half of what is held now.
        let buckets = (2 * self.bytes).div_ceil(self.bytes_read.max(1));
        let dealer = Dealer::new(buckets.clamp(2, BUCKETS_MAX) as usize);
        tracing::debug!(held, buckets = dealer.buckets(), "spilling logs");
        let mut writer = SpillWriter::new(dealer.buckets(), &self.memory)?;
        for part in std::mem::take(&mut logs.parts) {
            spill(&part, self.ordering.as_deref(), &dealer, &mut writer)?;
        }
        self.state = State::Spilled { dealer, writer };
        Ok(())
    }

    /// All logs; nothing is to come any more.
    pub(super) fn finish(self) -> Result<FoldedLogs> {
        Ok(match self.state {
            State::Held(mut logs) => {
                logs.counts.add(&self.counts);
                FoldedLogs::Held(logs)
            }
            State::Spilled { dealer, writer } => FoldedLogs::Spilled(Box::new(SpilledLogs {
                columns: self.columns,
                column_merge: self.column_merge,
                ordering: self.ordering,
                memory: self.memory,
                dealer,
                file: writer.finish()?,
                counts: self.counts,
                has_partial: self.has_partial,
            })),
        })
    }
}

impl FoldedLogs {
    /// Whether some records do not hold all values of their rows.
    pub(super) fn has_partial(&self) -> bool {
        match self {
            Self::Held(logs) => logs.has_partial(),
            Self::Spilled(logs) => logs.has_partial,
        }
    }
}

impl SpilledLogs {
    /// How keys are dealt out to the buckets.
    pub(super) fn dealer(&self) -> &Dealer {
        &self.dealer
    }

    /// The folded logs of a bucket, which can be read once.
    pub(super) fn take_bucket(&mut self, bucket: usize) -> Result<LogRecords> {
        let ordering = self.ordering.as_ref();
        let column_merge = self.column_merge.as_ref();
        let mut logs = records(&self.columns, ordering, column_merge, &self.memory);
        let mut rows: SpilledRows = self.file.take_bucket(bucket);
        while let Some((kind, batch)) = rows.next()? {
            let ordering = self.ordering.as_deref();
            logs.add(match kind {
                SegmentKind::Rows => rows_part(&self.columns, ordering, batch, false)?,
                SegmentKind::PartialRows => rows_part(&self.columns, ordering, batch, true)?,
                SegmentKind::Deletes => deletes_part(ordering, &batch)?,
            })?;
        }
        logs.counts.add(&std::mem::take(&mut self.counts));
        Ok(logs)
    }
}

fn records(
    columns: &Columns,
    ordering: Option<&Arc<Ordering>>,
    column_merge: Option<&ColumnMerge>,
    memory: &MemoryBudget,
) -> LogRecords {
    let logs = LogRecords::new(columns.clone(), ordering.cloned(), memory.book(0));
    logs.with_column_merge(column_merge.cloned())
}

fn ordering_of(columns: &Columns) -> Result<Option<Ordering>> {
    match columns.ordering.as_slice() {
        [] => Ok(None),
        positions => Ordering::try_new(&columns.schema, positions).map(Some),
    }
}

fn spill(
    part: &Part,
    ordering: Option<&Ordering>,
    dealer: &Dealer,
    writer: &mut SpillWriter,
) -> Result<()> {
    let dealt = dealer.deal(&part.keys)?;
    match &part.content {
        Content::Rows {
            batch, is_partial, ..
        } => {
            let kind = match is_partial {
                true => SegmentKind::PartialRows,
                false => SegmentKind::Rows,
            };
            writer.add(kind, batch, &dealt)
        }
        Content::Deletes { unordered } => {
            let values = match (ordering, &part.ordering) {
                (Some(ordering), Some(values)) => ordering.columns_of(values)?,
                _ => Vec::new(),
            };
            let batch = deletes_batch(&part.keys, unordered, values)?;
            writer.add(SegmentKind::Deletes, &batch, &dealt)
        }
    }
}

/// Deletes as columns: key, whether it bears no ordering value, and the ordering values.
fn deletes_batch(
    keys: &StringArray,
    unordered: &[bool],
    values: Vec<ArrayRef>,
) -> Result<RecordBatch> {
    let unordered: ArrayRef = Arc::new(BooleanArray::from(unordered.to_vec()));
    let keys: ArrayRef = Arc::new(keys.clone());
    let columns = [keys, unordered].into_iter().chain(values).enumerate();
    let columns = columns.map(|(position, column)| (position.to_string(), column, true));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

fn deletes_part(ordering: Option<&Ordering>, batch: &RecordBatch) -> Result<Part> {
    let (Some(keys), Some(unordered), Some(values)) = (
        batch
            .columns()
            .first()
            .and_then(|column| column.as_string_opt::<i32>()),
        batch
            .columns()
            .get(1)
            .and_then(|column| column.as_boolean_opt()),
        batch.columns().get(2..),
    ) else {
        return Err(Error::internal("spilled deletes are of another form"));
    };
    let ordering: Option<Rows> = match ordering {
        Some(ordering) => Some(ordering.of_columns(values)?),
        None => None,
    };
    Ok(Part {
        keys: keys.clone(),
        ordering,
        content: Content::Deletes {
            unordered: unordered.values().iter().collect(),
        },
    })
}

#[cfg(test)]
mod tests;
