//! The kinds of writes, as commits name them.
//!
//! Java: WriteOperationType. A name that Hudi does not know makes each of its readers fail.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// What kind of write made a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WriteOperation {
    /// New rows, packed into small files.
    Insert,
    /// Changed and new rows.
    Upsert,
    /// New rows, each writer into files of its own.
    BulkInsert,
    /// Rows are deleted by key.
    Delete,
    /// Partitions are replaced.
    InsertOverwrite,
    /// All rows are replaced.
    InsertOverwriteTable,
    /// Partitions are dropped.
    DeletePartition,
    /// Rows move between files; none changes.
    Cluster,
    /// Log files are merged into base files.
    Compact,
    /// Log files are merged into one.
    LogCompact,
    /// A part of the metadata table is built.
    Index,
    /// The table's schema changes.
    AlterSchema,
    /// The number of buckets changes.
    BucketRescale,
    /// A table is made of files that are there already.
    Bootstrap,
    /// Nobody said.
    Unknown,
}

impl WriteOperation {
    const ALL: [(Self, &'static str); 15] = [
        (Self::Insert, "INSERT"),
        (Self::Upsert, "UPSERT"),
        (Self::BulkInsert, "BULK_INSERT"),
        (Self::Delete, "DELETE"),
        (Self::InsertOverwrite, "INSERT_OVERWRITE"),
        (Self::InsertOverwriteTable, "INSERT_OVERWRITE_TABLE"),
        (Self::DeletePartition, "DELETE_PARTITION"),
        (Self::Cluster, "CLUSTER"),
        (Self::Compact, "COMPACT"),
        (Self::LogCompact, "LOG_COMPACT"),
        (Self::Index, "INDEX"),
        (Self::AlterSchema, "ALTER_SCHEMA"),
        (Self::BucketRescale, "BUCKET_RESCALE"),
        (Self::Bootstrap, "BOOTSTRAP"),
        (Self::Unknown, "UNKNOWN"),
    ];

    /// The name in commit metadata.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(operation, _)| *operation == self)
            .map_or("UNKNOWN", |(_, name)| name)
    }

    /// Whether it completes as a replace commit because it puts file groups of others out of sight.
    pub fn is_replace(self) -> bool {
        matches!(
            self,
            Self::InsertOverwrite | Self::InsertOverwriteTable | Self::DeletePartition
        )
    }

    /// Whether the rows of the table are the same before and after, so that the commit's schema may be an old one.
    ///
    /// Java: WriteOperationType#canUpdateSchema.
    pub fn can_update_schema(self) -> bool {
        !matches!(
            self,
            Self::Compact | Self::LogCompact | Self::Cluster | Self::Index
        )
    }
}

impl fmt::Display for WriteOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for WriteOperation {
    type Err = Error;

    /// Reads a name; `UPSERT_PREPPED` and its like (keys looked up beforehand) count as the plain operation.
    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = text.strip_suffix("_PREPPED").unwrap_or(text);
        let known = Self::ALL.iter().find(|(_, name)| *name == plain);
        known.map(|(operation, _)| *operation).ok_or_else(|| {
            Error::unsupported(format!(
                "`{text}` is not a write operation that this version knows"
            ))
        })
    }
}
