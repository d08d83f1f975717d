//! Decides between several candidate groups: first their bloom filters, then their keys.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{AsArray, StringArray};
use futures::{StreamExt, TryStreamExt, stream};
use parquet::arrow::ProjectionMask;

use crate::error::{Error, Result};
use crate::file_group::{FileSlice, ParquetSource, key_filter};
use crate::index::key_range::PartitionRanges;
use crate::index::log_keys::{LogEntry, read_log_keys};
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

/// For each key the position of the group that holds it; if none does, of a candidate, whose range covers it anyway.
pub(crate) async fn decide(
    context: &WriteContext,
    partition: &PartitionRanges,
    undecided: &[Undecided<'_>],
) -> Result<Vec<(usize, usize)>> {
    let mut keys_of_group: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (question, undecided) in undecided.iter().enumerate() {
        for &group in undecided.groups {
            keys_of_group.entry(group).or_default().push(question);
        }
    }
    let holders: Vec<(usize, Vec<usize>)> = stream::iter(keys_of_group)
        .map(|(group, questions)| async move {
            let slice = match partition.groups().get(group) {
                Some(group) => &group.slice,
                None => return Ok((group, Vec::new())),
            };
            let keys: Vec<&str> = questions
                .iter()
                .map(|&question| undecided[question].key)
                .collect();
            let held = live_keys(context, slice, &keys).await?;
            let held = questions
                .into_iter()
                .zip(held)
                .filter(|(_, held)| *held)
                .map(|(question, _)| question);
            Ok::<_, Error>((group, held.collect()))
        })
        .buffer_unordered(GROUPS_AT_ONCE)
        .try_collect()
        .await?;
    let mut answers: Vec<Option<usize>> = undecided
        .iter()
        .map(|undecided| undecided.groups.first().copied())
        .collect();
    for (group, questions) in holders {
        for question in questions {
            answers[question] = Some(group);
        }
    }
    let answered = undecided.iter().zip(answers);
    Ok(answered
        .filter_map(|(undecided, group)| Some((undecided.position, group?)))
        .collect())
}

/// Which of `keys` are alive in a slice: in the base file or a log, and not deleted since.
async fn live_keys(context: &WriteContext, slice: &FileSlice, keys: &[&str]) -> Result<Vec<bool>> {
    let mut questions: HashMap<&str, Vec<usize>> = HashMap::new();
    for (question, &key) in keys.iter().enumerate() {
        questions.entry(key).or_default().push(question);
    }
    let mut live = vec![false; keys.len()];
    let mut set = |key: &str, is_live: bool| {
        for &question in questions.get(key).into_iter().flatten() {
            live[question] = is_live;
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
                column.iter().flatten().for_each(|key| set(key, true));
            }
        }
    }
    for log in &slice.log_files {
        read_log_keys(
            &context.storage,
            &slice.path_of(&log.to_string()),
            |entry| match entry {
                LogEntry::Records(batch) => {
                    let keys: Option<&StringArray> = batch
                        .column_by_name(META_COLUMNS[2])
                        .and_then(|column| column.as_string_opt());
                    keys.into_iter()
                        .flat_map(StringArray::iter)
                        .flatten()
                        .for_each(|key| set(key, true));
                }
                LogEntry::Delete(key) => set(key, false),
            },
        )
        .await?;
    }
    Ok(live)
}

/// `false` when the bloom filter in the footer rules out every key.
fn filter_may_hold(footer: &parquet::file::metadata::ParquetMetaData, keys: &[&str]) -> bool {
    key_filter(footer).is_none_or(|filter| keys.iter().any(|key| filter.might_contain(key)))
}
