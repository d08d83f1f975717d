//! Sorts more rows than memory holds: sorted runs go to disk, and are merged while the result is read.

mod key;
mod merge;
mod run;
mod z_order;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::row::Rows;

use crate::env::{MemoryBudget, Reservation};
use crate::error::{Error, Result};

pub(super) use key::{Layout, SortKey};
use merge::Merge;
use run::Run;

/// Rows in a batch of the result.
const ROWS_AT_ONCE: usize = 8 << 10;
/// Runs that are merged at once; when there are more, they become one.
const FAN_IN_MAX: usize = 64;

/// Takes rows in any order. Its work is for the CPU pool.
#[derive(Debug)]
pub(super) struct Sorter {
    key: Arc<SortKey>,
    spill_dir: PathBuf,
    run_bytes: u64,
    waiting: Vec<RecordBatch>,
    memory: Reservation,
    budget: MemoryBudget,
    runs: Vec<Run>,
}

impl Sorter {
    /// A sorter that holds about `run_bytes` of rows and keeps the others in `spill_dir`.
    pub(super) fn new(
        key: Arc<SortKey>,
        spill_dir: &Path,
        budget: &MemoryBudget,
        run_bytes: u64,
    ) -> Self {
        Self {
            key,
            spill_dir: spill_dir.to_owned(),
            run_bytes,
            waiting: Vec::new(),
            memory: budget.book(0),
            budget: budget.clone(),
            runs: Vec::new(),
        }
    }

    /// Takes rows.
    ///
    /// # Errors
    /// `Unavailable` when the disk does not take a run.
    pub(super) fn push(mut self, rows: RecordBatch) -> Result<Self> {
        let bytes = self.memory.bytes() + rows.get_array_memory_size() as u64;
        self.memory.resize(bytes);
        self.waiting.push(rows);
        if bytes >= self.run_bytes {
            self.spill()?;
        }
        Ok(self)
    }

    /// The rows in order; of equal ones the first comes first.
    ///
    /// # Errors
    /// As [`Sorter::push`].
    pub(super) fn finish(mut self) -> Result<Sorted> {
        if self.runs.is_empty() {
            return Ok(Sorted::InMemory(self.sort()?));
        }
        if !self.waiting.is_empty() {
            self.spill()?;
        }
        let merge = Merge::begin(self.runs, self.key, &self.budget)?;
        Ok(Sorted::Merged(Box::new(merge)))
    }

    /// The waiting rows in order, with the memory that they take.
    fn sort(&mut self) -> Result<InMemory> {
        let memory = std::mem::replace(&mut self.memory, self.budget.book(0));
        InMemory::sort(std::mem::take(&mut self.waiting), memory, &self.key)
    }

    fn spill(&mut self) -> Result<()> {
        let mut sorted = self.sort()?;
        self.runs
            .push(Run::write(&self.spill_dir, || sorted.next())?);
        drop(sorted);
        if self.runs.len() >= FAN_IN_MAX {
            let runs = std::mem::take(&mut self.runs);
            let mut merge = Merge::begin(runs, Arc::clone(&self.key), &self.budget)?;
            self.runs
                .push(Run::write(&self.spill_dir, || merge.next())?);
        }
        Ok(())
    }
}

/// Rows in order.
#[derive(Debug)]
pub(super) enum Sorted {
    /// They fit into memory.
    InMemory(InMemory),
    /// They come from disk.
    Merged(Box<Merge>),
}

impl Sorted {
    /// The next rows; `None` at the end. For the CPU pool.
    ///
    /// # Errors
    /// `Unavailable` when the disk gives up.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>> {
        match self {
            Self::InMemory(rows) => rows.next(),
            Self::Merged(merge) => merge.next(),
        }
    }
}

/// Batches, and the order of their rows.
#[derive(Debug)]
pub(super) struct InMemory {
    batches: Vec<RecordBatch>,
    /// Batch and row.
    order: Vec<(u32, u32)>,
    next: usize,
    _memory: Reservation,
}

impl InMemory {
    fn sort(batches: Vec<RecordBatch>, memory: Reservation, key: &SortKey) -> Result<Self> {
        let keys: Vec<Rows> = batches
            .iter()
            .map(|batch| key.rows(batch))
            .collect::<Result<_>>()?;
        let too_many = |_| Error::internal("more than 4 billion rows in a run");
        let mut order = Vec::with_capacity(keys.iter().map(Rows::num_rows).sum());
        for (number, rows) in keys.iter().enumerate() {
            let number = u32::try_from(number).map_err(too_many)?;
            let rows = u32::try_from(rows.num_rows()).map_err(too_many)?;
            order.extend((0..rows).map(|row| (number, row)));
        }
        let key_of = |(batch, row): (u32, u32)| keys[batch as usize].row(row as usize);
        order.sort_by(|left, right| key_of(*left).cmp(&key_of(*right)));
        Ok(Self {
            batches,
            order,
            next: 0,
            _memory: memory,
        })
    }

    fn next(&mut self) -> Result<Option<RecordBatch>> {
        let end = (self.next + ROWS_AT_ONCE).min(self.order.len());
        let picks: Vec<(usize, usize)> = self.order[self.next..end]
            .iter()
            .map(|(batch, row)| (*batch as usize, *row as usize))
            .collect();
        self.next = end;
        if picks.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        Ok(Some(interleave_record_batch(&batches, &picks)?))
    }
}

#[cfg(test)]
mod tests;
