//! Puts result batches together from the columns of the base batch and of the log batches.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, StringBuilder, new_empty_array,
    new_null_array,
};
use arrow::compute::interleave;

use crate::error::{Error, Result};

use super::merge::{Content, LogRecords, RecordRef};

/// Where a row of the result comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// A row of the base batch.
    Base(u32),
    /// A folded log record, over the base row if there is one.
    Log { folded: u32, base_row: Option<u32> },
    /// A row of the base batch, over a folded log record that fills its open columns.
    Filled { folded: u32, base_row: u32 },
}

/// The place of the base batch among the sources; the parts follow, and last a single null.
const BASE: usize = 0;

/// The rows that `picks` name, in their order.
pub(super) fn pick_rows(
    logs: &LogRecords,
    base: Option<&RecordBatch>,
    picks: &[Pick],
) -> Result<RecordBatch> {
    let schema = &logs.columns.schema;
    let has_partial = logs.has_partial();
    let whole_rows = if has_partial {
        Vec::new()
    } else {
        whole_rows(logs, picks)?
    };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for (position, field) in schema.fields().iter().enumerate() {
        let empty = new_empty_array(field.data_type());
        let null = new_null_array(field.data_type(), 1);
        let mut sources: Vec<&dyn Array> = Vec::with_capacity(logs.parts.len() + 2);
        sources.push(base.map_or(&empty, |batch| batch.column(position)).as_ref());
        for part in &logs.parts {
            let column = match &part.content {
                Content::Rows { batch, .. } => batch.column_by_name(field.name()),
                Content::Deletes { .. } => None,
            };
            sources.push(column.unwrap_or(&empty).as_ref());
        }
        sources.push(null.as_ref());
        let column = if has_partial {
            let places: Vec<(usize, usize)> = picks
                .iter()
                .map(|pick| place_of_column(logs, *pick, field.name(), &sources))
                .collect();
            interleave(&sources, &places)?
        } else {
            interleave(&sources, &whole_rows)?
        };
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(picks.len()));
    let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options);
    batch.map_err(|error| {
        Error::corrupt("log block", format!("rows do not fit the table: {error}"))
            .with_source(error)
    })
}

/// The source and row of each pick, the same for all columns.
fn whole_rows(logs: &LogRecords, picks: &[Pick]) -> Result<Vec<(usize, usize)>> {
    picks
        .iter()
        .map(|pick| match pick {
            Pick::Base(row) | Pick::Filled { base_row: row, .. } => Ok((BASE, *row as usize)),
            Pick::Log { folded, .. } => {
                let entry = logs.folded.get(*folded as usize);
                let record = entry
                    .ok_or_else(|| Error::internal("a folded record is missing"))?
                    .record;
                Ok(place(record))
            }
        })
        .collect()
}

fn place(record: RecordRef) -> (usize, usize) {
    (record.part as usize + 1, record.row as usize)
}

/// The source and row for one column of a pick: the newest record that has a value of its own, else the base row, else null.
fn place_of_column(
    logs: &LogRecords,
    pick: Pick,
    column: &str,
    sources: &[&dyn Array],
) -> (usize, usize) {
    let null = (logs.parts.len() + 1, 0);
    let is_own = |(source, row): (usize, usize)| {
        let values = sources.get(source);
        values.is_some_and(|values| row < values.len() && logs.is_own_value(*values, row))
    };
    let (folded, base_row) = match pick {
        Pick::Base(row) => return (BASE, row as usize),
        Pick::Log { folded, base_row } => (folded, base_row),
        Pick::Filled { folded, base_row } => {
            let base = (BASE, base_row as usize);
            if is_own(base) {
                return base;
            }
            (folded, Some(base_row))
        }
    };
    let mut first = None;
    let mut next = logs
        .folded
        .get(folded as usize)
        .map(|entry| (entry.record, entry.under));
    while let Some((record, under)) = next {
        if logs.is_delete(record) {
            return first.unwrap_or(null);
        }
        let has_column = match logs
            .parts
            .get(record.part as usize)
            .map(|part| &part.content)
        {
            Some(Content::Rows { batch, .. }) => batch.column_by_name(column).is_some(),
            _ => false,
        };
        if has_column && is_own(place(record)) {
            return place(record);
        }
        if has_column {
            first = first.or(Some(place(record)));
        }
        if !logs.is_partial(record) {
            return null;
        }
        next = under.and_then(|under| logs.under.get(under as usize).copied());
    }
    let base = base_row.map(|row| (BASE, row as usize));
    base.or(first).unwrap_or(null)
}

/// The log records that no base row has met, in the order in which their keys were first logged.
#[derive(Debug)]
pub(super) struct Inserts {
    left: std::vec::IntoIter<u32>,
}

impl Inserts {
    pub(super) fn of(logs: &LogRecords) -> Self {
        let left: Vec<u32> = logs
            .folded
            .iter()
            .enumerate()
            .filter(|(_, entry)| !entry.is_matched && !logs.is_delete(entry.record))
            .map(|(number, _)| number as u32)
            .collect();
        Self {
            left: left.into_iter(),
        }
    }

    /// All that are rows, those that mark deletes among them.
    pub(super) fn logged(logs: &LogRecords) -> Self {
        let left: Vec<u32> = (0_u32..)
            .zip(&logs.folded)
            .filter(|(_, entry)| logs.is_row(entry.record))
            .map(|(number, _)| number)
            .collect();
        Self {
            left: left.into_iter(),
        }
    }

    pub(super) fn next(
        &mut self,
        logs: &LogRecords,
        rows_max: usize,
    ) -> Result<Option<RecordBatch>> {
        let picks: Vec<Pick> = self
            .left
            .by_ref()
            .take(rows_max)
            .map(|folded| Pick::Log {
                folded,
                base_row: None,
            })
            .collect();
        if picks.is_empty() {
            Ok(None)
        } else {
            pick_rows(logs, None, &picks).map(Some)
        }
    }
}

/// The keys whose last record is a delete that is no row.
#[derive(Debug)]
pub(crate) struct LogDeletes {
    pub(crate) keys: StringArray,
    /// Which of them bear no ordering value.
    pub(crate) unordered: Vec<bool>,
    /// The ordering columns; `None` where the later record wins.
    pub(crate) ordering: Option<Vec<ArrayRef>>,
}

impl Default for LogDeletes {
    fn default() -> Self {
        Self {
            keys: StringArray::new_null(0),
            unordered: Vec::new(),
            ordering: None,
        }
    }
}

impl LogDeletes {
    pub(super) fn of(logs: &LogRecords) -> Result<Self> {
        let mut keys = StringBuilder::new();
        let mut unordered = Vec::new();
        let mut values = logs.ordering().map(|ordering| ordering.empty_rows(0));
        for entry in logs
            .folded
            .iter()
            .filter(|entry| !logs.is_row(entry.record))
        {
            let record = entry.record;
            keys.append_value(logs.key_of(record)?);
            unordered.push(logs.is_unordered_delete(record));
            if let (Some(values), Some(value)) = (&mut values, logs.ordering_of(record)) {
                values.push(value);
            }
        }
        let ordering = match (logs.ordering(), values) {
            (Some(ordering), Some(values)) => Some(ordering.columns_of(&values)?),
            _ => None,
        };
        Ok(Self {
            keys: keys.finish(),
            unordered,
            ordering,
        })
    }
}
