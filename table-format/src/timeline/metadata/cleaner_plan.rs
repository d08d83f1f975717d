//! The payload of a requested clean.
//!
//! Java: HoodieCleanerPlan. The version must not be null, and paths must be locations or absolute: Hudi fails otherwise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::payload::{Payload, null_as_default};

/// Key of the extra metadata of plans and of completed cleans: the savepoints at planning, parted by commas.
pub const SAVEPOINTED_TIMESTAMPS_KEY: &str = "savepointed_timestamps";

/// Which files a clean deletes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieCleanerPlan", rename_all = "camelCase")]
pub struct CleanerPlan {
    /// The oldest commit whose data stays; null when the policy counts file versions.
    #[serde(default)]
    pub earliest_instant_to_retain: Option<ActionInstant>,
    /// The last commit that was complete when the clean was planned.
    #[serde(default)]
    pub last_completed_commit_timestamp: String,
    /// Name of the cleaning policy.
    pub policy: String,
    /// Version 1 of the record: names instead of paths. Empty since.
    #[serde(default)]
    pub files_to_be_deleted_per_partition: Option<BTreeMap<String, Vec<String>>>,
    /// 2: full paths.
    #[serde(default)]
    pub version: Option<i32>,
    /// The files, by partition path.
    #[serde(default, deserialize_with = "null_as_default")]
    pub file_paths_to_be_deleted_per_partition: BTreeMap<String, Vec<CleanFileInfo>>,
    /// Partitions that go as a whole.
    #[serde(default, deserialize_with = "null_as_default")]
    pub partitions_to_be_deleted: Vec<String>,
    /// Texts of the planner.
    #[serde(default, deserialize_with = "null_as_default")]
    pub extra_metadata: BTreeMap<String, String>,
}

impl Default for CleanerPlan {
    fn default() -> Self {
        Self {
            earliest_instant_to_retain: None,
            last_completed_commit_timestamp: String::new(),
            policy: String::new(),
            files_to_be_deleted_per_partition: Some(BTreeMap::new()),
            version: Some(2),
            file_paths_to_be_deleted_per_partition: BTreeMap::new(),
            partitions_to_be_deleted: Vec::new(),
            extra_metadata: BTreeMap::new(),
        }
    }
}

impl Payload for CleanerPlan {
    const SCHEMA: &'static str = include_str!("avsc/HoodieCleanerPlan.avsc");
}

/// An instant in a plan of a clean.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "HoodieActionInstant", rename_all = "camelCase")]
pub struct ActionInstant {
    /// Begin time.
    pub timestamp: String,
    /// Action.
    pub action: String,
    /// State, in capitals.
    pub state: String,
}

/// A file to delete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "HoodieCleanFileInfo", rename_all = "camelCase", default)]
pub struct CleanFileInfo {
    /// Where it lies: a location or an absolute path.
    pub file_path: Option<String>,
    /// Whether it is a file from before the table was made.
    pub is_bootstrap_base_file: Option<bool>,
}
