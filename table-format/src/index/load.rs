//! The file groups of a table from its files; their key ranges from footers of base files and keys of log files.

use std::collections::BTreeSet;

use arrow::datatypes::SchemaRef;
use futures::{StreamExt, TryStreamExt, stream};

use crate::config::TableConfig;
use crate::error::{Error, Result};
use crate::file_group::view::latest_slices;
use crate::file_group::{FileSlice, Horizon, ParquetSource, Visibility};
use crate::index::groups::{FileGroups, Group};
use crate::index::key_value::{KeyColumn, KeyRange, range_in_footer};
use crate::index::log_keys::{CountedBlocks, LogEntry, LogSource};
use crate::timeline::ActiveTimeline;

/// Slices that are read side by side.
const SLICES_AT_ONCE: usize = 16;
/// A byte of a log file is about this part of a byte in a base file. Java: hoodie.logfile.to.parquet.compression.ratio.
const LOG_BYTES_DIVISOR: u64 = 3;

/// The groups of the table as `timeline` shows them; what `known` says of slices that have not changed is taken over. Their
/// ranges are read for an index that wants them, by the column `range_field`.
pub(crate) async fn load_groups(
    source: LogSource<'_>,
    config: &TableConfig,
    range_field: Option<&str>,
    schema: &SchemaRef,
    timeline: &ActiveTimeline,
    known: &FileGroups,
) -> Result<FileGroups> {
    let visibility = Visibility::new(timeline, Horizon::Latest);
    let slices = latest_slices(source.storage, config, timeline, &visibility).await?;
    let Some(field) = range_field else {
        let groups = slices.into_iter().map(|slice| {
            known
                .find(&slice)
                .cloned()
                .unwrap_or_else(|| Group::new(slice.clone(), None, slice_bytes(&slice)))
        });
        return Ok(groups.collect());
    };
    with_ranges(source, config, field, schema, slices, known).await
}

/// Some groups of the table with their ranges.
pub(crate) async fn load_ranges(
    source: LogSource<'_>,
    config: &TableConfig,
    field: &str,
    schema: &SchemaRef,
    timeline: &ActiveTimeline,
    wanted: &BTreeSet<(String, String)>,
) -> Result<FileGroups> {
    let visibility = Visibility::new(timeline, Horizon::Latest);
    let mut slices = latest_slices(source.storage, config, timeline, &visibility).await?;
    slices.retain(|slice| wanted.contains(&(slice.partition_path.clone(), slice.file_id.clone())));
    with_ranges(
        source,
        config,
        field,
        schema,
        slices,
        &FileGroups::default(),
    )
    .await
}

async fn with_ranges(
    source: LogSource<'_>,
    config: &TableConfig,
    field: &str,
    schema: &SchemaRef,
    slices: Vec<FileSlice>,
    known: &FileGroups,
) -> Result<FileGroups> {
    let data_type = schema
        .field_with_name(field)
        .map_err(|_| {
            Error::corrupt(
                config.name(),
                format!("the schema lacks the record key `{field}`"),
            )
        })?
        .data_type();
    let groups: Vec<Group> = stream::iter(slices)
        .map(|slice| async move {
            if let Some(group) = known.find(&slice) {
                return Ok(group.clone());
            }
            let range = slice_range(source, &slice, field, data_type).await?;
            let bytes = slice_bytes(&slice);
            Ok::<_, Error>(Group::new(slice, range, bytes))
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
    source: LogSource<'_>,
    slice: &FileSlice,
    key_field: &str,
    data_type: &arrow::datatypes::DataType,
) -> Result<Option<KeyRange>> {
    let mut range = None;
    if let Some(base) = &slice.base_file {
        let path = slice.path_of(&base.to_string());
        let footer = ParquetSource::new(source.storage.clone(), path, base.size_bytes)
            .footer()
            .await?;
        range = range_in_footer(&footer, key_field, data_type);
    }
    let (wanted, counted) = ([key_field], CountedBlocks::default());
    let read = source.read(slice, &wanted, &counted, |entry| {
        let LogEntry::Records(batch) = entry else {
            return;
        };
        // A log of an older schema may hold the key in a narrower type: a range of that kind holds it just as well.
        let logged = match batch.column_by_name(key_field) {
            Some(column) => KeyColumn::new(column).range(0..batch.num_rows()),
            None => Some(KeyRange::EVERYTHING),
        };
        range = KeyRange::join_all(range.take(), logged);
    });
    read.await?;
    Ok(range)
}
