//! File groups: the files that hold one set of keys over time, and how their names are read.

mod base_file_writer;
mod key_footer;
mod log_file_writer;
mod name;
mod parquet_schema;
mod parquet_source;
mod partition_values;
mod upload;
pub mod view;
mod visibility;

pub use base_file_writer::BaseFileOptions;
pub(crate) use base_file_writer::{BaseFileFormat, BaseFileWriter, WrittenBaseFile};
pub(crate) use key_footer::key_bounds;
pub use key_footer::key_filter;
pub(crate) use log_file_writer::LogBlocks;
pub use name::{BaseFile, LogFile};
pub(crate) use parquet_source::ParquetSource;
pub use partition_values::PartitionValues;
pub(crate) use upload::FileUpload;
pub use visibility::{Horizon, Visibility};

use crate::timeline::InstantTime;

/// One base file with the log files on top of it (either may be missing), as seen at some instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSlice {
    /// Relative partition path as on disk; empty for a non-partitioned table.
    pub partition_path: String,
    /// Id of the file group.
    pub file_id: String,
    /// Instant of the base file, or of the first log file when there is no base file.
    pub base_instant: InstantTime,
    /// The columnar file.
    pub base_file: Option<BaseFile>,
    /// Log files in the order in which they are merged.
    pub log_files: Vec<LogFile>,
}

impl FileSlice {
    /// Table-relative path of a file of this slice.
    pub fn path_of(&self, name: &str) -> String {
        join_path(&self.partition_path, name)
    }
}

/// Joins a partition path and a name; the partition path may be empty.
pub fn join_path(partition_path: &str, name: &str) -> String {
    if partition_path.is_empty() {
        name.to_owned()
    } else {
        format!("{partition_path}/{name}")
    }
}
