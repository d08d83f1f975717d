//! What a clean deleted, or would.

use std::collections::{BTreeMap, BTreeSet};

use crate::service::cleaning::protection::file_name;
use crate::timeline::InstantTime;
use crate::timeline::metadata::CleanerPlan;

/// What a clean deleted, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanSummary {
    /// Begin time of the clean; `None` while it is not even planned.
    pub instant: Option<InstantTime>,
    /// Name of the policy.
    pub policy: String,
    /// Queries as of this commit and later ones still work; `None` when the policy counts versions.
    pub earliest_commit_to_retain: Option<String>,
    /// Names of the files, by partition path.
    pub files: BTreeMap<String, Vec<String>>,
    /// Their length, as far as they were there.
    pub bytes: u64,
    /// Partitions that went as a whole.
    pub deleted_partitions: Vec<String>,
}

impl CleanSummary {
    pub(super) fn of_plan(plan: &CleanerPlan, instant: Option<&InstantTime>) -> Self {
        let earliest = plan.earliest_instant_to_retain.as_ref();
        let files = plan.file_paths_to_be_deleted_per_partition.iter();
        Self {
            instant: instant.cloned(),
            policy: plan.policy.clone(),
            earliest_commit_to_retain: earliest.map(|earliest| earliest.timestamp.clone()),
            files: files
                .map(|(partition, files)| {
                    let paths = files.iter().filter_map(|file| file.file_path.as_deref());
                    (
                        partition.clone(),
                        paths.map(|path| file_name(path).to_owned()).collect(),
                    )
                })
                .collect(),
            bytes: 0,
            deleted_partitions: plan.partitions_to_be_deleted.clone(),
        }
    }

    /// Number of files.
    pub fn files_count(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }

    /// Drops the files that `other` names too.
    pub(super) fn without(&mut self, other: &Self) {
        for (partition, names) in &mut self.files {
            if let Some(others) = other.files.get(partition) {
                let others: BTreeSet<&String> = others.iter().collect();
                names.retain(|name| !others.contains(name));
            }
        }
        self.files.retain(|_, names| !names.is_empty());
    }
}
