//! Markers and heartbeats that outlived their instants.

use crate::error::Result;
use crate::storage::Storage;
use crate::timeline::{ActiveTimeline, InstantTime};
use crate::transaction::{Heartbeats, heartbeat_path};
use crate::writer::MARKER_ROOT;

use super::finding::{Check, Problem, Repair};

/// The marker folders and heartbeats of a table.
#[derive(Debug)]
pub(super) struct Leftovers {
    markers: Vec<(InstantTime, Vec<String>)>,
    heartbeats: Vec<InstantTime>,
}

impl Leftovers {
    /// Lists them.
    pub(super) async fn list(storage: &Storage) -> Result<Self> {
        let mut markers = Vec::new();
        for folder in storage.list(MARKER_ROOT).await?.dirs {
            let Ok(time) = folder.parse() else {
                continue;
            };
            let files = storage
                .list_recursive(&format!("{MARKER_ROOT}/{folder}"))
                .await?;
            // An empty folder (of a local disk) says nothing.
            if !files.is_empty() {
                markers.push((time, files.into_iter().map(|(path, _)| path).collect()));
            }
        }
        let heartbeats = Heartbeats::load(storage).await?;
        let mut heartbeats: Vec<InstantTime> = heartbeats.instants().cloned().collect();
        heartbeats.sort_unstable();
        Ok(Self {
            markers,
            heartbeats,
        })
    }

    /// Those whose instants are not pending.
    pub(super) fn check(self, timeline: &ActiveTimeline) -> Vec<Problem> {
        let state = |time: &InstantTime| {
            if timeline.pending().any(|instant| instant.time == *time) {
                return None;
            }
            let mut completed = timeline.completed();
            Some(if completed.any(|instant| instant.time == *time) {
                "is completed"
            } else {
                "is not on the timeline"
            })
        };
        let mut problems = Vec::new();
        for (time, files) in self.markers {
            if let Some(state) = state(&time) {
                problems.push(Problem::repairable(
                    Check::Leftover,
                    format!("{MARKER_ROOT}/{time}"),
                    format!("{} marker files of an instant that {state}", files.len()),
                    "deletes them",
                    Repair::Delete(files),
                ));
            }
        }
        for time in self.heartbeats {
            if let Some(state) = state(&time) {
                problems.push(Problem::repairable(
                    Check::Leftover,
                    heartbeat_path(&time),
                    format!("the heartbeat of an instant that {state}"),
                    "deletes it",
                    Repair::Delete(vec![heartbeat_path(&time)]),
                ));
            }
        }
        problems
    }
}
