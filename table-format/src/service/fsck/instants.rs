//! Files of the timeline: empty, unreadable, or without their plan.
//!
//! A plan that cannot be read keeps every engine from going on, and nothing has come of it, so it can go; except where log
//! files already build on it (a compaction of version 6), and for a restore, of which half may be done. Of what a service
//! did only the record is lost: without it the next run looks at more than it needs.

use crate::config::{TableConfig, TableVersion};
use crate::error::{ErrorKind, Result};
use crate::storage::{ListedFile, Storage};
use crate::timeline::metadata::{
    CleanMetadata, CommitMetadata, CompactionPlan, Payload, RequestedReplaceMetadata,
    RestoreMetadata, RestorePlan, RollbackMetadata, RollbackPlan, SavepointMetadata,
};
use crate::timeline::{Action, ActiveTimeline, Instant, State};

use super::finding::{Check, Problem, Repair};

/// Reads every completed file, and the plans of what is pending.
pub(super) async fn check(storage: &Storage, config: &TableConfig) -> Result<Vec<Problem>> {
    let timeline = ActiveTimeline::load(storage, config).await?;
    let listing = storage.list(&config.timeline_dir()).await?;
    let mut problems = Vec::new();
    for instant in timeline.instants() {
        let problem = match instant.state {
            State::Completed => check_completed(config, &timeline, &listing.files, instant).await?,
            State::Requested | State::Inflight => {
                check_plan(config, &timeline, &listing.files, instant).await?
            }
        };
        problems.extend(problem);
    }
    Ok(problems)
}

async fn check_completed(
    config: &TableConfig,
    timeline: &ActiveTimeline,
    files: &[ListedFile],
    instant: &Instant,
) -> Result<Option<Problem>> {
    let path = timeline.path_of(instant);
    let report = |what: String| Some(Problem::reported(Check::Instant, path.clone(), what));
    if config.keeps_completion_times() && instant.completion.is_none() {
        return Ok(report(
            "its name lacks the completion time: Hudi takes it for one of version 6".to_owned(),
        ));
    }
    let Some(what) = broken(timeline, instant, |bytes| match instant.action {
        Action::Clean => CleanMetadata::decode(bytes).map(drop),
        Action::Rollback => RollbackMetadata::decode(bytes).map(drop),
        Action::Restore => RestoreMetadata::decode(bytes).map(drop),
        Action::Savepoint => SavepointMetadata::decode(bytes).map(drop),
        Action::Indexing => Ok(()),
        Action::Commit
        | Action::DeltaCommit
        | Action::ReplaceCommit
        | Action::Compaction
        | Action::LogCompaction
        | Action::Clustering => CommitMetadata::decode(bytes).map(drop),
    })
    .await?
    else {
        return Ok(None);
    };
    Ok(match instant.action {
        Action::Clean | Action::Rollback => Some(Problem::repairable(
            Check::Instant,
            path,
            what,
            format!("deletes the record of the {}", instant.action),
            Repair::Delete(files_of(config, files, instant)),
        )),
        Action::Savepoint => report(format!("{what}: it protects no files; savepoint anew")),
        _ if instant.action.is_write() => report(format!(
            "{what}: what this commit replaced, its schema and its position are lost; \
             restore to an earlier savepoint, or write its rows again"
        )),
        _ => report(what),
    })
}

/// The plan of something pending. Plain writes have none.
async fn check_plan(
    config: &TableConfig,
    timeline: &ActiveTimeline,
    files: &[ListedFile],
    instant: &Instant,
) -> Result<Option<Problem>> {
    let requested = Instant {
        state: State::Requested,
        ..instant.clone()
    };
    let what = broken(timeline, &requested, |bytes| match instant.action {
        Action::Compaction | Action::LogCompaction => CompactionPlan::decode(bytes).map(drop),
        Action::Clustering | Action::ReplaceCommit => {
            RequestedReplaceMetadata::decode(bytes).map(drop)
        }
        Action::Rollback => RollbackPlan::decode(bytes).map(drop),
        Action::Restore => RestorePlan::decode(bytes).map(drop),
        Action::Clean
        | Action::Commit
        | Action::DeltaCommit
        | Action::Savepoint
        | Action::Indexing => Ok(()),
    });
    let what = match instant.action {
        Action::Commit | Action::DeltaCommit | Action::Savepoint | Action::Indexing => None,
        // An overwrite may have an empty plan, or none.
        Action::ReplaceCommit => what.await?.filter(|what| what.starts_with("it cannot")),
        _ => what.await?,
    };
    let Some(what) = what else {
        return Ok(None);
    };
    let path = timeline.path_of(&requested);
    let is_needed = match instant.action {
        Action::Restore => Some("half of it may be done; delete its files and restore again"),
        Action::Compaction if config.version() == TableVersion::Six => {
            Some("log files may build on it; upgrade or restore the table")
        }
        Action::ReplaceCommit => Some("roll it back"),
        _ => None,
    };
    Ok(Some(match is_needed {
        Some(advice) => Problem::reported(Check::Instant, path, format!("{what}; {advice}")),
        None => Problem::repairable(
            Check::Instant,
            path,
            what,
            format!("drops the pending {}", instant.action),
            Repair::Delete(files_of(config, files, instant)),
        ),
    }))
}

/// What is wrong with the file of an instant, if anything.
async fn broken(
    timeline: &ActiveTimeline,
    instant: &Instant,
    decode: impl Fn(&[u8]) -> Result<()>,
) -> Result<Option<String>> {
    let bytes = match timeline.read(instant).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Some("the plan is missing".to_owned()));
        }
        Err(error) => return Err(error),
    };
    if bytes.is_empty() {
        return Ok(Some("it is empty".to_owned()));
    }
    Ok(decode(&bytes)
        .err()
        .map(|error| format!("it cannot be read: {error}")))
}

/// All files of an instant, those of lower states first: what is left after a crash is not pending again.
fn files_of(config: &TableConfig, files: &[ListedFile], instant: &Instant) -> Vec<String> {
    let mut own: Vec<Instant> = files
        .iter()
        .filter_map(|file| Instant::parse_file_name(&file.name))
        .filter(|file| {
            file.time == instant.time && file.action.comparable() == instant.action.comparable()
        })
        .collect();
    own.sort_by_key(|file| file.state);
    if instant.state != State::Completed {
        // Without its plan an inflight instant would be broken for good.
        own.reverse();
    }
    own.iter()
        .map(|file| crate::file_group::join_path(&config.timeline_dir(), &file.file_name()))
        .collect()
}
