//! Undoes what a failed write left: its files first, then its instant.
//!
//! The plan is written before anything is deleted, so that a crash at any point is finished by whoever comes next. Files
//! are found by their markers *and* by listing: a marker may be lost with the store's reply, and debris that survives its
//! instant counts as committed after archival. Spec: Hudi 1.2.0, "Rollback of a failed write".

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::config::TableConfig;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::{BaseFile, LogFile};
use crate::storage::Storage;
use crate::timeline::metadata::{
    InstantInfo, Payload, RollbackMetadata, RollbackPartitionMetadata, RollbackPlan,
    RollbackRequest,
};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime, State};
use crate::transaction::action::ServiceAction;
use crate::writer::MARKER_ROOT;

/// Rolls back every pending write of the table, and finishes rollbacks that were begun. Compactions, clusterings and the
/// like stay: they are plans, which whoever executes them may take up again.
///
/// Returns whether anything was done.
pub(crate) async fn roll_back_pending(
    storage: &Storage,
    env: &Env,
    config: &TableConfig,
    timeline: &ActiveTimeline,
) -> Result<bool> {
    let mut is_changed = false;
    let mut planned: BTreeSet<InstantTime> = BTreeSet::new();
    for rollback in timeline
        .pending()
        .filter(|instant| instant.action == Action::Rollback)
    {
        let action = ServiceAction::resume(storage, env, config, rollback);
        let target = finish_rollback(storage, config, action).await?;
        planned.insert(target);
        is_changed = true;
    }
    let failed = timeline.pending().rev().filter(|instant| {
        matches!(
            instant.action,
            Action::Commit | Action::DeltaCommit | Action::ReplaceCommit
        ) && !planned.contains(&instant.time)
    });
    for instant in failed {
        roll_back(storage, env, config, instant).await?;
        is_changed = true;
    }
    Ok(is_changed)
}

/// Rolls back one pending write.
pub(crate) async fn roll_back(
    storage: &Storage,
    env: &Env,
    config: &TableConfig,
    failed: &Instant,
) -> Result<()> {
    let files = files_of(storage, &failed.time).await?;
    let plan = RollbackPlan {
        instant_to_rollback: Some(InstantInfo {
            commit_time: failed.time.to_string(),
            action: failed.action.to_string(),
        }),
        rollback_requests: files
            .iter()
            .map(|file| file.request(storage, &failed.time))
            .collect(),
        ..RollbackPlan::default()
    };
    let rollback =
        ServiceAction::request(storage, env, config, Action::Rollback, plan.encode_avro()?).await?;
    finish_rollback(storage, config, rollback).await?;
    tracing::info!(table = config.name(), instant = %failed.time, files = files.len(), "rolled back");
    Ok(())
}

/// Executes the plan of a pending rollback; returns the instant that it undoes.
async fn finish_rollback(
    storage: &Storage,
    config: &TableConfig,
    mut rollback: ServiceAction,
) -> Result<InstantTime> {
    let timeline = ActiveTimeline::load(storage, config).await?;
    let plan: RollbackPlan = timeline.read_plan(rollback.instant()).await?;
    let plan_path = timeline.path_of(&Instant {
        state: State::Requested,
        ..rollback.instant().clone()
    });
    let undone = plan
        .instant_to_rollback
        .ok_or_else(|| Error::corrupt(&plan_path, "the rollback plan names no instant"))?;
    let target: InstantTime = undone.commit_time.parse()?;
    let action: Action = undone.action.parse()?;
    if timeline
        .completed_writes()
        .any(|instant| instant.time == target)
    {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "{plan_path}: instant {target} has been completed meanwhile; it cannot be rolled back"
            ),
        ));
    }
    rollback.start(Bytes::new()).await?;
    let files = files_of(storage, &target).await?;
    for file in &files {
        storage.delete(&file.path).await?;
        storage.delete_staging(&file.path).await?;
    }
    for state in [State::Inflight, State::Requested] {
        let instant = Instant {
            time: target.clone(),
            action,
            state,
            completion: None,
        };
        storage.delete(&timeline.path_of(&instant)).await?;
    }
    let metadata = RollbackMetadata {
        start_rollback_time: rollback.instant().time.to_string(),
        total_files_deleted: i32::try_from(files.len()).unwrap_or(i32::MAX),
        commits_rollback: vec![target.to_string()],
        partition_metadata: partition_metadata(&files),
        instants_rollback: vec![undone],
        ..RollbackMetadata::default()
    };
    rollback.complete(metadata.encode_avro()?).await?;
    delete_markers(storage, &target).await?;
    Ok(target)
}

/// Removes the marker folder of an instant.
pub(crate) async fn delete_markers(storage: &Storage, instant: &InstantTime) -> Result<()> {
    let folder = format!("{MARKER_ROOT}/{instant}");
    for (path, _) in storage.list_recursive(&folder).await? {
        storage.delete(&path).await?;
    }
    Ok(())
}

/// A data file that is to go.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Debris {
    path: String,
}

impl Debris {
    fn partition_path(&self) -> &str {
        self.path
            .rsplit_once('/')
            .map_or("", |(partition, _)| partition)
    }

    fn name(&self) -> &str {
        self.path
            .rsplit_once('/')
            .map_or(&self.path, |(_, name)| name)
    }

    /// Java: MarkerBasedRollbackStrategy: one request a file, its path absolute.
    fn request(&self, storage: &Storage, failed: &InstantTime) -> RollbackRequest {
        let file_id = LogFile::parse(self.name(), 0)
            .map(|file| file.file_id)
            .or_else(|| BaseFile::parse(self.name(), 0).map(|file| file.file_id));
        RollbackRequest {
            partition_path: self.partition_path().to_owned(),
            file_id: Some(file_id.unwrap_or_default()),
            latest_base_instant: Some(failed.to_string()),
            files_to_be_deleted: vec![storage.location_of(&self.path)],
            log_blocks_to_be_deleted: BTreeMap::new(),
        }
    }
}

/// The data files of an instant, by markers and by listing.
async fn files_of(storage: &Storage, instant: &InstantTime) -> Result<BTreeSet<Debris>> {
    let folder = format!("{MARKER_ROOT}/{instant}/");
    let mut files = BTreeSet::new();
    for (path, file) in storage.list_recursive("").await? {
        if let Some(marker) = path.strip_prefix(&folder) {
            if file.name == "MARKERS.type" || !marker.contains(".marker.") {
                files.extend(markers_in(storage, &path).await?);
            } else if let Some((path, _)) = marker.rsplit_once(".marker.") {
                files.insert(Debris {
                    path: path.to_owned(),
                });
            }
            continue;
        }
        if path.starts_with(".hoodie/") {
            continue;
        }
        let written_by = BaseFile::parse(&file.name, 0)
            .map(|file| file.instant)
            .or_else(|| LogFile::parse(&file.name, 0).map(|file| file.instant));
        if written_by.as_ref() == Some(instant) {
            files.insert(Debris { path });
        }
    }
    Ok(files)
}

/// Markers of a timeline server: `MARKERS0`, `MARKERS1`, … with one marker a line.
async fn markers_in(storage: &Storage, path: &str) -> Result<Vec<Debris>> {
    if path.ends_with("MARKERS.type") {
        return Ok(Vec::new());
    }
    let bytes = storage.read(path).await?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        Error::corrupt(path, "a list of markers is not UTF-8").with_source(error)
    })?;
    let markers = text.lines().filter_map(|line| line.rsplit_once(".marker."));
    Ok(markers
        .map(|(path, _)| Debris {
            path: path.to_owned(),
        })
        .collect())
}

fn partition_metadata(files: &BTreeSet<Debris>) -> BTreeMap<String, RollbackPartitionMetadata> {
    let mut partitions: BTreeMap<String, RollbackPartitionMetadata> = BTreeMap::new();
    for file in files {
        let partition = partitions
            .entry(file.partition_path().to_owned())
            .or_default();
        partition.partition_path = file.partition_path().to_owned();
        partition.success_delete_files.push(file.path.clone());
    }
    partitions
}
