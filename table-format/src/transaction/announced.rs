//! Writes that are announced, and nothing more: their requested file is there, their inflight file is not.
//!
//! Hudi's writers choose their time first and look at the table later. One that looks after a write which began later and is
//! already completed, builds on that write's files, sees no conflict, and publishes under the earlier time: readers then take
//! the later write's slice for the newest, and its rows are gone. A writer says that it has looked with the inflight file, so
//! whoever is as quick as ours begins only when no such write is pending.
//! Java: SparkRDDWriteClient#startCommit, BaseHoodieWriteClient#preWrite, TransactionUtils#getLastCompletedTxnInstantAndMetadata.

use crate::config::TableConfig;
use crate::env::Env;
use crate::error::Result;
use crate::storage::Storage;
use crate::timeline::{Action, ActiveTimeline, Instant, State};
use crate::transaction::heartbeat::{FailedWrites, Heartbeats};
use crate::transaction::rollback::is_clustering;

/// The first write on the timeline that is only announced and whose writer is alive.
///
/// # Errors
/// What the store says.
pub(crate) async fn announced(
    storage: &Storage,
    env: &Env,
    config: &TableConfig,
    timeline: &ActiveTimeline,
    failed_writes: &FailedWrites,
) -> Result<Option<Instant>> {
    let is_announced = |instant: &&Instant| {
        instant.state == State::Requested
            && matches!(
                instant.action,
                Action::Commit | Action::DeltaCommit | Action::ReplaceCommit
            )
    };
    let mut candidates = timeline.pending().filter(is_announced).peekable();
    if candidates.peek().is_none() {
        return Ok(None);
    }
    let heartbeats = Heartbeats::load(storage).await?;
    for instant in candidates {
        let is_alive = heartbeats.is_alive(&instant.time, env.clock.now(), failed_writes);
        if is_alive && !is_clustering(config, timeline, instant).await? {
            return Ok(Some(instant.clone()));
        }
    }
    Ok(None)
}
