//! Decides between several candidate groups: first their bloom filters, then their keys.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{AsArray, StringArray};
use futures::{StreamExt, TryStreamExt, stream};
use parquet::arrow::ProjectionMask;

use crate::error::{Error, Result};
use crate::file_group::{FileSlice, ParquetSource, key_filter};
use crate::index::Asked;
use crate::index::groups::PartitionGroups;
use crate::index::log_keys::{CountedBlocks, LogEntry};
use crate::schema::meta::META_COLUMNS;
use crate::writer::WriteContext;

/// Groups that are looked through side by side.
const GROUPS_AT_ONCE: usize = 4;

/// A key that several groups may hold.
#[derive(Debug)]
pub(crate) struct Undecided<'a> {
    /// Whose position the answer is for.
    pub(crate) position: usize,
    pub(crate) key: &'a str,
    /// The candidates, by their positions in the partition.
    pub(crate) groups: &'a [usize],
}

/// How a key stands in a slice, from weakest to strongest claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Absent,
    /// It was there, and a delete was logged since. By event time that delete may have come too late, so a group that is
    /// silent about the key has less of a claim.
    Deleted,
    Live,
}

/// For each key the positions of the groups that hold it, which are several only after inserts that asked no index; if none
/// does, of a candidate, whose range covers it anyway.
pub(crate) async fn decide(
    context: &WriteContext,
    partition: &PartitionGroups,
    undecided: &[Undecided<'_>],
) -> Result<Vec<(usize, usize)>> {
    let mut keys_of_group: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (question, undecided) in undecided.iter().enumerate() {
        for &group in undecided.groups {
            keys_of_group.entry(group).or_default().push(question);
        }
    }
    let standings: Vec<(usize, Vec<(usize, Standing)>)> = stream::iter(keys_of_group)
        .map(|(group, questions)| async move {
            let slice = match partition.groups().get(group) {
                Some(group) => &group.slice,
                None => return Ok((group, Vec::new())),
            };
            let keys: Vec<&str> = questions
                .iter()
                .map(|&question| undecided[question].key)
                .collect();
            let standings = standings(context, slice, &keys).await?;
            Ok::<_, Error>((group, questions.into_iter().zip(standings).collect()))
        })
        .buffer_unordered(GROUPS_AT_ONCE)
        .try_collect()
        .await?;
    let mut best = vec![(Standing::Absent, Vec::new()); undecided.len()];
    for (group, answers) in standings {
        for (question, standing) in answers {
            let (known, groups) = &mut best[question];
            if standing > *known {
                *known = standing;
                groups.clear();
            }
            if standing == *known && standing == Standing::Live || groups.is_empty() {
                groups.push(group);
            }
        }
    }
    let answered = undecided.iter().zip(best);
    Ok(answered
        .flat_map(|(undecided, (standing, mut groups))| {
            if standing == Standing::Absent {
                groups = undecided.groups.first().copied().into_iter().collect();
            }
            groups.into_iter().map(|group| (undecided.position, group))
        })
        .collect())
}

/// Those of the rows with the positions of groups in which their keys are alive: a range may cover a key that is not there,
/// and a log may have deleted one that is in the base file.
pub(crate) async fn alive(asked: Asked<'_>, found: Vec<(u32, usize)>) -> Result<Vec<(u32, usize)>> {
    let mut rows_of_group: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for (row, group) in found {
        rows_of_group.entry(group).or_default().push(row);
    }
    let mut live = Vec::new();
    for (group, rows) in rows_of_group {
        let Some(slice) = asked
            .partition
            .groups()
            .get(group)
            .map(|group| &group.slice)
        else {
            continue;
        };
        let keys: Vec<&str> = rows.iter().map(|&row| asked.key(row)).collect();
        let found = standings(asked.context, slice, &keys).await?;
        let found = rows.into_iter().zip(found);
        live.extend(
            found
                .filter(|(_, standing)| *standing == Standing::Live)
                .map(|(row, _)| (row, group)),
        );
    }
    Ok(live)
}

/// Which of `keys` a slice knows: rows that are there, or were deleted by its logs.
pub(crate) async fn known_keys(
    context: &WriteContext,
    slice: &FileSlice,
    keys: &[&str],
) -> Result<Vec<bool>> {
    let standings = standings(context, slice, keys).await?;
    Ok(standings
        .into_iter()
        .map(|standing| standing != Standing::Absent)
        .collect())
}

/// How `keys` stand in a slice by its base file and logs.
async fn standings(
    context: &WriteContext,
    slice: &FileSlice,
    keys: &[&str],
) -> Result<Vec<Standing>> {
    let mut questions: HashMap<&str, Vec<usize>> = HashMap::new();
    for (question, &key) in keys.iter().enumerate() {
        questions.entry(key).or_default().push(question);
    }
    let mut standings = vec![Standing::Absent; keys.len()];
    let mut set = |key: &str, standing: Standing| {
        for &question in questions.get(key).into_iter().flatten() {
            standings[question] = standing;
        }
    };
    if let Some(base) = &slice.base_file {
        let path = slice.path_of(&base.to_string());
        let source = ParquetSource::new(context.storage.clone(), path.clone(), base.size_bytes);
        let builder = source.open().await?;
        if filter_may_hold(builder.metadata(), keys) {
            let mask = ProjectionMask::columns(builder.parquet_schema(), [META_COLUMNS[2]]);
            let mut batches = builder.with_projection(mask).build()?;
            let failed = |error| Error::from(error).context(format!("reading {path}"));
            while let Some(batch) = batches.try_next().await.map_err(failed)? {
                let column = batch
                    .columns()
                    .first()
                    .and_then(|column| column.as_string_opt::<i32>());
                let column =
                    column.ok_or_else(|| Error::corrupt(&path, "no text in _hoodie_record_key"))?;
                column
                    .iter()
                    .flatten()
                    .for_each(|key| set(key, Standing::Live));
            }
        }
    }
    let (source, version) = (context.logs(), context.config.version());
    let counted = CountedBlocks::of(source, version, slice, &context.visibility).await?;
    let wanted = [META_COLUMNS[2]];
    let read = source.read(slice, &wanted, &counted, |entry| match entry {
        LogEntry::Records(batch) => {
            let keys: Option<&StringArray> = batch
                .column_by_name(META_COLUMNS[2])
                .and_then(|column| column.as_string_opt());
            keys.into_iter()
                .flat_map(StringArray::iter)
                .flatten()
                .for_each(|key| set(key, Standing::Live));
        }
        LogEntry::Delete(key) => set(key, Standing::Deleted),
    });
    read.await?;
    Ok(standings)
}

/// `false` when the bloom filter in the footer rules out every key.
fn filter_may_hold(footer: &parquet::file::metadata::ParquetMetaData, keys: &[&str]) -> bool {
    key_filter(footer).is_none_or(|filter| keys.iter().any(|key| filter.might_contain(key)))
}
