//! Data files that no instant knows: debris of failed writes. Once archival has passed their time they would count as
//! committed (hazard 15).

use std::collections::BTreeMap;

use crate::error::Result;
use crate::file_group::{Horizon, Visibility, join_path};
use crate::timeline::metadata::RollbackMetadata;
use crate::timeline::{Action, ActiveTimeline, InstantTime};

use super::finding::{Check, Problem, Repair};
use super::partitions::{DataFolders, instant_of};

/// Files whose instant is neither completed, nor pending, nor older than the timeline.
pub(super) async fn check(
    timeline: &ActiveTimeline,
    folders: &DataFolders,
) -> Result<Vec<Problem>> {
    let visibility = Visibility::new(timeline, Horizon::Latest);
    let mut orphans: BTreeMap<InstantTime, Vec<String>> = BTreeMap::new();
    for (partition, folder) in folders.iter() {
        for file in &folder.files {
            let Some(time) = instant_of(&file.name) else {
                continue;
            };
            if !visibility.is_committed(&time) && !visibility.is_hidden(&time) {
                let paths = orphans.entry(time).or_default();
                paths.push(join_path(partition, &file.name));
            }
        }
    }
    if orphans.is_empty() {
        return Ok(Vec::new());
    }
    let undone_by = undone_instants(timeline).await?;
    let mut problems = Vec::new();
    for (time, paths) in orphans {
        let why = match undone_by.get(&time) {
            Some(rollback) => format!("its instant {time} was rolled back by {rollback}"),
            None => format!("there is no instant {time}"),
        };
        problems.extend(paths.into_iter().map(|path| {
            Problem::repairable(
                Check::Orphan,
                path.clone(),
                why.clone(),
                "deletes it",
                Repair::Delete(vec![path]),
            )
        }));
    }
    Ok(problems)
}

/// The instants that completed rollbacks undid. Rollbacks that cannot be read are findings of their own.
async fn undone_instants(timeline: &ActiveTimeline) -> Result<BTreeMap<InstantTime, InstantTime>> {
    let mut undone = BTreeMap::new();
    let rollbacks = timeline
        .completed()
        .filter(|instant| instant.action == Action::Rollback);
    for rollback in rollbacks {
        let metadata: RollbackMetadata = match timeline.read_payload(rollback).await {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == crate::ErrorKind::Corrupt => continue,
            Err(error) => return Err(error),
        };
        for time in metadata.commits_rollback {
            undone.insert(time.parse()?, rollback.time.clone());
        }
    }
    Ok(undone)
}
