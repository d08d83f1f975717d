//! The payload of a requested compaction or log compaction.
//!
//! Java: HoodieCompactionPlan. A plan must name the base file of each slice and every log file that was completed
//! before it: whatever it leaves out is lost when it is executed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::payload::Payload;

/// Which slices a compaction merges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieCompactionPlan", rename_all = "camelCase")]
pub struct CompactionPlan {
    /// One per file slice.
    #[serde(default)]
    pub operations: Option<Vec<CompactionOperation>>,
    /// Texts of the planner.
    #[serde(default)]
    pub extra_metadata: Option<BTreeMap<String, String>>,
    /// 2: paths are file names. A null makes every read of the table fail in Hudi.
    #[serde(default)]
    pub version: Option<i32>,
    /// How a log compaction is to be executed.
    #[serde(default)]
    pub strategy: Option<CompactionStrategy>,
    /// Whether meta columns are kept.
    #[serde(default)]
    pub preserve_hoodie_metadata: Option<bool>,
    /// Partitions that the planner could not see.
    #[serde(default)]
    pub missing_schedule_partitions: Option<Vec<String>>,
}

impl Default for CompactionPlan {
    fn default() -> Self {
        Self {
            operations: Some(Vec::new()),
            extra_metadata: None,
            version: Some(2),
            strategy: None,
            preserve_hoodie_metadata: Some(false),
            missing_schedule_partitions: Some(Vec::new()),
        }
    }
}

impl Payload for CompactionPlan {
    const SCHEMA: &'static str = include_str!("avsc/HoodieCompactionPlan.avsc");
}

/// One file slice to merge.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    rename = "HoodieCompactionOperation",
    rename_all = "camelCase",
    default
)]
pub struct CompactionOperation {
    /// Base instant of the slice.
    pub base_instant_time: Option<String>,
    /// Names of the log files.
    pub delta_file_paths: Option<Vec<String>>,
    /// Name of the base file; null for a slice of logs only.
    pub data_file_path: Option<String>,
    /// Id of the file group.
    pub file_id: Option<String>,
    /// Its partition path.
    pub partition_path: Option<String>,
    /// Measures of the planner; Hudi needs `TOTAL_LOG_FILES_SIZE`.
    pub metrics: Option<BTreeMap<String, f64>>,
    /// File from before the table was made.
    pub bootstrap_file_path: Option<String>,
}

/// Which class executes a plan, in Hudi.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieCompactionStrategy", rename_all = "camelCase", default)]
pub struct CompactionStrategy {
    /// Java class.
    pub compactor_class_name: Option<String>,
    /// Its parameters.
    pub strategy_params: Option<BTreeMap<String, String>>,
    /// Version of the record.
    pub version: Option<i32>,
}
