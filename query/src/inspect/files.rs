//! The data files of a table, and which of them the latest snapshot reads.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use table_format::file_group::view::list_partitions;
use table_format::file_group::{BaseFile, LogFile};
use table_format::table::Table;

use crate::error::Result;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Rows in columns.
    Base,
    /// Changes of rows.
    Log,
    /// Change data, which is not merged.
    Cdc,
}

impl FileKind {
    /// The name in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Log => "log",
            Self::Cdc => "cdc",
        }
    }
}

/// A data file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// Partition path; empty for a table without partitions.
    pub partition: String,
    /// Its file group.
    pub file_id: String,
    /// What it holds.
    pub kind: FileKind,
    /// The instant in its name.
    pub instant: String,
    /// Its length.
    pub bytes: u64,
    /// Where it is.
    pub location: String,
    /// Whether the latest snapshot reads it.
    pub is_latest: bool,
}

/// Base and log files by partition, file group and instant; files of failed writes are among them.
///
/// # Errors
/// When the timeline or the folders cannot be read.
pub async fn files(table: &Table) -> Result<Vec<FileFacts>> {
    let snapshot = table.snapshot(None).await?;
    let mut latest = HashSet::new();
    for slice in snapshot.slices() {
        let logs = slice.log_files.iter().map(ToString::to_string);
        let names = slice.base_file.iter().map(ToString::to_string).chain(logs);
        latest.extend(names.map(|name| slice.path_of(&name)));
    }
    let mut all = Vec::new();
    for partition in list_partitions(table.storage()).await? {
        for file in &partition.files {
            let (file_id, instant, kind) =
                if let Some(base) = BaseFile::parse(&file.name, file.size_bytes) {
                    (base.file_id, base.instant, FileKind::Base)
                } else if let Some(log) = LogFile::parse(&file.name, file.size_bytes) {
                    let kind = if log.is_cdc {
                        FileKind::Cdc
                    } else {
                        FileKind::Log
                    };
                    (log.file_id, log.instant, kind)
                } else {
                    continue;
                };
            let path = table_format::file_group::join_path(&partition.partition_path, &file.name);
            all.push(FileFacts {
                partition: partition.partition_path.clone(),
                file_id,
                kind,
                instant: instant.to_string(),
                bytes: file.size_bytes,
                location: table.storage().location_of(&path),
                is_latest: latest.contains(&path),
            });
        }
    }
    all.sort_by(|left, right| {
        let by_group = (&left.partition, &left.file_id).cmp(&(&right.partition, &right.file_id));
        let by_age = (&left.instant, &left.location).cmp(&(&right.instant, &right.location));
        by_group.then(by_age)
    });
    Ok(all)
}

/// Columns of `hudi_files`.
pub(super) fn to_batch(files: &[FileFacts]) -> Result<RecordBatch> {
    let text = |of: &dyn Fn(&FileFacts) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(files.iter().map(of)))
    };
    let bytes = files.iter().map(|file| i64::try_from(file.bytes).ok());
    let is_latest: BooleanArray = files.iter().map(|file| Some(file.is_latest)).collect();
    let batch = RecordBatch::try_from_iter([
        ("partition", text(&|file| &file.partition)),
        ("file_id", text(&|file| &file.file_id)),
        ("kind", text(&|file| file.kind.as_str())),
        ("instant", text(&|file| &file.instant)),
        ("bytes", Arc::new(bytes.collect::<Int64Array>()) as ArrayRef),
        ("latest", Arc::new(is_latest)),
        ("location", text(&|file| &file.location)),
    ]);
    Ok(batch.map_err(datafusion::error::DataFusionError::from)?)
}
