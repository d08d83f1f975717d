//! The payload of a savepoint.
//!
//! Java: HoodieSavepointMetadata. Only files that are listed are protected: an empty list protects nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::payload::Payload;

/// Which files a savepoint protects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieSavepointMetadata", rename_all = "camelCase")]
pub struct SavepointMetadata {
    /// Who made it.
    pub savepointed_by: String,
    /// When, in milliseconds since the epoch.
    pub savepointed_at: i64,
    /// Why.
    pub comments: String,
    /// The files, by partition path.
    pub partition_metadata: BTreeMap<String, SavepointPartitionMetadata>,
    /// Version of the record.
    #[serde(default)]
    pub version: Option<i32>,
}

impl Default for SavepointMetadata {
    fn default() -> Self {
        Self {
            savepointed_by: String::new(),
            savepointed_at: 0,
            comments: String::new(),
            partition_metadata: BTreeMap::new(),
            version: Some(1),
        }
    }
}

impl Payload for SavepointMetadata {
    const SCHEMA: &'static str = include_str!("avsc/HoodieSavepointMetadata.avsc");
}

/// The files that a savepoint protects in one partition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    rename = "HoodieSavepointPartitionMetadata",
    rename_all = "camelCase",
    default
)]
pub struct SavepointPartitionMetadata {
    /// Partition path.
    pub partition_path: String,
    /// Names of base and log files.
    pub savepoint_data_file: Vec<String>,
}
