//! The files of the active timeline in the form of another version.
//!
//! Version 6 keeps no completion times. Hudi takes the modification times of the files; here they are kept within what
//! version 6 means by the order of its instants: a write completed before the next write began, or a log would pass to a
//! base file that came after it once the files of a table have been copied. Java:
//! SevenToEightUpgradeHandler#upgradeActiveTimelineInstant, EightToSevenDowngradeHandler#downgradeActiveTimelineInstant.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::config::{TableConfig, TableVersion, TimelineZone};
use crate::error::Result;
use crate::file_group::join_path;
use crate::storage::{ListedFile, Storage};
use crate::timeline::metadata::{CommitMetadata, Payload, RequestedReplaceMetadata};
use crate::timeline::{Action, Instant, InstantTime, State};
use crate::transaction::{instant_time_at, shifted};

/// Files copied or deleted at a time.
const FILES_AT_ONCE: usize = 16;

/// The operation of a clustering's plan.
const CLUSTER: &str = "CLUSTER";

/// A table like this one of the version whose timeline lies in the other place.
pub(super) fn other_layout(config: &TableConfig) -> Result<TableConfig> {
    let other = match config.version() {
        TableVersion::Six => TableVersion::Eight,
        TableVersion::Eight | TableVersion::Nine => TableVersion::Six,
    };
    config.placed_as(other)
}

/// Deletes the files of the active timeline that a table like `config` has.
pub(super) async fn delete(storage: &Storage, config: &TableConfig) -> Result<()> {
    let dir = config.timeline_dir();
    let files = storage.list(&dir).await?.files;
    let of_instants = files.into_iter().filter(|file| {
        let checksum_of =
            |name: &str| Some(name.strip_prefix('.')?.strip_suffix(".crc")?.to_owned());
        let name = checksum_of(&file.name).unwrap_or_else(|| file.name.clone());
        Instant::parse_file_name(&name).is_some()
    });
    stream::iter(of_instants)
        .map(|file| {
            let path = join_path(&dir, &file.name);
            async move { storage.delete(&path).await }
        })
        .buffer_unordered(FILES_AT_ONCE)
        .try_collect()
        .await
}

/// Copies the timeline of `from` to where and how a table of `to` keeps it; what is there goes first. Returns the number of
/// files.
pub(super) async fn copy(storage: &Storage, from: &TableConfig, to: &TableConfig) -> Result<usize> {
    delete(storage, to).await?;
    let dir = from.timeline_dir();
    let files = storage.list(&dir).await?.files;
    let instants: Vec<(Instant, ListedFile)> = files
        .into_iter()
        .filter_map(|file| Some((Instant::parse_file_name(&file.name)?, file)))
        .collect();
    let completions = if to.keeps_completion_times() && !from.keeps_completion_times() {
        let is_utc = from.timeline_zone()? == TimelineZone::Utc;
        completion_times(&instants, is_utc)?
    } else {
        BTreeMap::new()
    };
    let clusterings = clusterings(storage, &dir, &instants).await?;
    let count = instants.len();
    stream::iter(instants)
        .map(|(instant, file)| {
            let target = target_of(&instant, to, &completions, &clusterings);
            let (path, source) = (
                join_path(&to.timeline_dir(), &target.file_name()),
                join_path(&dir, &file.name),
            );
            async move {
                let bytes = convert(storage.read(&source).await?, to.version(), &target)
                    .map_err(|error| error.context(source))?;
                storage.create(&path, bytes).await
            }
        })
        .buffer_unordered(FILES_AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(count)
}

/// The instant as a timeline of `to` names it. A pending clustering has an action of its own since version 8; Hudi's upgrade
/// calls the pending files of every replace commit so.
fn target_of(
    instant: &Instant,
    to: &TableConfig,
    completions: &BTreeMap<(InstantTime, Action), InstantTime>,
    clusterings: &BTreeSet<InstantTime>,
) -> Instant {
    let mut target = instant.clone();
    if !to.keeps_completion_times() {
        target.completion = None;
    } else if instant.state == State::Completed && instant.completion.is_none() {
        let key = (instant.time.clone(), instant.action);
        target.completion = completions.get(&key).cloned();
    }
    if instant.state != State::Completed && clusterings.contains(&instant.time) {
        target.action = Action::of_clustering(to.version());
    }
    target
}

/// Commits are JSON on one layout and Avro on the other; everything else is the same on both.
fn convert(bytes: Bytes, version: TableVersion, target: &Instant) -> Result<Bytes> {
    let is_commit = match target.action {
        Action::Commit | Action::DeltaCommit => true,
        Action::ReplaceCommit => target.state != State::Requested,
        _ => false,
    };
    if bytes.is_empty() || !is_commit {
        return Ok(bytes);
    }
    let metadata = CommitMetadata::decode(&bytes)?;
    Ok(metadata.encode_for(version, target)?.into())
}

/// The clusterings among the replace commits, pending or not, by their plans.
async fn clusterings(
    storage: &Storage,
    dir: &str,
    instants: &[(Instant, ListedFile)],
) -> Result<BTreeSet<InstantTime>> {
    let mut clusterings = BTreeSet::new();
    for (instant, file) in instants {
        let is_clustering = match (instant.action, instant.state) {
            (Action::Clustering, _) => true,
            (Action::ReplaceCommit, State::Requested) => {
                let bytes = storage.read(&join_path(dir, &file.name)).await?;
                let plan = RequestedReplaceMetadata::decode(&bytes)?;
                plan.operation_type.as_deref() == Some(CLUSTER)
            }
            _ => false,
        };
        if is_clustering {
            clusterings.insert(instant.time.clone());
        }
    }
    Ok(clusterings)
}

/// When instants of version 6 completed: when their files were written, but writes in their order.
fn completion_times(
    instants: &[(Instant, ListedFile)],
    is_utc: bool,
) -> Result<BTreeMap<(InstantTime, Action), InstantTime>> {
    let writes = instants.iter().map(|(instant, _)| instant);
    let writes = writes.filter(|instant| instant.action.is_write());
    let mut writes: Vec<&InstantTime> = writes.map(|instant| &instant.time).collect();
    writes.sort_unstable();
    let mut completions = BTreeMap::new();
    let completed = instants
        .iter()
        .filter(|(instant, _)| instant.state == State::Completed);
    for (instant, file) in completed {
        let written = instant_time_at(file.modified, is_utc)?;
        let earliest = shifted(&instant.time, 1)?;
        let mut completion = written.max(earliest);
        if instant.action.is_write() {
            let position = writes.partition_point(|time| **time <= instant.time);
            if let Some(next) = writes.get(position)
                && **next <= completion
            {
                // Two writes within two milliseconds leave no time between them.
                completion = shifted(next, -1)?.max(instant.time.clone());
            }
        }
        completions.insert((instant.time.clone(), instant.action), completion);
    }
    Ok(completions)
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::*;

    fn file(name: &str, second: u32) -> (Instant, ListedFile) {
        let file = ListedFile {
            name: name.to_owned(),
            size_bytes: 1,
            modified: Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, second).unwrap(),
        };
        (Instant::parse_file_name(name).unwrap(), file)
    }

    #[test]
    fn a_write_completed_before_the_next_one_began() {
        let instants = [
            file("20260101000001000.commit", 2),
            file("20260101000005000.commit", 50),
            file("20260101000008000.commit", 1),
            file("20260101000005500.clean", 40),
        ];
        let completions = completion_times(&instants, true).unwrap();
        let found: Vec<&str> = completions.values().map(InstantTime::as_str).collect();
        let expected = [
            "20260101000002000",
            "20260101000007999",
            "20260101000040000",
            "20260101000008001",
        ];
        assert_eq!(found, expected);
    }
}
