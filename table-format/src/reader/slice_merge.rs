//! The parts in which a slice is merged: one, or, when its logs had to be spilled, one for each bucket of keys.

use crate::env::run_on_cpu;
use crate::error::{Error, Result};
use crate::file_group::{BaseFile, FileSlice};

use arrow::array::RecordBatch;

use super::base::BaseRows;
use super::columns::Columns;
use super::filter::before_merging;
use super::log::read_logs;
use super::log_fold::{FoldedLogs, SpilledLogs};
use super::merge::{LogRecords, MergeCounts, text_column};
use super::pick::{Inserts, LogDeletes};
use super::spill::{Dealer, SegmentKind, SpillFile, SpillWriter, SpilledRows};
use super::{ReadContext, ReadOptions};

/// A slice that is being merged, part by part.
#[derive(Debug)]
pub(crate) struct SliceMerge {
    state: State,
    batch_rows_max: usize,
}

#[derive(Debug)]
enum State {
    Whole(BaseSource, Option<Box<LogRecords>>),
    Spilled {
        logs: Box<SpilledLogs>,
        base: SpillFile,
        bucket: usize,
    },
    Done,
}

/// Where the base rows of a part come from.
#[derive(Debug)]
pub(crate) enum BaseSource {
    /// There are none.
    None,
    /// The base file.
    File(Box<BaseRows>),
    /// A bucket of its rows.
    Spilled(SpilledRows),
}

/// A slice about to be merged into a new base file: its rows come with all columns of the table.
///
/// # Errors
/// As [`read_slice`](super::read_slice).
pub(crate) async fn open_merge(
    context: &ReadContext,
    slice: &FileSlice,
    options: &ReadOptions,
) -> Result<SliceMerge> {
    let columns = Columns::plan(context, None, !slice.log_files.is_empty())?;
    SliceMerge::open(context, slice, &columns, options).await
}

impl SliceMerge {
    pub(super) async fn open(
        context: &ReadContext,
        slice: &FileSlice,
        columns: &Columns,
        options: &ReadOptions,
    ) -> Result<Self> {
        let logs = read_logs(context, slice, columns, options).await?;
        let base = open_base(context, slice, columns, options, logs.as_ref()).await?;
        let state = match logs {
            None => State::Whole(base, None),
            Some(FoldedLogs::Held(logs)) => State::Whole(base, Some(logs)),
            Some(FoldedLogs::Spilled(logs)) => State::Spilled {
                base: spill_base(base, columns, logs.dealer(), options).await?,
                logs,
                bucket: 0,
            },
        };
        Ok(Self {
            state,
            batch_rows_max: options.batch_rows_max,
        })
    }

    /// The next part: its base rows, and what is to become of them. The two are apart so that merging can run on the CPU
    /// pool. `None` when all were taken; after an error too.
    pub(crate) async fn next(&mut self) -> Result<Option<(BaseSource, Merger)>> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Done => Ok(None),
            State::Whole(base, logs) => Ok(Some((base, self.merger(logs)))),
            State::Spilled {
                mut logs,
                mut base,
                bucket,
            } => {
                if bucket == logs.dealer().buckets() {
                    return Ok(None);
                }
                let rows = base.take_bucket(bucket);
                let (logs, records) = run_on_cpu(move || {
                    let records = logs.take_bucket(bucket)?;
                    Ok((logs, records))
                })
                .await?;
                self.state = State::Spilled {
                    logs,
                    base,
                    bucket: bucket + 1,
                };
                Ok(Some((
                    BaseSource::Spilled(rows),
                    self.merger(Some(Box::new(records))),
                )))
            }
        }
    }

    fn merger(&self, logs: Option<Box<LogRecords>>) -> Merger {
        Merger {
            logs,
            inserts: None,
            batch_rows_max: self.batch_rows_max,
        }
    }
}

impl BaseSource {
    /// The next base rows; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        match self {
            Self::None => Ok(None),
            Self::File(rows) => rows.next().await,
            Self::Spilled(rows) => Ok(rows.next()?.map(|(_, batch)| batch)),
        }
    }
}

async fn open_base(
    context: &ReadContext,
    slice: &FileSlice,
    columns: &Columns,
    options: &ReadOptions,
    logs: Option<&FoldedLogs>,
) -> Result<BaseSource> {
    let needs_all = context.commits.is_none() || logs.is_some_and(FoldedLogs::has_partial);
    let is_wanted = |file: &&BaseFile| {
        needs_all
            || context
                .commits
                .as_ref()
                .is_some_and(|commits| commits.includes(file.instant.as_str()))
    };
    let filter = options.filter.as_ref();
    let base_options = ReadOptions {
        filter: filter.and_then(|filter| before_merging(filter, context, logs)),
        ..options.clone()
    };
    Ok(match slice.base_file.as_ref().filter(is_wanted) {
        Some(file) => {
            let rows = BaseRows::open(context, slice, file, columns, &base_options).await?;
            BaseSource::File(Box::new(rows))
        }
        None => BaseSource::None,
    })
}

/// Deals the base rows out as the logs were.
async fn spill_base(
    mut base: BaseSource,
    columns: &Columns,
    dealer: &Dealer,
    options: &ReadOptions,
) -> Result<SpillFile> {
    let key = columns.record_key;
    let key = key.ok_or_else(|| Error::internal("no record key is read"))?;
    let mut writer = SpillWriter::new(dealer.buckets(), &options.memory)?;
    while let Some(batch) = base.next().await? {
        let dealer = dealer.clone();
        writer = run_on_cpu(move || {
            let dealt = dealer.deal(text_column(&batch, key)?)?;
            writer.add(SegmentKind::Rows, &batch, &dealt)?;
            Ok(writer)
        })
        .await?;
    }
    run_on_cpu(move || writer.finish()).await
}

/// The logs of a part, for its base rows to be merged with.
#[derive(Debug)]
pub(crate) struct Merger {
    logs: Option<Box<LogRecords>>,
    /// Log records without a base row, once the base rows have ended.
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

    /// The next rows that only the logs hold; for when the base rows have ended.
    pub(crate) fn inserts(&mut self) -> Result<Option<RecordBatch>> {
        let Some(logs) = &mut self.logs else {
            return Ok(None);
        };
        let inserts = self.inserts.get_or_insert_with(|| Inserts::of(logs));
        let rows = inserts.next(logs, self.batch_rows_max)?;
        logs.counts.inserted += rows.as_ref().map_or(0, |rows| rows.num_rows() as u64);
        Ok(rows)
    }

    /// Whether some records of the logs do not hold all values of their rows.
    pub(crate) fn has_partial(&self) -> bool {
        self.logs.as_ref().is_some_and(|logs| logs.has_partial())
    }

    /// The next rows of the logs, those that mark deletes among them; for logs that are read without base rows.
    pub(crate) fn logged_rows(&mut self) -> Result<Option<RecordBatch>> {
        let Some(logs) = &self.logs else {
            return Ok(None);
        };
        let rows = self.inserts.get_or_insert_with(|| Inserts::logged(logs));
        rows.next(logs, self.batch_rows_max)
    }

    /// The keys that the logs delete.
    pub(crate) fn logged_deletes(&self) -> Result<LogDeletes> {
        match &self.logs {
            Some(logs) => LogDeletes::of(logs),
            None => Ok(LogDeletes::default()),
        }
    }

    /// What was met so far.
    pub(crate) fn counts(&self) -> MergeCounts {
        self.logs
            .as_ref()
            .map(|logs| logs.counts)
            .unwrap_or_default()
    }
}
