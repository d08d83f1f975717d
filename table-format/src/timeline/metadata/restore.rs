//! The payloads of a requested and of a completed restore.
//!
//! Java: HoodieRestorePlan, HoodieRestoreMetadata. What was undone of each instant stands in the restore itself; the
//! rollbacks of a restore have no instants of their own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::payload::Payload;
use super::rollback::{InstantInfo, RollbackMetadata};

/// Which instants a restore undoes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieRestorePlan", rename_all = "camelCase")]
pub struct RestorePlan {
    /// The instants, in the order in which they are undone.
    #[serde(default)]
    pub instants_to_rollback: Vec<InstantInfo>,
    /// 2: the savepoint is named.
    #[serde(default)]
    pub version: Option<i32>,
    /// Begin time of the commit that the table goes back to.
    #[serde(default)]
    pub savepoint_to_restore_timestamp: Option<String>,
}

impl Default for RestorePlan {
    fn default() -> Self {
        Self {
            instants_to_rollback: Vec::new(),
            version: Some(2),
            savepoint_to_restore_timestamp: None,
        }
    }
}

impl Payload for RestorePlan {
    const SCHEMA: &'static str = include_str!("avsc/HoodieRestorePlan.avsc");
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieRestoreMetadata", rename_all = "camelCase")]
pub struct RestoreMetadata {
    /// Begin time of the restore.
    pub start_restore_time: String,
    /// How long it took.
    pub time_taken_in_millis: i64,
    /// Begin times of the instants undone.
    pub instants_to_rollback: Vec<String>,
    /// What was undone, by begin time.
    pub hoodie_restore_metadata: BTreeMap<String, Vec<Option<RollbackMetadata>>>,
    /// Version of the record.
    #[serde(default)]
    pub version: Option<i32>,
    /// The instants undone.
    #[serde(default)]
    pub restore_instant_info: Vec<InstantInfo>,
}

impl Default for RestoreMetadata {
    fn default() -> Self {
        Self {
            start_restore_time: String::new(),
            time_taken_in_millis: 0,
            instants_to_rollback: Vec::new(),
            hoodie_restore_metadata: BTreeMap::new(),
            version: Some(1),
            restore_instant_info: Vec::new(),
        }
    }
}

impl Payload for RestoreMetadata {
    const SCHEMA: &'static str = include_str!("avsc/HoodieRestoreMetadata.avsc");
}
