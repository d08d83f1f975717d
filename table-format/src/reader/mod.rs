//! One file slice to a stream of merged rows.
//!
//! The base file is streamed; the log files are read first, decoded to columns, and folded by key. A base row then meets
//! the one log record that is left of its key. Rows are picked, never copied one by one: what comes out is put together
//! from the columns of base batch and log batches.

mod base;
mod changes;
mod columns;
mod commit_filter;
mod filter;
mod key_map;
mod log;
mod log_compaction;
mod merge;
pub(crate) mod ordering;
mod pick;
mod prune;

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use futures::stream::{BoxStream, StreamExt};

use crate::config::TableConfig;
use crate::env::MemoryBudget;
use crate::error::{Error, Result};
use crate::file_group::{BaseFile, FileSlice, Visibility};
use crate::schema::evolution::{Evolution, Renames};
use crate::storage::Storage;
use crate::timeline::InstantTime;

pub(crate) use base::BaseRows;
pub(crate) use changes::{
    ChangeContext, ChangeSource, change_image, changes_schema, image_fields, read_changes,
};
pub(crate) use commit_filter::CommitFilter;
pub use filter::BaseFileFilter;
pub(crate) use merge::MergeCounts;

use columns::Columns;
use filter::before_merging;
use merge::LogRecords;
use pick::Inserts;

/// How slices are read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Positions of the columns wanted, in the schema of the snapshot; all when `None`.
    pub projection: Option<Vec<usize>>,
    /// The most rows in a batch.
    pub batch_rows_max: usize,
    /// What the folded logs are booked in.
    pub memory: MemoryBudget,
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
    fn renames_since(&self, written: &InstantTime) -> Option<Renames> {
        self.evolution.as_ref()?.renames_since(written)
    }
}

/// Reads the merged rows of one slice: base file order first, then the keys that only the logs hold. A key occurs once
/// (unless the base file holds it twice).
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
    let (base, merger) = open(&context, slice, &columns, options).await?;
    let reader = SliceReader {
        base,
        merger,
        columns,
        commits: context.commits,
    };
    let stream = futures::stream::try_unfold(reader, |mut reader| async move {
        let batch = reader.next().await?;
        Ok(batch.map(|batch| (batch, reader)))
    });
    Ok(stream.boxed())
}

/// A slice about to be merged into a new base file: its base rows with all columns of the table, and what is to become of
/// them. The two are apart so that merging can run on the CPU pool.
///
/// # Errors
/// As [`read_slice`].
pub(crate) async fn open_merge(
    context: &ReadContext,
    slice: &FileSlice,
    options: &ReadOptions,
) -> Result<(Option<BaseRows>, Merger)> {
    let columns = Columns::plan(context, None, !slice.log_files.is_empty())?;
    open(context, slice, &columns, options).await
}

async fn open(
    context: &ReadContext,
    slice: &FileSlice,
    columns: &Columns,
    options: &ReadOptions,
) -> Result<(Option<BaseRows>, Merger)> {
    let logs = log::read_logs(context, slice, columns, &options.memory).await?;
    let needs_all = context.commits.is_none() || logs.as_ref().is_some_and(LogRecords::has_partial);
    let is_wanted = |file: &&BaseFile| {
        needs_all
            || context
                .commits
                .as_ref()
                .is_some_and(|commits| commits.includes(file.instant.as_str()))
    };
    let filter = options.filter.as_ref();
    let base_options = ReadOptions {
        filter: filter.and_then(|filter| before_merging(filter, context, logs.as_ref())),
        ..options.clone()
    };
    let base = match slice.base_file.as_ref().filter(is_wanted) {
        Some(file) => Some(BaseRows::open(context, slice, file, columns, &base_options).await?),
        None => None,
    };
    let merger = Merger {
        logs,
        inserts: None,
        batch_rows_max: options.batch_rows_max,
    };
    Ok((base, merger))
}

/// The logs of a slice, for the base rows to be merged with.
#[derive(Debug)]
pub(crate) struct Merger {
    logs: Option<LogRecords>,
    /// Log records without a base row, once the base file has ended.
    inserts: Option<Inserts>,
    batch_rows_max: usize,
}

impl Merger {
    /// What becomes of the next base rows.
    pub(crate) fn merge(&mut self, base: RecordBatch) -> Result<RecordBatch> {
        match &mut self.logs {
            Some(logs) => logs.merge_base(&base),
            None => Ok(base),
        }
    }

    /// The next rows that only the logs hold; for when the base file has ended.
    pub(crate) fn inserts(&mut self) -> Result<Option<RecordBatch>> {
        let Some(logs) = &mut self.logs else {
            return Ok(None);
        };
        let inserts = self.inserts.get_or_insert_with(|| Inserts::of(logs));
        let rows = inserts.next(logs, self.batch_rows_max)?;
        logs.counts.inserted += rows.as_ref().map_or(0, |rows| rows.num_rows() as u64);
        Ok(rows)
    }

    /// What was met so far.
    pub(crate) fn counts(&self) -> MergeCounts {
        self.logs
            .as_ref()
            .map(|logs| logs.counts)
            .unwrap_or_default()
    }
}

/// The state of reading one slice. Cancel-safe: dropping it loses nothing.
struct SliceReader {
    base: Option<BaseRows>,
    merger: Merger,
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
        if let Some(base) = &mut self.base {
            match base.next().await? {
                Some(batch) => return self.merger.merge(batch).map(Some),
                None => self.base = None,
            }
        }
        self.merger.inserts()
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
