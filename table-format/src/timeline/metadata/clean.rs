//! The payload of a completed clean.
//!
//! Java: HoodieCleanMetadata.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::payload::Payload;

/// What a clean deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieCleanMetadata", rename_all = "camelCase")]
pub struct CleanMetadata {
    /// Begin time of the clean.
    pub start_clean_time: String,
    /// How long it took.
    pub time_taken_in_millis: i64,
    /// Number of files that are gone.
    pub total_files_deleted: i32,
    /// The oldest commit whose data is still there; may be empty.
    pub earliest_commit_to_retain: String,
    /// The last commit that was complete when the clean was planned.
    #[serde(default)]
    pub last_completed_commit_timestamp: String,
    /// What happened, by partition path.
    pub partition_metadata: BTreeMap<String, CleanPartitionMetadata>,
    /// 2: paths are file names.
    #[serde(default)]
    pub version: Option<i32>,
    /// The same for files from before the table was made.
    #[serde(default)]
    pub bootstrap_partition_metadata: Option<BTreeMap<String, CleanPartitionMetadata>>,
    /// Texts of the planner.
    #[serde(default)]
    pub extra_metadata: Option<BTreeMap<String, String>>,
}

impl Default for CleanMetadata {
    fn default() -> Self {
        Self {
            start_clean_time: String::new(),
            time_taken_in_millis: 0,
            total_files_deleted: 0,
            earliest_commit_to_retain: String::new(),
            last_completed_commit_timestamp: String::new(),
            partition_metadata: BTreeMap::new(),
            version: Some(2),
            bootstrap_partition_metadata: Some(BTreeMap::new()),
            extra_metadata: Some(BTreeMap::new()),
        }
    }
}

impl Payload for CleanMetadata {
    const SCHEMA: &'static str = include_str!("avsc/HoodieCleanMetadata.avsc");
}

/// What a clean did in one partition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    rename = "HoodieCleanPartitionMetadata",
    rename_all = "camelCase",
    default
)]
pub struct CleanPartitionMetadata {
    /// Partition path.
    pub partition_path: String,
    /// Name of the cleaning policy.
    pub policy: String,
    /// Names of the files to delete.
    pub delete_path_patterns: Vec<String>,
    /// Names of the files that are gone.
    pub success_delete_files: Vec<String>,
    /// Names of the files that could not be deleted.
    pub failed_delete_files: Vec<String>,
    /// Whether the whole partition went.
    pub is_partition_deleted: Option<bool>,
}
