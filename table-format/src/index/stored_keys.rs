//! The look-up of keys in what is stored: the key column of base files, and logs where these add keys.
//!
//! Java: HoodieKeyLookupHandle. Log files hold no keys of their own when all writers put new rows into base files, as this
//! index and Hudi's do. Where another kind of writer has been at work they may: they are read once to find out.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, StringArray};
use futures::{StreamExt, TryStreamExt, stream};
use parquet::arrow::ProjectionMask;

use crate::error::{Error, Result};
use crate::file_group::{BaseFile, FileSlice, ParquetSource};
use crate::index::groups::{Group, PartitionGroups};
use crate::index::log_keys::{CountedBlocks, LogEntry, LogSource};
use crate::index::{Asked, Homes, Room, Target};
use crate::schema::meta::META_COLUMNS;
use crate::storage::Storage;
use crate::writer::{KeyTable, WriteContext};

/// Groups that are looked through side by side.
const GROUPS_AT_ONCE: usize = 4;
/// Keys of a sample.
const SAMPLED_KEYS: usize = 1_000;

/// Says by its footer whether a base file may hold some of the keys.
pub(super) type MayHold<'a> =
    &'a (dyn Fn(&parquet::file::metadata::ParquetMetaData) -> bool + Send + Sync);

/// Where the keys of `rows` are stored in a partition. Base files are read if `may_hold` does not rule them out.
pub(super) async fn find_stored(
    asked: Asked<'_>,
    rows: &[u32],
    may_hold: MayHold<'_>,
) -> Result<Homes> {
    let groups = asked.partition.groups();
    if rows.is_empty() || groups.is_empty() {
        return Ok(Homes::all_new(rows));
    }
    let mut wanted = KeyTable::with_room(asked.keys.clone(), rows.len());
    for &row in rows {
        wanted.insert(row);
    }
    let wanted = &wanted;
    let groups: Vec<Arc<Group>> = groups.iter().cloned().collect();
    let by_group: Vec<(usize, Vec<u32>)> = stream::iter(groups.into_iter().enumerate())
        .map(|(position, group)| async move {
            let rows = rows_in(asked.context, &group, wanted, may_hold).await?;
            Ok::<_, Error>((position, rows))
        })
        .buffer_unordered(GROUPS_AT_ONCE)
        .try_collect()
        .await?;
    let mut found: Vec<(u32, usize)> = by_group
        .into_iter()
        .flat_map(|(position, rows)| rows.into_iter().map(move |row| (row, position)))
        .collect();
    found.sort_unstable();
    found.dedup();
    let known: HashSet<u32> = found.iter().map(|(row, _)| *row).collect();
    let nowhere = rows.iter().filter(|row| !known.contains(row));
    Ok(Homes {
        nowhere: nowhere.copied().collect(),
        found,
    })
}

async fn rows_in(
    context: &WriteContext,
    group: &Group,
    wanted: &KeyTable,
    may_hold: MayHold<'_>,
) -> Result<Vec<u32>> {
    let slice = &group.slice;
    let mut rows = Vec::new();
    if let Some(base) = &slice.base_file {
        each_base_key(&context.storage, slice, base, may_hold, |keys| {
            rows.extend(keys.iter().flatten().filter_map(|key| wanted.find(key)));
        })
        .await?;
    }
    let adds_keys = group
        .logs_add_keys
        .get_or_try_init(|| logs_add_keys(context, slice));
    if *adds_keys.await? {
        let counted = counted_blocks(context, slice).await?;
        let find = |key: &str| rows.extend(wanted.find(key));
        each_log_key(context.logs(), slice, &counted, find).await?;
    }
    Ok(rows)
}

/// Some keys of a slice, for a look at what it holds: of its base file, else of its first log file.
pub(super) async fn sample_keys(source: LogSource<'_>, slice: &FileSlice) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    let mut take = |key: &str| {
        if keys.len() < SAMPLED_KEYS {
            keys.push(key.to_owned());
        }
    };
    if let Some(base) = &slice.base_file {
        each_base_key(source.storage, slice, base, &|_| true, |column| {
            column.iter().flatten().for_each(&mut take);
        })
        .await?;
    } else {
        let first = FileSlice {
            log_files: slice.log_files.iter().take(1).cloned().collect(),
            ..slice.clone()
        };
        each_log_key(source, &first, &CountedBlocks::default(), take).await?;
    }
    Ok(keys)
}

/// Reads the record keys of a base file.
async fn each_base_key(
    storage: &Storage,
    slice: &FileSlice,
    base: &BaseFile,
    may_hold: MayHold<'_>,
    mut visit: impl FnMut(&StringArray),
) -> Result<()> {
    let path = slice.path_of(&base.to_string());
    let source = ParquetSource::new(storage.clone(), path.clone(), base.size_bytes);
    let builder = source.open().await?;
    if !may_hold(builder.metadata()) {
        return Ok(());
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), [META_COLUMNS[2]]);
    let mut batches = builder.with_projection(mask).build()?;
    let failed = |error| Error::from(error).context(format!("reading {path}"));
    while let Some(batch) = batches.try_next().await.map_err(failed)? {
        let column = batch
            .columns()
            .first()
            .and_then(|column| column.as_string_opt::<i32>());
        visit(column.ok_or_else(|| Error::corrupt(&path, "no text in _hoodie_record_key"))?);
    }
    Ok(())
}

/// Reads the keys in the logs of a slice.
async fn each_log_key(
    source: LogSource<'_>,
    slice: &FileSlice,
    counted: &CountedBlocks,
    mut visit: impl FnMut(&str),
) -> Result<()> {
    let wanted = [META_COLUMNS[2]];
    let read = source.read(slice, &wanted, counted, |entry| match entry {
        LogEntry::Records(batch) => {
            let keys: Option<&StringArray> = batch
                .column_by_name(META_COLUMNS[2])
                .and_then(|column| column.as_string_opt());
            let keys = keys.into_iter().flat_map(StringArray::iter);
            keys.flatten().for_each(&mut visit);
        }
        LogEntry::Delete(key) => visit(key),
    });
    read.await
}

async fn counted_blocks(context: &WriteContext, slice: &FileSlice) -> Result<CountedBlocks> {
    let version = context.config.version();
    CountedBlocks::of(context.logs(), version, slice, &context.visibility).await
}

/// Whether the logs of a slice hold keys that its base file lacks.
async fn logs_add_keys(context: &WriteContext, slice: &FileSlice) -> Result<bool> {
    if slice.log_files.is_empty() {
        return Ok(false);
    }
    let Some(base) = &slice.base_file else {
        return Ok(true);
    };
    let mut memory = context.env.memory.book(0);
    let mut bytes = 0;
    let mut logged: HashSet<String> = HashSet::new();
    let counted = counted_blocks(context, slice).await?;
    each_log_key(context.logs(), slice, &counted, |key| {
        if !logged.contains(key) {
            bytes += (key.len() + 2 * size_of::<String>()) as u64;
            logged.insert(key.to_owned());
            memory.resize(bytes);
        }
    })
    .await?;
    each_base_key(&context.storage, slice, base, &|_| true, |keys| {
        for key in keys.iter().flatten() {
            logged.remove(key);
        }
    })
    .await?;
    Ok(!logged.is_empty())
}

/// Spreads new rows over small groups and new ones, in the order of their keys, so that new files hold narrow ranges.
/// Java: UpsertPartitioner#assignInserts.
pub(super) fn fill_small_groups(
    partition: &PartitionGroups,
    asked: &Asked<'_>,
    rows: &[u32],
    room: &Room,
) -> Vec<(u32, Target)> {
    let mut ascending = rows.to_vec();
    ascending.sort_by_key(|&row| asked.key(row));
    let groups = partition.groups().iter().enumerate();
    let mut open: Vec<(usize, u64)> = groups
        .filter(|(position, group)| room.is_open(partition, *position, group.bytes))
        .map(|(position, group)| (position, group.bytes))
        .collect();
    // The fullest comes last and is filled first.
    open.sort_by_key(|(_, bytes)| *bytes);
    let (mut new, mut new_bytes) = (0, 0);
    let mut placed = Vec::with_capacity(rows.len());
    for row in ascending {
        while open
            .last()
            .is_some_and(|(_, bytes)| *bytes >= room.group_bytes_max)
        {
            open.pop();
        }
        let target = if let Some((position, bytes)) = open.last_mut() {
            *bytes += room.row_bytes;
            Target::Group(*position)
        } else {
            if new_bytes >= room.group_bytes_max {
                (new, new_bytes) = (new + 1, 0);
            }
            new_bytes += room.row_bytes;
            Target::New(new)
        };
        placed.push((row, target));
    }
    placed
}
