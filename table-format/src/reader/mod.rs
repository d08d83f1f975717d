//! One file slice to a stream of merged rows.
//!
//! The base file is streamed; the log files are read first, decoded to columns, and folded by key. A base row then meets
//! the one log record that is left of its key. Rows are picked, never copied one by one: what comes out is put together
//! from the columns of base batch and log batches. Logs that are more than the memory may hold are spilled to disk in
//! buckets by key, the base rows as well, and merged bucket by bucket.

mod base;
mod changes;
mod columns;
mod commit_filter;
mod filter;
mod key_buckets;
mod key_map;
mod log;
mod log_compaction;
mod log_files;
mod log_fold;
mod log_parts;
mod merge;
pub(crate) mod ordering;
mod pick;
mod prune;
mod slice_merge;
mod spill;

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use futures::stream::{BoxStream, StreamExt};

use crate::config::TableConfig;
use crate::env::MemoryBudget;
use crate::error::{Error, Result};
use crate::file_group::{FileSlice, Visibility};
use crate::schema::evolution::{Evolution, Renames};
use crate::storage::Storage;
use crate::timeline::InstantTime;

pub(crate) use changes::{
    ChangeContext, ChangeSource, change_image, changes_schema, image_fields, read_changes,
};
pub(crate) use commit_filter::CommitFilter;
pub use filter::BaseFileFilter;
pub use key_buckets::KeyBuckets;
pub(crate) use log_files::LogWindows;
pub(crate) use merge::MergeCounts;
pub(crate) use pick::LogDeletes;
pub(crate) use slice_merge::{BaseSource, Merger, SliceMerge, open_merge};

use columns::Columns;

/// How slices are read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Positions of the columns wanted, in the schema of the snapshot; all when `None`.
    pub projection: Option<Vec<usize>>,
    /// The most rows in a batch.
    pub batch_rows_max: usize,
    /// What the folded logs are booked in. Logs that it has no room for are spilled to the directory for temporary files.
    pub memory: MemoryBudget,
    /// Bytes of `memory` that the caller has drawn for the logs already; usually none.
    pub reserved_bytes: u64,
    /// Leaves out parts of base files without a wanted row; the rows that come are still to be filtered.
    pub filter: Option<Arc<dyn BaseFileFilter>>,
}

impl ReadOptions {
    /// All columns, in batches of 8192 rows.
    pub fn new(memory: MemoryBudget) -> Self {
        Self {
            projection: None,
            batch_rows_max: 8192,
            memory,
            reserved_bytes: 0,
            filter: None,
        }
    }
}

/// What reading any slice of a snapshot depends on.
#[derive(Debug, Clone)]
pub(crate) struct ReadContext {
    pub(crate) storage: Storage,
    pub(crate) config: Arc<TableConfig>,
    /// Schema of the rows, meta columns first.
    pub(crate) schema: SchemaRef,
    pub(crate) visibility: Arc<Visibility>,
    /// Only rows of these commits, if given.
    pub(crate) commits: Option<Arc<CommitFilter>>,
    /// How columns were called before, on tables with schema on read.
    pub(crate) evolution: Option<Evolution>,
}

impl ReadContext {
    /// What is to be done with the columns that were written at an instant; `None` when nothing is.
    ///
    /// # Errors
    /// `Unsupported` for a type that is not known.
    pub(crate) fn renames_since(&self, written: &InstantTime) -> Result<Option<Renames>> {
        let evolution = self.evolution.as_ref();
        evolution.map_or(Ok(None), |evolution| evolution.renames_since(written))
    }
}

/// Reads the merged rows of one slice: base file order first, then the keys that only the logs hold; by buckets of keys when
/// the logs had to be spilled. A key occurs once (unless the base file holds it twice).
///
/// # Errors
/// `Corrupt` when a file breaks its format; `Unsupported` for merge rules that run code of the user's; `Unavailable` when
/// the store gives up.
pub(crate) async fn read_slice(
    context: ReadContext,
    slice: &FileSlice,
    options: &ReadOptions,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let columns = Columns::plan(
        &context,
        options.projection.as_deref(),
        !slice.log_files.is_empty(),
    )?;
    let merge = SliceMerge::open(&context, slice, &columns, options).await?;
    let reader = SliceReader {
        merge,
        part: None,
        columns,
        commits: context.commits,
    };
    let stream = futures::stream::try_unfold(reader, |mut reader| async move {
        let batch = reader.next().await?;
        Ok(batch.map(|batch| (batch, reader)))
    });
    Ok(stream.boxed())
}

/// The state of reading one slice. Dropping it loses nothing.
struct SliceReader {
    merge: SliceMerge,
    /// What is being merged.
    part: Option<(BaseSource, Merger)>,
    columns: Columns,
    commits: Option<Arc<CommitFilter>>,
}

impl SliceReader {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(batch) = self.next_merged().await? {
            let batch = self.finish(&batch)?;
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    async fn next_merged(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some((base, merger)) = &mut self.part {
                if let Some(batch) = base.next().await? {
                    return merger.merge(batch).map(Some);
                }
                if let Some(batch) = merger.inserts()? {
                    return Ok(Some(batch));
                }
            }
            self.part = self.merge.next().await?;
            if self.part.is_none() {
                return Ok(None);
            }
        }
    }

    /// Drops rows of other commits and columns that were only needed on the way.
    fn finish(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let wanted = self.columns.output(batch)?;
        let (Some(commits), Some(position)) = (&self.commits, self.columns.commit_time) else {
            return Ok(wanted);
        };
        let times = batch
            .column(position)
            .as_any()
            .downcast_ref::<StringArray>();
        let times = times.ok_or_else(|| Error::internal("the commit time is not text"))?;
        let is_wanted: BooleanArray = (0..times.len())
            .map(|row| Some(times.is_valid(row) && commits.includes(times.value(row))))
            .collect();
        Ok(filter_record_batch(&wanted, &is_wanted)?)
    }
}
