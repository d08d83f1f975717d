//! What a write did to one file.
//!
//! Java: HoodieWriteStat. Incremental reads of Hudi go by `path` and `file_size_in_bytes`: a stat without them hides the
//! rows of its file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What `prev_commit` says of a file group that is new: the word, not a null.
pub const NO_PREVIOUS_COMMIT: &str = "null";

/// One file that a commit wrote.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieWriteStat", rename_all = "camelCase", default)]
pub struct WriteStat {
    /// Id of the file group.
    pub file_id: Option<String>,
    /// Path of the file, relative to the table.
    pub path: Option<String>,
    /// Instant of the file that this one replaces or adds to; [`NO_PREVIOUS_COMMIT`] for a new group.
    pub prev_commit: Option<String>,
    /// Rows in the base file, or data records in the log file.
    pub num_writes: Option<i64>,
    /// Rows deleted.
    pub num_deletes: Option<i64>,
    /// Rows changed.
    pub num_update_writes: Option<i64>,
    /// Length of the file.
    pub total_write_bytes: Option<i64>,
    /// Rows refused.
    pub total_write_errors: Option<i64>,
    /// Partition path; the key under which the stat is filed.
    pub partition_path: Option<String>,
    /// Compaction: log records read.
    pub total_log_records: Option<i64>,
    /// Unused by Hudi.
    pub total_log_files: Option<i64>,
    /// Compaction: log records that changed a row.
    pub total_updated_records_compacted: Option<i64>,
    /// Rows with a new key.
    pub num_inserts: Option<i64>,
    /// Compaction: log blocks read.
    pub total_log_blocks: Option<i64>,
    /// Compaction: corrupt log blocks met.
    pub total_corrupt_log_block: Option<i64>,
    /// Compaction: rollback blocks met.
    pub total_rollback_blocks: Option<i64>,
    /// Length of the file, exactly.
    pub file_size_in_bytes: Option<i64>,
    /// Log file: its version.
    pub log_version: Option<i32>,
    /// Log file: where the write began.
    pub log_offset: Option<i64>,
    /// Log file: base file of the slice (version 6), or empty text (8 and 9).
    pub base_file: Option<String>,
    /// Log file: names of the files written. Null on base files, by which hudi-rs tells them apart.
    pub log_files: Option<Vec<String>>,
    /// Files of change data written along, with their lengths.
    pub cdc_stats: Option<BTreeMap<String, i64>>,
    /// Name of the base file that this one replaces.
    pub prev_base_file: Option<String>,
    /// Least event time, when it is tracked.
    pub min_event_time: Option<i64>,
    /// Greatest event time, when it is tracked.
    pub max_event_time: Option<i64>,
    /// How long it took.
    pub runtime_stats: Option<RuntimeStats>,
    /// Compaction: log files read.
    pub total_log_files_compacted: Option<i64>,
    /// Compaction: how long reading the logs took.
    pub total_log_read_time_ms: Option<i64>,
    /// Compaction: bytes of the log files read.
    pub total_log_size_compacted: Option<i64>,
    /// Unused by Hudi.
    pub temp_path: Option<String>,
    /// Unused by Hudi.
    pub num_updates: Option<i64>,
}

/// How long a write took, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieRuntimeStats", rename_all = "camelCase", default)]
pub struct RuntimeStats {
    /// Reading what was there.
    pub total_scan_time: Option<i64>,
    /// Writing a new file.
    pub total_create_time: Option<i64>,
    /// Merging into a file.
    pub total_upsert_time: Option<i64>,
}
