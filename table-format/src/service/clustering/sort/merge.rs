//! Several sorted runs as one: a heap of their first rows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::row::Rows;

use super::ROWS_AT_ONCE;
use super::key::SortKey;
use super::run::Run;
use crate::env::{MemoryBudget, Reservation, batch_bytes};
use crate::error::Result;

/// A run, and the batch of it that is being merged.
#[derive(Debug)]
struct Cursor {
    run: Run,
    batch: RecordBatch,
    keys: Rows,
    row: usize,
}

/// Rows of several runs in order.
#[derive(Debug)]
pub(in crate::service::clustering) struct Merge {
    key: Arc<SortKey>,
    cursors: Vec<Cursor>,
    /// Places of cursors that have rows left; none is before its parent, at half its place.
    heap: Vec<usize>,
    memory: Reservation,
}

impl Merge {
    /// # Errors
    /// `Unavailable` when the disk gives up.
    pub(super) fn begin(runs: Vec<Run>, key: Arc<SortKey>, budget: &MemoryBudget) -> Result<Self> {
        let mut merge = Self {
            key,
            cursors: Vec::with_capacity(runs.len()),
            heap: Vec::with_capacity(runs.len()),
            memory: budget.book(0),
        };
        for mut run in runs {
            if let Some(batch) = run.next()? {
                let keys = merge.key.rows(&batch)?;
                merge.heap.push(merge.cursors.len());
                merge.cursors.push(Cursor {
                    run,
                    batch,
                    keys,
                    row: 0,
                });
            }
        }
        for place in (0..merge.heap.len() / 2).rev() {
            merge.sift_down(place);
        }
        merge.book();
        Ok(merge)
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// `Unavailable` when the disk gives up.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let mut picks: Vec<(usize, usize)> = Vec::with_capacity(ROWS_AT_ONCE);
        let mut ended = None;
        while let Some(&first) = self.heap.first() {
            let cursor = &mut self.cursors[first];
            picks.push((first, cursor.row));
            cursor.row += 1;
            if cursor.row == cursor.batch.num_rows() {
                // Its batch is needed until the picked rows are put together.
                ended = Some(first);
                break;
            }
            self.sift_down(0);
            if picks.len() == ROWS_AT_ONCE {
                break;
            }
        }
        if picks.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = self.cursors.iter().map(|cursor| &cursor.batch).collect();
        let rows = interleave_record_batch(&batches, &picks)?;
        if let Some(ended) = ended {
            self.advance(ended)?;
        }
        Ok(Some(rows))
    }

    /// The next batch of the run at the top of the heap, or the end of that run.
    fn advance(&mut self, place: usize) -> Result<()> {
        let cursor = &mut self.cursors[place];
        cursor.row = 0;
        if let Some(batch) = cursor.run.next()? {
            cursor.keys = self.key.rows(&batch)?;
            cursor.batch = batch;
        } else {
            cursor.batch = RecordBatch::new_empty(cursor.batch.schema());
            self.heap.swap_remove(0);
        }
        self.sift_down(0);
        self.book();
        Ok(())
    }

    fn sift_down(&mut self, mut place: usize) {
        loop {
            let mut least = place;
            for child in [2 * place + 1, 2 * place + 2] {
                if child < self.heap.len() && self.is_before(self.heap[child], self.heap[least]) {
                    least = child;
                }
            }
            if least == place {
                return;
            }
            self.heap.swap(place, least);
            place = least;
        }
    }

    /// Of equal rows that of the earlier run comes first.
    fn is_before(&self, left: usize, right: usize) -> bool {
        let key = |place: usize| {
            let cursor = &self.cursors[place];
            cursor.keys.row(cursor.row)
        };
        (key(left), left) < (key(right), right)
    }

    fn book(&mut self) {
        let bytes = self
            .cursors
            .iter()
            .map(|cursor| batch_bytes(&cursor.batch) + cursor.keys.size());
        self.memory.resize(bytes.sum::<usize>() as u64);
    }
}
