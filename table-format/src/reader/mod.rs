//! One file slice to a stream of merged rows.
//!
//! The base file is streamed; the log files are read first, decoded to columns, and folded by key. A base row then meets
//! the one log record that is left of its key. Rows are picked, never copied one by one: what comes out is put together
//! from the columns of base batch and log batches.

mod base;
mod columns;
mod commit_filter;
mod key_map;
mod log;
mod merge;
pub(crate) mod ordering;
mod pick;

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use futures::stream::{BoxStream, StreamExt};

use crate::config::TableConfig;
use crate::env::MemoryBudget;
use crate::error::{Error, Result};
use crate::file_group::{BaseFile, FileSlice, Visibility};
use crate::storage::Storage;

pub(crate) use commit_filter::CommitFilter;

use base::BaseRows;
use columns::Columns;
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
}

impl ReadOptions {
    /// All columns, in batches of 8192 rows.
    pub fn new(memory: MemoryBudget) -> Self {
        Self {
            projection: None,
            batch_rows_max: 8192,
            memory,
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
    let logs = log::read_logs(&context, slice, &columns, &options.memory).await?;
    let needs_all = context.commits.is_none() || logs.as_ref().is_some_and(LogRecords::has_partial);
    let is_wanted = |file: &&BaseFile| {
        needs_all
            || context
                .commits
                .as_ref()
                .is_some_and(|commits| commits.includes(file.instant.as_str()))
    };
    let base = match slice.base_file.as_ref().filter(is_wanted) {
        Some(file) => {
            Some(BaseRows::open(&context, slice, file, &columns, options.batch_rows_max).await?)
        }
        None => None,
    };
    let reader = SliceReader {
        base,
        logs,
        inserts: None,
        columns,
        commits: context.commits,
        batch_rows_max: options.batch_rows_max,
    };
    let stream = futures::stream::try_unfold(reader, |mut reader| async move {
        let batch = reader.next().await?;
        Ok(batch.map(|batch| (batch, reader)))
    });
    Ok(stream.boxed())
}

/// The state of reading one slice. Cancel-safe: dropping it loses nothing.
struct SliceReader {
    base: Option<BaseRows>,
    logs: Option<LogRecords>,
    /// Log records without a base row, once the base file has ended.
    inserts: Option<Inserts>,
    columns: Columns,
    commits: Option<Arc<CommitFilter>>,
    batch_rows_max: usize,
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
                Some(batch) => {
                    return match &mut self.logs {
                        Some(logs) => logs.merge_base(&batch).map(Some),
                        None => Ok(Some(batch)),
                    };
                }
                None => self.base = None,
            }
        }
        let Some(logs) = &self.logs else {
            return Ok(None);
        };
        let inserts = self.inserts.get_or_insert_with(|| Inserts::of(logs));
        inserts.next(logs, self.batch_rows_max)
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
