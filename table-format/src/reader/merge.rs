//! The records of a slice's logs, folded by key, and how base rows meet them.
//!
//! Spec: Hudi 1.2.0, "Record Mergers"; Java: KeyBasedFileGroupRecordBuffer, BufferedRecordMergerFactory. Logs are folded
//! among themselves first, then each base row is merged with what is left of its key. By commit time the later record
//! wins. By event time it wins unless its ordering value is lower; a delete without ordering value wins over everything
//! before it, but is forgotten when a later record takes its place.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use arrow::row::Rows;

use crate::codec::log_block::BlockKind;
use crate::config::ColumnMerge;
use crate::env::{Reservation, batch_bytes};
use crate::error::{Error, Result};

use super::columns::Columns;
use super::key_map::KeyMap;
use super::ordering::Ordering;
use super::pick::{Pick, pick_rows};
use super::prune::{RECORDS_MIN, prune};

/// The records of one block.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) keys: StringArray,
    /// Ordering values; `None` when the later record wins.
    pub(super) ordering: Option<Rows>,
    pub(super) content: Content,
}

/// What the records of a block say.
#[derive(Debug)]
pub(super) enum Content {
    /// Rows, and which of them mark deletes.
    Rows {
        batch: RecordBatch,
        deleted: Option<BooleanArray>,
        is_partial: bool,
    },
    /// Deleted keys, and which of them bear no ordering value.
    Deletes { unordered: Vec<bool> },
}

/// A record of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordRef {
    pub(super) part: u32,
    pub(super) row: u32,
}

/// What is left of a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Folded {
    pub(super) record: RecordRef,
    /// For a record with only some columns: the place in `under` of what fills the others.
    pub(super) under: Option<u32>,
    pub(super) is_matched: bool,
}

/// The folded logs of a slice.
#[derive(Debug)]
pub(super) struct LogRecords {
    pub(super) columns: Columns,
    /// That of all parts: values of another one cannot be put beside them.
    ordering: Option<Arc<Ordering>>,
    column_merge: Option<ColumnMerge>,
    pub(super) parts: Vec<Part>,
    map: KeyMap,
    pub(super) folded: Vec<Folded>,
    /// Records that lie under partial ones, each with what lies under it in turn.
    pub(super) under: Vec<(RecordRef, Option<u32>)>,
    pub(super) reservation: Reservation,
    pub(super) counts: MergeCounts,
    /// Records held, replaced ones among them.
    held: u64,
}

/// What was met while a slice was merged; a compaction reports it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MergeCounts {
    /// Blocks in the logs, of every kind.
    pub(crate) log_blocks: u64,
    /// Those that could not be read.
    pub(crate) corrupt_blocks: u64,
    /// Those that undo others.
    pub(crate) rollback_blocks: u64,
    /// Rows and deletes in the logs.
    pub(crate) log_records: u64,
    /// Keys in the logs.
    pub(crate) log_keys: u64,
    /// Base rows that a log record replaced.
    pub(crate) updated: u64,
    /// Base rows that were deleted.
    pub(crate) deleted: u64,
    /// Rows whose keys are in the logs only.
    pub(crate) inserted: u64,
}

impl MergeCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.log_blocks += other.log_blocks;
        self.corrupt_blocks += other.corrupt_blocks;
        self.rollback_blocks += other.rollback_blocks;
        self.log_records += other.log_records;
        self.log_keys += other.log_keys;
        self.updated += other.updated;
        self.deleted += other.deleted;
        self.inserted += other.inserted;
    }

    pub(super) fn add_blocks(&mut self, kinds: impl Iterator<Item = BlockKind>) {
        for kind in kinds {
            self.log_blocks += 1;
            self.corrupt_blocks += u64::from(kind == BlockKind::Corrupt);
            self.rollback_blocks += u64::from(kind == BlockKind::Command);
        }
    }
}

/// Which of two records of a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Winner {
    Older,
    Newer,
}

impl LogRecords {
    pub(super) fn new(
        columns: Columns,
        ordering: Option<Arc<Ordering>>,
        reservation: Reservation,
    ) -> Self {
        Self {
            columns,
            ordering,
            column_merge: None,
            parts: Vec::new(),
            map: KeyMap::default(),
            folded: Vec::new(),
            under: Vec::new(),
            reservation,
            counts: MergeCounts::default(),
            held: 0,
        }
    }

    /// With some columns of a winning record taken from the one that it replaces.
    pub(super) fn with_column_merge(mut self, column_merge: Option<ColumnMerge>) -> Self {
        self.column_merge = column_merge;
        self
    }

    /// Whether a value of a record stands for itself, not for the one under it.
    pub(super) fn is_own_value(&self, values: &dyn Array, row: usize) -> bool {
        let is_marker = |value: &[u8], marker: &str| value == marker.as_bytes();
        match (&self.column_merge, values.data_type()) {
            (None, _) => true,
            (Some(ColumnMerge::KeepOnNull), _) => values.is_valid(row),
            (Some(ColumnMerge::KeepOnMarker(marker)), DataType::Utf8) => {
                let value = values.as_string::<i32>().value(row);
                values.is_null(row) || !is_marker(value.as_bytes(), marker)
            }
            (Some(ColumnMerge::KeepOnMarker(marker)), DataType::Binary) => {
                let value = values.as_binary::<i32>().value(row);
                values.is_null(row) || !is_marker(value, marker)
            }
            (Some(ColumnMerge::KeepOnMarker(_)), _) => true,
        }
    }

    /// Whether some records do not hold all values of their rows.
    pub(super) fn has_partial(&self) -> bool {
        self.column_merge.is_some()
            || self.parts.iter().any(|part| {
                matches!(
                    part.content,
                    Content::Rows {
                        is_partial: true,
                        ..
                    }
                )
            })
    }

    pub(super) fn ordering(&self) -> Option<&Ordering> {
        self.ordering.as_deref()
    }

    /// Folds a block's records over those before it.
    pub(super) fn add(&mut self, part: Part) -> Result<()> {
        let number = u32::try_from(self.parts.len())
            .ok()
            .filter(|_| {
                u32::try_from(part.keys.len() + self.folded.len()).is_ok_and(|rows| rows < u32::MAX)
            })
            .ok_or_else(|| {
                Error::unsupported(
                    "a file slice with more than 4 billion log records: compact it first",
                )
            })?;
        let rows = part.keys.len();
        self.parts.push(part);
        for row in 0..rows {
            self.fold(RecordRef {
                part: number,
                row: row as u32,
            })?;
        }
        self.counts.log_records += rows as u64;
        self.counts.log_keys = self.folded.len() as u64;
        self.held += rows as u64;
        let live = (self.folded.len() + self.under.len()) as u64;
        if self.held >= (2 * live).max(RECORDS_MIN) {
            prune(self)?;
            self.held = live;
        }
        let index_bytes = self.map.memory_bytes() + self.folded.capacity() * size_of::<Folded>();
        let parts_bytes: usize = self.parts.iter().map(Part::memory_bytes).sum();
        self.reservation.resize((index_bytes + parts_bytes) as u64);
        Ok(())
    }

    fn fold(&mut self, newer: RecordRef) -> Result<()> {
        let parts = &self.parts;
        let folded = &self.folded;
        let key = key_of(parts, newer)?;
        let (number, is_new) = self.map.find_or_insert(key, |number| {
            folded
                .get(number as usize)
                .and_then(|entry| key_of(parts, entry.record).ok())
                .unwrap_or_default()
        });
        if is_new {
            self.folded.push(Folded {
                record: newer,
                under: None,
                is_matched: false,
            });
            return Ok(());
        }
        let index = number as usize;
        let older = *self
            .folded
            .get(index)
            .ok_or_else(|| Error::internal("a folded record is missing"))?;
        let winner = self.winner(older.record, newer);
        let (upper, lower) = match winner {
            Winner::Newer => (newer, Some((older.record, older.under))),
            // What is older and wins keeps what lies under it, and the loser fills what is still open.
            Winner::Older => (older.record, Some((newer, older.under))),
        };
        let needs_more = self.is_partial(upper);
        let under = match lower.filter(|_| needs_more) {
            Some(lower) => {
                self.under.push(lower);
                Some((self.under.len() - 1) as u32)
            }
            None => None,
        };
        if let Some(entry) = self.folded.get_mut(index) {
            *entry = Folded {
                record: upper,
                under,
                is_matched: false,
            };
        }
        Ok(())
    }

    /// Merges a batch of base rows with the records of their keys.
    pub(super) fn merge_base(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let position = self
            .columns
            .record_key
            .ok_or_else(|| Error::internal("no record key is read"))?;
        let keys = text_column(batch, position)?.clone();
        let ordering = match &self.ordering {
            Some(ordering) => {
                let columns: Vec<_> = self
                    .columns
                    .ordering
                    .iter()
                    .map(|position| Arc::clone(batch.column(*position)))
                    .collect();
                Some(ordering.of_columns(&columns)?)
            }
            None => None,
        };
        let mut picks = Vec::with_capacity(keys.len());
        let mut is_changed = false;
        for row in 0..keys.len() {
            let pick = self.meet(&keys, ordering.as_ref(), row)?;
            match pick {
                Some(Pick::Base(_) | Pick::Filled { .. }) => {}
                Some(Pick::Log { .. }) => self.counts.updated += 1,
                None => self.counts.deleted += 1,
            }
            is_changed |= pick != Some(Pick::Base(row as u32));
            picks.extend(pick);
        }
        if is_changed {
            pick_rows(self, Some(batch), &picks)
        } else {
            Ok(batch.clone())
        }
    }

    /// What becomes of a base row; `None` when it is deleted.
    fn meet(
        &mut self,
        keys: &StringArray,
        ordering: Option<&Rows>,
        row: usize,
    ) -> Result<Option<Pick>> {
        if keys.is_null(row) {
            return Err(Error::corrupt(
                "base file",
                format!("row {row} has no record key"),
            ));
        }
        let parts = &self.parts;
        let folded = &self.folded;
        let found = self.map.find(keys.value(row), |number| {
            folded
                .get(number as usize)
                .and_then(|entry| key_of(parts, entry.record).ok())
                .unwrap_or_default()
        });
        let base = Pick::Base(row as u32);
        let Some(index) = found else {
            return Ok(Some(base));
        };
        let Some(entry) = self.folded.get_mut(index as usize) else {
            return Err(Error::internal("a folded record is missing"));
        };
        entry.is_matched = true;
        let entry = *entry;
        let base_wins = match (ordering, self.ordering_of(entry.record)) {
            (Some(base), Some(log)) => {
                !self.is_unordered_delete(entry.record) && base.row(row) > log
            }
            _ => false,
        };
        Ok(match (base_wins, self.is_delete(entry.record)) {
            (true, false) if self.column_merge.is_some() => Some(Pick::Filled {
                folded: index,
                base_row: row as u32,
            }),
            (true, _) => Some(base),
            (false, true) => None,
            (false, false) => Some(Pick::Log {
                folded: index,
                base_row: Some(row as u32),
            }),
        })
    }

    fn winner(&self, older: RecordRef, newer: RecordRef) -> Winner {
        if self.is_unordered_delete(newer) {
            return Winner::Newer;
        }
        match (self.ordering_of(older), self.ordering_of(newer)) {
            (Some(_), Some(_)) if self.is_unordered_delete(older) => Winner::Newer,
            (Some(older), Some(newer)) if older > newer => Winner::Older,
            _ => Winner::Newer,
        }
    }

    pub(super) fn ordering_of(&self, record: RecordRef) -> Option<arrow::row::Row<'_>> {
        let rows = self.parts.get(record.part as usize)?.ordering.as_ref()?;
        Some(rows.row(record.row as usize))
    }

    pub(super) fn is_unordered_delete(&self, record: RecordRef) -> bool {
        match self
            .parts
            .get(record.part as usize)
            .map(|part| &part.content)
        {
            Some(Content::Deletes { unordered }) => {
                unordered.get(record.row as usize).copied().unwrap_or(true)
            }
            _ => false,
        }
    }

    pub(super) fn is_delete(&self, record: RecordRef) -> bool {
        match self
            .parts
            .get(record.part as usize)
            .map(|part| &part.content)
        {
            Some(Content::Rows {
                deleted: Some(deleted),
                ..
            }) => deleted.is_valid(record.row as usize) && deleted.value(record.row as usize),
            Some(Content::Rows { deleted: None, .. }) => false,
            Some(Content::Deletes { .. }) | None => true,
        }
    }

    /// Whether a record is a row, not only a key.
    pub(super) fn is_row(&self, record: RecordRef) -> bool {
        let part = self.parts.get(record.part as usize);
        part.is_some_and(|part| matches!(part.content, Content::Rows { .. }))
    }

    pub(super) fn key_of(&self, record: RecordRef) -> Result<&str> {
        key_of(&self.parts, record)
    }

    pub(super) fn is_partial(&self, record: RecordRef) -> bool {
        match self
            .parts
            .get(record.part as usize)
            .map(|part| &part.content)
        {
            Some(Content::Rows { is_partial, .. }) => *is_partial || self.column_merge.is_some(),
            Some(Content::Deletes { .. }) | None => false,
        }
    }
}

impl Part {
    fn memory_bytes(&self) -> usize {
        let content = match &self.content {
            Content::Rows { batch, .. } => batch_bytes(batch),
            Content::Deletes { unordered } => {
                unordered.capacity() + self.keys.get_array_memory_size()
            }
        };
        content + self.ordering.as_ref().map_or(0, Rows::size)
    }
}

fn key_of(parts: &[Part], record: RecordRef) -> Result<&str> {
    let keys = parts.get(record.part as usize).map(|part| &part.keys);
    let row = record.row as usize;
    match keys {
        Some(keys) if row < keys.len() && keys.is_valid(row) => Ok(keys.value(row)),
        _ => Err(Error::corrupt(
            "log block",
            format!("record {row} has no record key"),
        )),
    }
}

pub(super) fn text_column(batch: &RecordBatch, position: usize) -> Result<&StringArray> {
    let column = batch
        .column(position)
        .as_any()
        .downcast_ref::<StringArray>();
    column.ok_or_else(|| Error::internal(format!("column {position} is not text")))
}

#[cfg(test)]
mod tests;
