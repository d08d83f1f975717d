//! The payload of a requested clustering or replace commit.
//!
//! Java: HoodieRequestedReplaceMetadata, HoodieClusteringPlan.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::payload::Payload;

/// What a replace commit is going to do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    rename = "HoodieRequestedReplaceMetadata",
    rename_all = "camelCase",
    default
)]
pub struct RequestedReplaceMetadata {
    /// `CLUSTER`, `DELETE_PARTITION`, or null for an overwrite.
    pub operation_type: Option<String>,
    /// The plan of a clustering.
    pub clustering_plan: Option<ClusteringPlan>,
    /// Texts of the planner.
    pub extra_metadata: Option<BTreeMap<String, String>>,
    /// Version of the record.
    pub version: Option<i32>,
}

impl Payload for RequestedReplaceMetadata {
    const SCHEMA: &'static str = include_str!("avsc/HoodieRequestedReplaceMetadata.avsc");
}

/// Which slices a clustering rewrites.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieClusteringPlan", rename_all = "camelCase", default)]
pub struct ClusteringPlan {
    /// Groups of slices, each rewritten on its own.
    pub input_groups: Option<Vec<ClusteringGroup>>,
    /// How.
    pub strategy: Option<ClusteringStrategy>,
    /// Texts of the planner.
    pub extra_metadata: Option<BTreeMap<String, String>>,
    /// Version of the record.
    pub version: Option<i32>,
    /// Whether meta columns are kept.
    pub preserve_hoodie_metadata: Option<bool>,
    /// Partitions that the planner could not see.
    pub missing_schedule_partitions: Option<Vec<String>>,
}

/// Slices that are rewritten together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieClusteringGroup", rename_all = "camelCase", default)]
pub struct ClusteringGroup {
    /// The slices.
    pub slices: Option<Vec<SliceInfo>>,
    /// Measures of the planner.
    pub metrics: Option<BTreeMap<String, f64>>,
    /// How many file groups are to come out.
    pub num_output_file_groups: Option<i32>,
    /// Texts of the planner.
    pub extra_metadata: Option<BTreeMap<String, String>>,
    /// Version of the record.
    pub version: Option<i32>,
}

/// A file slice in a plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieSliceInfo", rename_all = "camelCase", default)]
pub struct SliceInfo {
    /// Full location of the base file.
    pub data_file_path: Option<String>,
    /// Full locations of the log files.
    pub delta_file_paths: Option<Vec<String>>,
    /// Id of the file group.
    pub file_id: Option<String>,
    /// Its partition path.
    pub partition_path: Option<String>,
    /// File from before the table was made.
    pub bootstrap_file_path: Option<String>,
    /// Version of the record.
    pub version: Option<i32>,
}

/// Which class executes a plan, in Hudi.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieClusteringStrategy", rename_all = "camelCase", default)]
pub struct ClusteringStrategy {
    /// Java class.
    pub strategy_class_name: Option<String>,
    /// Its parameters.
    pub strategy_params: Option<BTreeMap<String, String>>,
    /// Version of the record.
    pub version: Option<i32>,
}
