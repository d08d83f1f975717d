//! The payload of commits, delta commits and replace commits.
//!
//! Java: HoodieCommitMetadata, HoodieReplaceCommitMetadata, CommitMetadataSerDeV1/V2.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::WriteOperation;
use super::payload::{Payload, encode, encode_json, null_as_default};
use super::write_stat::WriteStat;
use crate::config::TableVersion;
use crate::error::{Error, Result};
use crate::timeline::{Action, Instant, State};

/// Key of the extra metadata that holds the Avro schema of the table, without meta columns.
pub const SCHEMA_KEY: &str = "schema";

/// Key of the extra metadata that holds the columns with their ids, on tables with schema on read. Java: SerDeHelper.LATEST_SCHEMA.
pub(crate) const LATEST_SCHEMA: &str = "latest_schema";

const REPLACE_SCHEMA: &str = include_str!("avsc/HoodieReplaceCommitMetadata.avsc");

/// What a commit wrote; for a replace commit also what it put out of sight.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieCommitMetadata", rename_all = "camelCase", default)]
pub struct CommitMetadata {
    /// The files written, by partition path.
    #[serde(deserialize_with = "null_as_default")]
    pub partition_to_write_stats: BTreeMap<String, Vec<WriteStat>>,
    /// Whether a compaction made it.
    pub compacted: Option<bool>,
    /// Texts of the writer: the schema, a checkpoint. Never null in a file: Hudi's readers fail on that.
    #[serde(deserialize_with = "null_as_default")]
    pub extra_metadata: BTreeMap<String, String>,
    /// Null in all files of Hudi.
    pub version: Option<i32>,
    /// Name of the operation; see [`CommitMetadata::operation`].
    pub operation_type: Option<String>,
    /// File ids that a replace commit replaces, by partition path; empty for other commits.
    #[serde(skip_serializing, deserialize_with = "null_as_default")]
    pub partition_to_replace_file_ids: BTreeMap<String, Vec<String>>,
}

/// The same with the sixth field, which a plain commit does not have.
#[derive(Serialize)]
#[serde(rename = "HoodieReplaceCommitMetadata", rename_all = "camelCase")]
pub(crate) struct ReplaceCommitMetadata<'a> {
    partition_to_write_stats: &'a BTreeMap<String, Vec<WriteStat>>,
    compacted: Option<bool>,
    extra_metadata: &'a BTreeMap<String, String>,
    version: Option<i32>,
    operation_type: Option<&'a str>,
    partition_to_replace_file_ids: &'a BTreeMap<String, Vec<String>>,
}

impl Payload for CommitMetadata {
    const SCHEMA: &'static str = include_str!("avsc/HoodieCommitMetadata.avsc");

    fn encode_avro(&self) -> Result<Vec<u8>> {
        if !self.partition_to_replace_file_ids.is_empty() {
            return Err(Error::internal(
                "only a replace commit can replace file groups",
            ));
        }
        encode(Self::SCHEMA, self)
    }
}

impl CommitMetadata {
    /// An empty commit of this operation.
    pub fn new(operation: WriteOperation) -> Self {
        let compacted = matches!(
            operation,
            WriteOperation::Compact | WriteOperation::LogCompact
        );
        Self {
            compacted: Some(compacted),
            operation_type: Some(operation.as_str().to_owned()),
            ..Self::default()
        }
    }

    /// The bytes of an inflight file, or of a completed instant of this action, on a timeline of this table version.
    ///
    /// # Errors
    /// `Internal` when the payload does not fit its schema or the action.
    pub fn encode_for(&self, version: TableVersion, instant: &Instant) -> Result<Vec<u8>> {
        let is_replace = instant.state == State::Completed
            && instant.action.comparable() == Action::ReplaceCommit;
        match (version.has_json_commits(), is_replace) {
            (true, true) => encode_json(&self.as_replace()),
            (true, false) => encode_json(self),
            (false, true) => self.encode_replace_avro(),
            (false, false) => self.encode_avro(),
        }
    }

    /// The bytes of a completed `replacecommit` on a timeline of layout 2 (its inflight file is a plain commit's).
    ///
    /// # Errors
    /// `Internal` when the payload does not fit its schema.
    pub fn encode_replace_avro(&self) -> Result<Vec<u8>> {
        encode(REPLACE_SCHEMA, &self.as_replace())
    }

    /// The same with the field that only replace commits have.
    pub(crate) fn as_replace(&self) -> ReplaceCommitMetadata<'_> {
        ReplaceCommitMetadata {
            partition_to_write_stats: &self.partition_to_write_stats,
            compacted: self.compacted,
            extra_metadata: &self.extra_metadata,
            version: self.version,
            operation_type: self.operation_type.as_deref(),
            partition_to_replace_file_ids: &self.partition_to_replace_file_ids,
        }
    }

    /// Files a stat under its partition.
    pub fn add_stat(&mut self, stat: WriteStat) {
        let partition = stat.partition_path.clone().unwrap_or_default();
        self.partition_to_write_stats
            .entry(partition)
            .or_default()
            .push(stat);
    }

    /// All stats, partition by partition.
    pub fn write_stats(&self) -> impl Iterator<Item = &WriteStat> {
        self.partition_to_write_stats.values().flatten()
    }

    /// The operation; `None` when the file names none.
    ///
    /// # Errors
    /// `Unsupported` for a name that Hudi 1.2.0 does not know.
    pub fn operation(&self) -> Result<Option<WriteOperation>> {
        self.operation_type.as_deref().map(str::parse).transpose()
    }

    /// The schema, if this commit may have given the table a new one: services repeat the one they found.
    ///
    /// # Errors
    /// As [`CommitMetadata::operation`].
    pub fn new_schema(&self) -> Result<Option<&str>> {
        let may_be_new = self
            .operation()?
            .is_none_or(WriteOperation::can_update_schema);
        Ok(self.schema().filter(|_| may_be_new))
    }

    /// Avro JSON of the table's schema as of this commit, if it carries one.
    pub fn schema(&self) -> Option<&str> {
        self.extra_metadata
            .get(SCHEMA_KEY)
            .map(String::as_str)
            .filter(|schema| !schema.is_empty())
    }
}
