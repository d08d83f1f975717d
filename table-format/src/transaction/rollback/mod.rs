//! Undoes what a failed write left: its files first, then its instant.
//!
//! The plan is written before anything is deleted, so that a crash at any point is finished by whoever comes next: a
//! pending plan, whoever made it, is executed as it stands, and then whatever the write's markers name beyond it. How the
//! files are found, and why that is all of them, says [`debris`]. A completed write is first taken back to inflight
//! ([`unpublish`]). Spec: Hudi 1.2.0, "Rollback of a failed write".

mod debris;
mod execute;
mod marker;
mod restore;
mod unpublish;

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::config::{TableConfig, TableVersion};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::Storage;
use crate::timeline::metadata::{
    InstantInfo, Payload, RequestedReplaceMetadata, RollbackMetadata, RollbackPlan,
};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime, State};
use crate::transaction::action::ServiceAction;
use crate::transaction::heartbeat::{FailedWrites, FailedWritesPolicy, Heartbeats, heartbeat_path};
use crate::transaction::state::disable_metadata_table;

pub(crate) use debris::{Debris, Purpose, list_table};
pub(crate) use marker::delete_markers;
pub(crate) use restore::finish_restore;
pub(crate) use unpublish::unpublish;

/// Rolls back the failed writes of the table, and finishes restores and rollbacks that were begun. Which pending writes
/// have failed, the policy says: all of them (EAGER), those whose heartbeat has expired (LAZY), none (NEVER). Compactions,
/// clusterings and the like stay: they are plans, which whoever executes them may take up again.
///
/// Returns whether anything was done.
pub(crate) async fn roll_back_pending(
    storage: &Storage,
    env: &Env,
    config: &TableConfig,
    timeline: &ActiveTimeline,
    failed_writes: &FailedWrites,
) -> Result<bool> {
    let began = finish_pending(storage, env, config, timeline).await?;
    let mut is_changed = !began.is_empty();
    let is_failed = |instant: &Instant| {
        let is_write = matches!(
            instant.action,
            Action::Commit | Action::DeltaCommit | Action::ReplaceCommit
        );
        is_write && !began.contains(&instant.time)
    };
    let failed: Vec<&Instant> = timeline
        .pending()
        .rev()
        .filter(|it| is_failed(it))
        .collect();
    if failed.is_empty() || failed_writes.policy == FailedWritesPolicy::Never {
        return Ok(is_changed);
    }
    let heartbeats = match failed_writes.policy {
        FailedWritesPolicy::Lazy => Some(Heartbeats::load(storage).await?),
        FailedWritesPolicy::Eager | FailedWritesPolicy::Never => None,
    };
    // A writer that has completed since has ended its heartbeat, too, and is not dead.
    let now = ActiveTimeline::load(storage, config).await?;
    for instant in failed {
        let is_pending = now
            .find(&instant.time, instant.action)
            .is_some_and(|found| found.state != State::Completed);
        let is_alive = heartbeats
            .as_ref()
            .is_some_and(|beats| beats.is_alive(&instant.time, env.clock.now(), failed_writes));
        if !is_pending || is_alive || is_clustering(config, timeline, instant).await? {
            continue;
        }
        roll_back(storage, env, config, instant).await?;
        is_changed = true;
    }
    Ok(is_changed)
}

/// Finishes pending restores and rollbacks; returns the instants that they undo.
pub(crate) async fn finish_pending(
    storage: &Storage,
    env: &Env,
    config: &TableConfig,
    timeline: &ActiveTimeline,
) -> Result<BTreeSet<InstantTime>> {
    let mut undone = BTreeSet::new();
    for pending in timeline.pending() {
        let action = || ServiceAction::resume(storage, env, config, pending);
        match pending.action {
            Action::Restore => {
                let metadata = finish_restore(storage, env, config, action()).await?;
                for time in metadata.instants_to_rollback {
                    undone.insert(time.parse()?);
                }
            }
            Action::Rollback => {
                let done = finish_rollback(storage, env, config, action()).await?;
                undone.extend(done.map(|done| done.target));
            }
            Action::Commit
            | Action::DeltaCommit
            | Action::Compaction
            | Action::LogCompaction
            | Action::ReplaceCommit
            | Action::Clustering
            | Action::Clean
            | Action::Savepoint
            | Action::Indexing => {}
        }
    }
    Ok(undone)
}

/// A rollback that is done.
#[derive(Debug)]
pub(crate) struct RolledBack {
    /// The instant that was undone.
    pub(crate) target: InstantTime,
    /// The instant of the rollback itself.
    pub(crate) rollback: Instant,
    /// What happened to which files.
    pub(crate) metadata: RollbackMetadata,
}

/// Rolls back one pending instant. Of a compaction or clustering the plan stays, and may be executed again.
pub(crate) async fn roll_back(
    storage: &Storage,
    env: &Env,
    config: &TableConfig,
    failed: &Instant,
) -> Result<RolledBack> {
    // A metadata table would go on listing files that are about to go.
    let config = &disable_metadata_table(storage, env, config).await?;
    let timeline = ActiveTimeline::load(storage, config).await?;
    let debris = Debris::find(storage, config, &timeline, failed, Purpose::Rollback).await?;
    let plan = RollbackPlan {
        instant_to_rollback: Some(info_of(failed)),
        rollback_requests: debris.requests(storage, &failed.time),
        ..RollbackPlan::default()
    };
    let plan = plan.encode_avro()?;
    let rollback = ServiceAction::request(storage, env, config, Action::Rollback, plan).await?;
    let done = finish_rollback(storage, env, config, rollback).await?;
    let done = done.ok_or_else(|| {
        let message = format!("instant {} has been completed meanwhile", failed.time);
        Error::new(ErrorKind::Conflict, message)
    })?;
    let files = done.metadata.total_files_deleted;
    tracing::info!(table = config.name(), instant = %failed.time, files, "rolled back");
    Ok(done)
}

/// Executes the plan of a pending rollback. `None` when the writer that was taken for dead has completed its instant before anything
/// was undone: the plan is withdrawn.
async fn finish_rollback(
    storage: &Storage,
    env: &Env,
    config: &TableConfig,
    mut rollback: ServiceAction,
) -> Result<Option<RolledBack>> {
    let began = env.clock.now();
    let timeline = ActiveTimeline::load(storage, config).await?;
    let time = rollback.instant().time.clone();
    let plan: RollbackPlan = timeline.read_plan(rollback.instant()).await?;
    let plan_path = timeline.path_of(&Instant {
        state: State::Requested,
        ..rollback.instant().clone()
    });
    let undone = plan
        .instant_to_rollback
        .ok_or_else(|| Error::corrupt(&plan_path, "the rollback plan names no instant"))?;
    let target = Instant {
        time: undone.commit_time.parse()?,
        action: undone.action.parse()?,
        state: State::Inflight,
        completion: None,
    };
    if timeline
        .completed_writes()
        .any(|instant| instant.time == target.time)
    {
        if rollback.instant().state == State::Requested {
            tracing::warn!(table = config.name(), instant = %target.time, "completed after all; it is not rolled back");
            storage.delete(&plan_path).await?;
            return Ok(None);
        }
        return Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "{plan_path}: instant {} was completed while it was being rolled back: files of it may be gone; see `lakebed table fsck`",
                target.time
            ),
        ));
    }
    rollback.start(Bytes::new()).await?;
    let requests = &plan.rollback_requests;
    let mut done = execute::execute(storage, config, &time, &target.time, requests).await?;
    debris::delete_later_files(storage, config, &target, &mut done).await?;
    let keeps_plan = is_clustering(config, &timeline, &target).await?
        || matches!(target.action, Action::Compaction | Action::LogCompaction);
    delete_pending_files(storage, &timeline, &target, keeps_plan).await?;
    let metadata = RollbackMetadata {
        start_rollback_time: time.to_string(),
        time_taken_in_millis: (env.clock.now() - began).num_milliseconds(),
        total_files_deleted: done.total_files(),
        commits_rollback: vec![target.time.to_string()],
        partition_metadata: done.partitions,
        instants_rollback: vec![undone],
        ..RollbackMetadata::default()
    };
    // Before the rollback completes: afterwards nobody would come back for them.
    delete_traces(storage, &target.time).await?;
    let rollback = rollback.complete(metadata.encode_avro()?).await?;
    if config.version() == TableVersion::Six {
        delete_markers(storage, &time).await?;
    }
    Ok(Some(RolledBack {
        target: target.time,
        rollback,
        metadata,
    }))
}

/// Removes the files of a pending instant from the timeline, the inflight file first.
async fn delete_pending_files(
    storage: &Storage,
    timeline: &ActiveTimeline,
    target: &Instant,
    keeps_plan: bool,
) -> Result<()> {
    let states = [State::Inflight, State::Requested];
    let gone = if keeps_plan {
        &states[..1]
    } else {
        &states[..]
    };
    for state in gone {
        let instant = Instant {
            state: *state,
            completion: None,
            ..target.clone()
        };
        storage.delete(&timeline.path_of(&instant)).await?;
    }
    Ok(())
}

/// Removes markers and heartbeat of an instant that is gone.
async fn delete_traces(storage: &Storage, instant: &InstantTime) -> Result<()> {
    delete_markers(storage, instant).await?;
    storage.delete(&heartbeat_path(instant)).await
}

/// Whether a pending instant is a clustering: since version 8 by its action, before by its plan.
pub(crate) async fn is_clustering(
    config: &TableConfig,
    timeline: &ActiveTimeline,
    instant: &Instant,
) -> Result<bool> {
    if instant.action == Action::Clustering {
        return Ok(true);
    }
    if instant.action != Action::ReplaceCommit
        || config.version() != TableVersion::Six
        || timeline.find(&instant.time, instant.action).is_none()
    {
        return Ok(false);
    }
    let planned: RequestedReplaceMetadata = timeline.read_plan(instant).await?;
    Ok(planned.operation_type.as_deref() == Some("CLUSTER"))
}

/// An instant as payloads name it.
pub(crate) fn info_of(instant: &Instant) -> InstantInfo {
    InstantInfo {
        commit_time: instant.time.to_string(),
        action: instant.action.to_string(),
    }
}
