//! The payloads of a requested and of a completed rollback.
//!
//! Java: HoodieRollbackPlan, HoodieRollbackMetadata.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::payload::{Payload, null_as_default};

/// An instant in a payload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "HoodieInstantInfo", rename_all = "camelCase")]
pub struct InstantInfo {
    /// Begin time.
    pub commit_time: String,
    /// Action.
    pub action: String,
}

/// Which files a rollback deletes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieRollbackPlan", rename_all = "camelCase")]
pub struct RollbackPlan {
    /// The instant that is undone.
    #[serde(default)]
    pub instant_to_rollback: Option<InstantInfo>,
    /// What to delete.
    #[serde(
        default,
        rename = "RollbackRequests",
        deserialize_with = "null_as_default"
    )]
    pub rollback_requests: Vec<RollbackRequest>,
    /// Version of the record.
    #[serde(default)]
    pub version: Option<i32>,
}

impl Default for RollbackPlan {
    fn default() -> Self {
        Self {
            instant_to_rollback: None,
            rollback_requests: Vec::new(),
            version: Some(1),
        }
    }
}

impl Payload for RollbackPlan {
    const SCHEMA: &'static str = include_str!("avsc/HoodieRollbackPlan.avsc");
}

/// Files of one file group that a rollback deletes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieRollbackRequest", rename_all = "camelCase", default)]
pub struct RollbackRequest {
    /// Partition path.
    pub partition_path: String,
    /// Id of the file group.
    pub file_id: Option<String>,
    /// The instant that is undone (found by markers), or the base instant of the slice (version 6).
    pub latest_base_instant: Option<String>,
    /// Absolute paths or locations: Hudi refuses relative ones.
    pub files_to_be_deleted: Vec<String>,
    /// Log blocks to undo, for version 6; never null in a file, on which Hudi fails.
    #[serde(deserialize_with = "null_as_default")]
    pub log_blocks_to_be_deleted: BTreeMap<String, i64>,
}

/// What a rollback did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieRollbackMetadata", rename_all = "camelCase")]
pub struct RollbackMetadata {
    /// Begin time of the rollback.
    pub start_rollback_time: String,
    /// How long it took.
    pub time_taken_in_millis: i64,
    /// Number of files that are gone.
    pub total_files_deleted: i32,
    /// Begin times of the instants undone.
    pub commits_rollback: Vec<String>,
    /// What happened, by partition path.
    pub partition_metadata: BTreeMap<String, RollbackPartitionMetadata>,
    /// Version of the record.
    #[serde(default)]
    pub version: Option<i32>,
    /// The instants undone.
    #[serde(default)]
    pub instants_rollback: Vec<InstantInfo>,
}

impl Default for RollbackMetadata {
    fn default() -> Self {
        Self {
            start_rollback_time: String::new(),
            time_taken_in_millis: 0,
            total_files_deleted: 0,
            commits_rollback: Vec::new(),
            partition_metadata: BTreeMap::new(),
            version: Some(1),
            instants_rollback: Vec::new(),
        }
    }
}

impl Payload for RollbackMetadata {
    const SCHEMA: &'static str = include_str!("avsc/HoodieRollbackMetadata.avsc");
}

/// What a rollback did in one partition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    rename = "HoodieRollbackPartitionMetadata",
    rename_all = "camelCase",
    default
)]
pub struct RollbackPartitionMetadata {
    /// Partition path.
    pub partition_path: String,
    /// Files that are gone.
    pub success_delete_files: Vec<String>,
    /// Files that could not be deleted.
    pub failed_delete_files: Vec<String>,
    /// Log files with a rollback block and their lengths, for version 6.
    pub rollback_log_files: Option<BTreeMap<String, i64>>,
    /// Log files of the instant undone and their lengths.
    pub log_files_from_failed_commit: Option<BTreeMap<String, i64>>,
}
