//! The rows of a file of the archive: one instant each, with the bytes of its files.
//!
//! Java: HoodieLSMTimelineInstant. Only the columns that are asked for are read; the bytes of commits are most of a file.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, RowFilter,
};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::file::statistics::Statistics;

use super::{ArchivedInstant, Content, Selection};
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::ParquetSource;
use crate::storage::Storage;
use crate::timeline::{Action, Instant, State};

pub(crate) const INSTANT_TIME: &str = "instantTime";
pub(crate) const COMPLETION_TIME: &str = "completionTime";
pub(crate) const ACTION: &str = "action";
pub(crate) const METADATA: &str = "metadata";
pub(crate) const PLAN: &str = "plan";
pub(crate) const VERSION: &str = "version";

/// Rows read at a time: commits are large, times are small.
const METADATA_ROWS: usize = 16;
const INDEX_ROWS: usize = 8192;

/// An opened file of the archive: its footer is read, its rows are not.
pub(crate) struct LsmRows {
    source: ParquetSource,
    footer: ArrowReaderMetadata,
    path: String,
}

impl LsmRows {
    /// Reads the footer of the file at the table-relative `path`.
    ///
    /// # Errors
    /// `Conflict` when the file is gone, `Corrupt` when it is no Parquet file, `Unavailable` when the store gives up.
    pub(crate) async fn open(storage: &Storage, path: String, size_bytes: u64) -> Result<Self> {
        let mut source = ParquetSource::new(storage.clone(), path.clone(), size_bytes);
        // The file may come from any Parquet library: what it says about Arrow types is not wanted.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let footer = ArrowReaderMetadata::load_async(&mut source, options)
            .await
            .map_err(|error| gone_or(error.into(), &path))?;
        Ok(Self {
            source,
            footer,
            path,
        })
    }

    /// Number of row groups.
    pub(crate) fn row_groups(&self) -> usize {
        self.footer.metadata().num_row_groups()
    }

    /// The latest completion time inside, as the footer tells it; `None` when it does not.
    pub(crate) fn newest_completion(&self) -> Option<String> {
        let mut newest = None;
        for group in self.footer.metadata().row_groups() {
            let column = group
                .columns()
                .iter()
                .find(|column| column.column_path().string() == COMPLETION_TIME)?;
            let Some(Statistics::ByteArray(values)) = column.statistics() else {
                return None;
            };
            let max = std::str::from_utf8(values.max_bytes_opt()?).ok()?;
            newest = newest.max(Some(max.to_owned()));
        }
        newest
    }

    /// The rows that are wanted, in batches, with the columns named.
    ///
    /// # Errors
    /// `Corrupt` when the file breaks its format. The stream's items fail likewise, or as [`LsmRows::open`].
    pub(crate) fn batches(
        &self,
        columns: &[&str],
        selection: &Selection,
        row_groups: Option<Vec<usize>>,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let schema = self.footer.metadata().file_metadata().schema_descr();
        let mask = |names: &[&str]| ProjectionMask::columns(schema, names.iter().copied());
        let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(
            self.source.clone(),
            self.footer.clone(),
        )
        .with_projection(mask(columns))
        .with_batch_size(if columns.contains(&METADATA) {
            METADATA_ROWS
        } else {
            INDEX_ROWS
        });
        if *selection != Selection::default() {
            let selection = selection.clone();
            let is_wanted =
                ArrowPredicateFn::new(mask(&[INSTANT_TIME, COMPLETION_TIME]), move |batch| {
                    wanted(&batch, &selection)
                        .map_err(|error| arrow::error::ArrowError::ExternalError(Box::new(error)))
                });
            builder = builder.with_row_filter(RowFilter::new(vec![Box::new(is_wanted)]));
        }
        if let Some(row_groups) = row_groups {
            builder = builder.with_row_groups(row_groups);
        }
        let path = self.path.clone();
        let stream = builder
            .build()
            .map_err(|error| Error::from(error).context(path.clone()))?;
        Ok(stream
            .map_err(move |error| gone_or(error.into(), &path))
            .boxed())
    }

    /// The instants that are wanted, oldest first, with what `content` asks for.
    ///
    /// # Errors
    /// As [`LsmRows::batches`].
    pub(crate) async fn visit(
        &self,
        content: Content,
        selection: &Selection,
        row_groups: Option<Vec<usize>>,
        visit: &mut (dyn FnMut(ArchivedInstant) -> Result<()> + Send),
    ) -> Result<()> {
        let columns: &[&str] = match content {
            Content::Times => &[INSTANT_TIME, COMPLETION_TIME, ACTION],
            Content::Commits => &[INSTANT_TIME, COMPLETION_TIME, ACTION, METADATA],
        };
        let mut batches = self.batches(columns, selection, row_groups)?;
        while let Some(batch) = batches.try_next().await? {
            for instant in
                instants_of(&batch, content).map_err(|error| error.context(self.path.clone()))?
            {
                visit(instant)?;
            }
        }
        Ok(())
    }
}

fn instants_of(batch: &RecordBatch, content: Content) -> Result<Vec<ArchivedInstant>> {
    let times = text(batch, INSTANT_TIME)?;
    let completions = text(batch, COMPLETION_TIME)?;
    let actions = text(batch, ACTION)?;
    let metadata = match content {
        Content::Times => None,
        Content::Commits => Some(binary(batch, METADATA)?),
    };
    let mut instants = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        if times.is_null(row) || actions.is_null(row) {
            return Err(Error::corrupt(
                "archive",
                "an instant without a time or an action",
            ));
        }
        // An action of a later version means nothing here, as on the active timeline.
        let Ok(action) = actions.value(row).parse::<Action>() else {
            continue;
        };
        let completion = completions
            .is_valid(row)
            .then(|| completions.value(row).parse())
            .transpose()?;
        let instant = Instant {
            time: times.value(row).parse()?,
            action: action.comparable(),
            state: State::Completed,
            completion,
        };
        let bytes = metadata
            .as_ref()
            .filter(|metadata| metadata.is_valid(row))
            .map(|metadata| Bytes::copy_from_slice(metadata.value(row)));
        instants.push(ArchivedInstant::of_bytes(instant, bytes));
    }
    Ok(instants)
}

/// An instant with the bytes of its completed file and its plan.
pub(crate) type RowBytes = (Instant, Option<Bytes>, Option<Bytes>);

/// The instants of a batch with all that is kept of them; actions of other versions are left out.
///
/// # Errors
/// `Corrupt` when the batch breaks the format.
pub(crate) fn with_plans(batch: &RecordBatch) -> Result<Vec<RowBytes>> {
    let plans = match batch.column_by_name(PLAN) {
        Some(_) => Some(binary(batch, PLAN)?),
        None => None,
    };
    let mut rows = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let plan = plans
            .as_ref()
            .filter(|plans| plans.is_valid(row))
            .map(|plans| Bytes::copy_from_slice(plans.value(row)));
        for archived in instants_of(&batch.slice(row, 1), Content::Commits)? {
            let (instant, metadata) = archived.into_bytes();
            rows.push((instant, metadata, plan.clone()));
        }
    }
    Ok(rows)
}

fn wanted(batch: &RecordBatch, selection: &Selection) -> Result<BooleanArray> {
    let times = text(batch, INSTANT_TIME)?;
    let completions = text(batch, COMPLETION_TIME)?;
    Ok((0..batch.num_rows())
        .map(|row| {
            let completion = completions.is_valid(row).then(|| completions.value(row));
            Some(times.is_valid(row) && selection.includes_times(times.value(row), completion))
        })
        .collect())
}

/// A column of text, whatever kind of text the file was written with.
fn text(batch: &RecordBatch, name: &str) -> Result<StringArray> {
    let column = cast(&column(batch, name)?, &DataType::Utf8)?;
    Ok(column.as_string::<i32>().clone())
}

fn binary(batch: &RecordBatch, name: &str) -> Result<BinaryArray> {
    let column = cast(&column(batch, name)?, &DataType::Binary)?;
    Ok(column.as_binary::<i32>().clone())
}

fn column(batch: &RecordBatch, name: &str) -> Result<ArrayRef> {
    batch
        .column_by_name(name)
        .map(Arc::clone)
        .ok_or_else(|| Error::corrupt("archive", format!("the column `{name}` is missing")))
}

/// A file that the current manifest names and that is gone was merged into another meanwhile.
fn gone_or(error: Error, path: &str) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = source {
        let is_missing = inner
            .downcast_ref::<Error>()
            .is_some_and(|inner| inner.kind() == ErrorKind::NotFound);
        if is_missing {
            let message = format!(
                "{path} is gone: the archive was merged while it was read; read again (if the file stays missing, the archive is damaged)"
            );
            return Error::new(ErrorKind::Conflict, message).with_source(error);
        }
        source = inner.source();
    }
    error.context(path.to_owned())
}
