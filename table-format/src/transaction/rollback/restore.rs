//! Executes the plan of a restore: undoes each instant that it names, in its order.
//!
//! Every step may be done twice, so a killed restore is finished by whoever comes next, from its plan. An instant is taken
//! back to inflight with markers of its files, the files go, the instant goes: cut short in between, it is a failed write.
//! Each instant takes its own files with it, and no others: a log of a commit that stays falls back to the slice below
//! when the compaction above it is undone. (Hudi deletes whatever is sliced on or after an undone compaction, which may be
//! logs of the savepointed commit itself.) Java: BaseRestoreActionExecutor.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::config::{TableConfig, TableVersion};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::timeline::metadata::{
    InstantInfo, Payload, RestoreMetadata, RestorePlan, RollbackMetadata,
};
use crate::timeline::{Action, ActiveTimeline, InstantTime, State};
use crate::transaction::action::ServiceAction;
use crate::transaction::state::disable_metadata_table;

use super::debris::{Debris, Purpose};
use super::{delete_markers, delete_pending_files, delete_traces, execute, unpublish};

/// Executes the plan of a pending restore and completes it.
pub(crate) async fn finish_restore(
    storage: &Storage,
    env: &Env,
    config: &TableConfig,
    mut restore: ServiceAction,
) -> Result<RestoreMetadata> {
    let began = env.clock.now();
    let config = &disable_metadata_table(storage, env, config).await?;
    let timeline = ActiveTimeline::load(storage, config).await?;
    let time = restore.instant().time.clone();
    let plan: RestorePlan = timeline.read_plan(restore.instant()).await?;
    let savepoint: InstantTime = plan
        .savepoint_to_restore_timestamp
        .as_deref()
        .ok_or_else(|| {
            let path = timeline.path_of(restore.instant());
            Error::corrupt(path, "the restore plan names no savepoint")
        })?
        .parse()?;
    restore.start(Bytes::new()).await?;
    let mut undone = BTreeMap::new();
    for info in &plan.instants_to_rollback {
        let metadata = undo(storage, env, config, &timeline, &time, info).await?;
        undone.insert(info.commit_time.clone(), vec![Some(metadata)]);
    }
    delete_later_rollbacks(storage, &timeline, &savepoint).await?;
    let metadata = RestoreMetadata {
        start_restore_time: time.to_string(),
        time_taken_in_millis: (env.clock.now() - began).num_milliseconds(),
        instants_to_rollback: plan
            .instants_to_rollback
            .iter()
            .map(|info| info.commit_time.clone())
            .collect(),
        hoodie_restore_metadata: undone,
        restore_instant_info: plan.instants_to_rollback,
        ..RestoreMetadata::default()
    };
    restore.complete(metadata.encode_avro()?).await?;
    if config.version() == TableVersion::Six {
        delete_markers(storage, &time).await?;
    }
    tracing::info!(table = config.name(), %savepoint, instants = metadata.instants_to_rollback.len(), "restored");
    Ok(metadata)
}

/// Undoes one instant, in whatever state it is.
async fn undo(
    storage: &Storage,
    env: &Env,
    config: &TableConfig,
    timeline: &ActiveTimeline,
    restore: &InstantTime,
    info: &InstantInfo,
) -> Result<RollbackMetadata> {
    let began = env.clock.now();
    let time: InstantTime = info.commit_time.parse()?;
    let action: Action = info.action.parse()?;
    let mut metadata = RollbackMetadata {
        start_rollback_time: restore.to_string(),
        commits_rollback: vec![info.commit_time.clone()],
        instants_rollback: vec![info.clone()],
        ..RollbackMetadata::default()
    };
    if let Some(found) = timeline.find(&time, action) {
        let pending = match found.state {
            State::Completed => unpublish(storage, config, timeline, found).await?,
            State::Requested | State::Inflight => found.clone(),
        };
        let debris = Debris::find(storage, config, timeline, &pending, Purpose::Restore).await?;
        let requests = debris.requests(storage, &time);
        let done = execute::execute(storage, config, restore, &time, &requests).await?;
        delete_pending_files(storage, timeline, &pending, false).await?;
        metadata.total_files_deleted = done.total_files();
        metadata.partition_metadata = done.partitions;
    }
    // Of an instant that is gone an earlier attempt may have left these.
    delete_traces(storage, &time).await?;
    metadata.time_taken_in_millis = (env.clock.now() - began).num_milliseconds();
    Ok(metadata)
}

/// Rollbacks begun after the savepoint speak of instants that are no more. Java: BaseRestoreActionExecutor#finishRestore.
/// Their pending files go first: a rollback must not become pending again.
async fn delete_later_rollbacks(
    storage: &Storage,
    timeline: &ActiveTimeline,
    savepoint: &InstantTime,
) -> Result<()> {
    let later = timeline
        .instants()
        .iter()
        .filter(|instant| instant.action == Action::Rollback && instant.time > *savepoint);
    for rollback in later {
        delete_pending_files(storage, timeline, rollback, false).await?;
        if rollback.state == State::Completed {
            storage.delete(&timeline.path_of(rollback)).await?;
        }
    }
    Ok(())
}
