//! Takes a completed write back to inflight: from then on it is a failed write like any other.
//!
//! Markers of its files come first, then the requested and inflight files where they are missing, and last the completed
//! file goes. Up to that last step the commit stands; after it whoever comes next, of whatever engine, rolls the write back
//! by its markers. Java: ActiveTimelineV2#revertToInflight, which leaves no markers.

use bytes::Bytes;

use crate::config::{TableConfig, TableVersion};
use crate::error::{ErrorKind, Result};
use crate::file_group::LogFile;
use crate::storage::Storage;
use crate::timeline::metadata::{CommitMetadata, NO_PREVIOUS_COMMIT, WriteStat};
use crate::timeline::{Action, ActiveTimeline, Instant, State};

use super::marker::Marker;

/// Un-publishes `completed` and returns it as it stands then.
pub(crate) async fn unpublish(
    storage: &Storage,
    config: &TableConfig,
    timeline: &ActiveTimeline,
    completed: &Instant,
) -> Result<Instant> {
    let metadata = timeline.read_metadata(completed).await?;
    for marker in markers_of(&metadata, config.version()) {
        marker.write(storage, &completed.time).await?;
    }
    let action = pending_action(storage, timeline, completed).await?;
    let pending = |state| Instant {
        state,
        action,
        completion: None,
        ..completed.clone()
    };
    for state in [State::Requested, State::Inflight] {
        let path = timeline.path_of(&pending(state));
        match storage.create(&path, Bytes::new()).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    storage.delete(&timeline.path_of(completed)).await?;
    Ok(pending(State::Inflight))
}

/// Under which action the instant was pending: a compaction completes as a commit, and so on.
async fn pending_action(
    storage: &Storage,
    timeline: &ActiveTimeline,
    completed: &Instant,
) -> Result<Action> {
    let planned = match completed.action {
        Action::Commit => Action::Compaction,
        Action::DeltaCommit => Action::LogCompaction,
        Action::ReplaceCommit => Action::Clustering,
        Action::Compaction
        | Action::LogCompaction
        | Action::Clustering
        | Action::Clean
        | Action::Rollback
        | Action::Restore
        | Action::Savepoint
        | Action::Indexing => return Ok(completed.action),
    };
    let plan = Instant {
        action: planned,
        state: State::Requested,
        completion: None,
        ..completed.clone()
    };
    let is_planned = storage.exists(&timeline.path_of(&plan)).await?;
    Ok(if is_planned {
        planned
    } else {
        completed.action
    })
}

/// The markers that the write had of the files that it kept.
fn markers_of(metadata: &CommitMetadata, version: TableVersion) -> Vec<Marker> {
    let mut markers = Vec::new();
    for stat in metadata.write_stats() {
        if let Some(path) = &stat.path {
            markers.push(Marker {
                path: path.clone(),
                kind: marker_kind(stat, path, version).to_owned(),
            });
        }
        let change_data = stat.cdc_stats.iter().flatten();
        markers.extend(change_data.map(|(path, _)| Marker {
            path: path.clone(),
            kind: "CREATE".to_owned(),
        }));
    }
    markers
}

fn marker_kind(stat: &WriteStat, path: &str, version: TableVersion) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_log = LogFile::parse(name, 0).is_some();
    let is_new = stat
        .prev_commit
        .as_deref()
        .is_none_or(|previous| previous == NO_PREVIOUS_COMMIT);
    match (is_log, version) {
        (true, TableVersion::Six) => "APPEND",
        (true, TableVersion::Eight | TableVersion::Nine) => "CREATE",
        (false, _) if is_new => "CREATE",
        (false, _) => "MERGE",
    }
}
