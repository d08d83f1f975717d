//! Builds the key-range index from the files of a table: footers of base files, keys of log files.

use arrow::datatypes::SchemaRef;
use futures::{StreamExt, TryStreamExt, stream};

use crate::config::TableConfig;
use crate::error::{Error, Result};
use crate::file_group::view::latest_slices;
use crate::file_group::{FileSlice, Horizon, ParquetSource, Visibility};
use crate::index::key_range::{Group, KeyRangeIndex};
use crate::index::key_value::{KeyColumn, KeyRange, range_in_footer};
use crate::index::log_keys::{LogEntry, read_log_keys};
use crate::storage::Storage;
use crate::timeline::ActiveTimeline;

/// Slices that are read side by side.
const SLICES_AT_ONCE: usize = 16;
/// A byte of a log file is about this part of a byte in a base file. Java: hoodie.logfile.to.parquet.compression.ratio.
const LOG_BYTES_DIVISOR: u64 = 3;

/// The index of the table as `timeline` shows it; what `known` says of slices that have not changed is taken over.
pub(crate) async fn load_index(
    storage: &Storage,
    config: &TableConfig,
    key_field: &str,
    schema: &SchemaRef,
    timeline: &ActiveTimeline,
    known: &KeyRangeIndex,
) -> Result<KeyRangeIndex> {
    let data_type = schema
        .field_with_name(key_field)
        .map_err(|_| {
            Error::corrupt(
                config.name(),
                format!("the schema lacks the record key `{key_field}`"),
            )
        })?
        .data_type();
    let visibility = Visibility::new(timeline, Horizon::Latest);
    let slices = latest_slices(storage, config, timeline, &visibility).await?;
    let groups: Vec<Group> = stream::iter(slices)
        .map(|slice| async move {
            if let Some(group) = known.find(&slice) {
                return Ok(group.clone());
            }
            let range = slice_range(storage, &slice, key_field, data_type).await?;
            Ok::<_, Error>(Group {
                bytes: slice_bytes(&slice),
                range,
                slice,
            })
        })
        .buffer_unordered(SLICES_AT_ONCE)
        .try_collect()
        .await?;
    Ok(groups.into_iter().collect())
}

/// About how long the slice's base file would be after compaction.
pub(crate) fn slice_bytes(slice: &FileSlice) -> u64 {
    let base = slice.base_file.as_ref().map_or(0, |file| file.size_bytes);
    let logs: u64 = slice.log_files.iter().map(|file| file.size_bytes).sum();
    base + logs / LOG_BYTES_DIVISOR
}

async fn slice_range(
    storage: &Storage,
    slice: &FileSlice,
    key_field: &str,
    data_type: &arrow::datatypes::DataType,
) -> Result<Option<KeyRange>> {
    let mut range = None;
    if let Some(base) = &slice.base_file {
        let path = slice.path_of(&base.to_string());
        let footer = ParquetSource::new(storage.clone(), path, base.size_bytes)
            .footer()
            .await?;
        range = range_in_footer(&footer, key_field, data_type);
    }
    for log in &slice.log_files {
        let path = slice.path_of(&log.to_string());
        read_log_keys(storage, &path, |entry| {
            let LogEntry::Records(batch) = entry else {
                return;
            };
            // A log of an older schema may hold the key in a narrower type: a range of that kind holds it just as well.
            let logged = match batch.column_by_name(key_field) {
                Some(column) => KeyColumn::new(column).range(0..batch.num_rows()),
                None => Some(KeyRange::EVERYTHING),
            };
            range = KeyRange::join_all(range.take(), logged);
        })
        .await?;
    }
    Ok(range)
}
