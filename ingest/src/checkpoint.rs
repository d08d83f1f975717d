//! How far a table has come, as it rides in the extra metadata of its commits.
//!
//! Data and progress become visible in one atomic step: the completed instant. Nothing else is needed to resume. A small
//! object per pipeline only spares tables that do not change from holding back the log; it may be lost at any time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use table_format::storage::Storage;
use table_format::timeline::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::position::{BinlogPosition, SourcePosition};
use crate::schema::SourceTable;
use crate::source::mysql::chunk::KeyRange;

/// The key of the commit's extra metadata.
pub const CHECKPOINT_KEY: &str = "lakebed.checkpoint";

/// Version 1 held one table without a list.
const VERSION: u32 = 2;

/// What a lake table holds of the source tables that feed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeCheckpoint<P = BinlogPosition> {
    version: u32,
    /// The pipeline that feeds the table.
    pub pipeline: String,
    scan_mode: String,
    /// Its source tables: one, or the shards that are merged.
    pub tables: Vec<TableCheckpoint<P>>,
}

/// What a lake table holds of a source table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCheckpoint<P = BinlogPosition> {
    /// `database.table` of the source.
    pub source_table: String,
    /// Every source transaction up to here is in the table. While the snapshot is not finished: where the log has to be
    /// read from once it is.
    pub position: P,
    /// What the snapshot has left to read; `None` once it is finished.
    pub snapshot: Option<SnapshotProgress>,
    /// The source table at `position`: what the rows of the log that come next look like. Missing in checkpoints of older
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<TableSchema>,
}

/// A source table as of a position, with what is needed to follow its changes from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// The table.
    #[serde(flatten)]
    pub table: SourceTable,
    /// A new version of it that a tool for online schema changes is building.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<SourceTable>,
    /// Whether the table was dropped, or renamed away.
    #[serde(default)]
    pub dropped: bool,
}

impl TableSchema {
    /// A table that nothing is going on with.
    pub fn new(table: SourceTable) -> Self {
        Self {
            table,
            shadow: None,
            dropped: false,
        }
    }
}

/// The part of a snapshot that is not in the table yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotProgress {
    /// Key ranges not read yet; neighbours are merged.
    pub remaining: Vec<KeyRange>,
    /// Rows that earlier commits hold.
    pub rows: u64,
}

impl<P> TableCheckpoint<P> {
    /// The checkpoint of the table of `schema`.
    pub fn new(position: P, snapshot: Option<SnapshotProgress>, schema: TableSchema) -> Self {
        Self {
            source_table: schema.table.to_string(),
            position,
            snapshot,
            schema: Some(schema),
        }
    }
}

impl<P: SourcePosition> LakeCheckpoint<P> {
    /// The checkpoint of a lake table that `pipeline` feeds from `tables`.
    pub fn new(pipeline: &str, tables: Vec<TableCheckpoint<P>>) -> Self {
        Self {
            version: VERSION,
            pipeline: pipeline.to_owned(),
            scan_mode: P::SCAN_MODE.to_owned(),
            tables,
        }
    }

    /// The names of its source tables, for messages.
    pub fn source_tables(&self) -> String {
        let names: Vec<_> = self
            .tables
            .iter()
            .map(|table| table.source_table.as_str())
            .collect();
        names.join(", ")
    }

    /// The extra metadata of a commit that carries this checkpoint.
    ///
    /// # Errors
    /// `Internal` if it cannot be written as JSON.
    pub fn to_extra_metadata(&self) -> Result<BTreeMap<String, String>> {
        let text = serde_json::to_string(self)
            .map_err(|error| Error::internal(format!("checkpoint: {error}")).with_source(error))?;
        Ok(BTreeMap::from([(CHECKPOINT_KEY.to_owned(), text)]))
    }

    /// Reads the checkpoint out of a commit's extra metadata.
    ///
    /// # Errors
    /// `Corrupt` if there is none or it cannot be read; `Unsupported` if a newer version wrote it; `Invalid` if the table was
    /// read in another `scan.mode`.
    pub fn from_extra_metadata(table: &str, extra: &BTreeMap<String, String>) -> Result<Self> {
        let text = extra.get(CHECKPOINT_KEY).map_or("", String::as_str);
        let corrupt = |error: serde_json::Error| {
            let message = format!("{table}: checkpoint `{text}`: {error}");
            Error::new(ErrorKind::Corrupt, message).with_source(error)
        };
        let head: Head = serde_json::from_str(text).map_err(corrupt)?;
        if head.scan_mode != P::SCAN_MODE {
            return Err(Error::invalid(format!(
                "{table} was read with scan.mode `{}`, and the pipeline file says `{}`: positions of one mean nothing to the other; \
                 keep the mode, or remove the lake table to load it anew",
                head.scan_mode,
                P::SCAN_MODE
            )));
        }
        match head.version {
            1 => {
                let only = serde_json::from_str(text).map_err(corrupt)?;
                Ok(Self::new(&head.pipeline, vec![only]))
            }
            VERSION => serde_json::from_str(text).map_err(corrupt),
            newer => Err(Error::unsupported(format!(
                "{table}: checkpoint version {newer} was written by a newer lakebed; update this one"
            ))),
        }
    }
}

/// What all versions of a checkpoint begin with.
#[derive(Deserialize)]
struct Head {
    version: u32,
    pipeline: String,
    #[serde(default = "log")]
    scan_mode: String,
}

fn log() -> String {
    BinlogPosition::SCAN_MODE.to_owned()
}

/// Up to where the log needs to be read no more, for tables that had no change since their last commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineCheckpoint {
    /// All changes up to here are committed.
    pub position: BinlogPosition,
    /// Begin time of each lake table's newest commit of this pipeline when that was so. A table whose newest commit is
    /// another one (a restore, another pipeline) is not covered.
    pub tables: BTreeMap<String, String>,
}

/// Where what concerns the whole pipeline lies under the lake's root, without an ending.
pub(crate) fn pipeline_folder(pipeline: &str) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '_'
        }
    };
    format!(
        ".lakebed/{}",
        pipeline.chars().map(safe).collect::<String>()
    )
}

impl PipelineCheckpoint {
    fn path(pipeline: &str) -> String {
        format!("{}.json", pipeline_folder(pipeline))
    }

    /// Reads the object of `pipeline` under the lake's root; `None` if it is lost or not readable.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer.
    pub async fn load(lake: &Storage, pipeline: &str) -> Result<Option<Self>> {
        match lake.read(&Self::path(pipeline)).await {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)
                .inspect_err(|error| tracing::warn!(%error, "pipeline checkpoint is not readable"))
                .ok()),
            Err(error) if error.kind() == table_format::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces the object of `pipeline`.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer.
    pub async fn store(&self, lake: &Storage, pipeline: &str) -> Result<()> {
        let bytes = serde_json::to_vec(self)
            .map_err(|error| Error::internal(format!("pipeline checkpoint: {error}")))?;
        Ok(lake.overwrite(&Self::path(pipeline), bytes.into()).await?)
    }

    /// Whether it speaks of a table whose newest commit is `newest`.
    pub fn covers(&self, lake_table: &str, newest: &Instant) -> bool {
        self.tables
            .get(lake_table)
            .is_some_and(|instant| instant == newest.time.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extra(text: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(CHECKPOINT_KEY.to_owned(), text.to_owned())])
    }

    #[test]
    fn checkpoints_of_the_first_version_are_those_of_one_table() {
        let position = r#"{"file":"b.000002","pos":7,"server":"s"}"#;
        let old = format!(
            r#"{{"version":1,"pipeline":"p","source_table":"shop.t","position":{position},"snapshot":null}}"#
        );
        let read: LakeCheckpoint =
            LakeCheckpoint::from_extra_metadata("shop.t", &extra(&old)).unwrap();
        assert_eq!(read.pipeline, "p");
        assert_eq!(read.source_tables(), "shop.t");
        assert_eq!(read.tables[0].position.pos, 7);
        let again = read.to_extra_metadata().unwrap();
        assert_eq!(
            LakeCheckpoint::from_extra_metadata("shop.t", &again).unwrap(),
            read
        );
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        let read = |text: &str| {
            LakeCheckpoint::<BinlogPosition>::from_extra_metadata("shop.t", &extra(text))
        };
        let kind = |text: &str| read(text).unwrap_err().kind();
        assert_eq!(kind(""), ErrorKind::Corrupt);
        assert_eq!(
            kind(r#"{"version":2,"pipeline":"p","scan_mode":"log"}"#),
            ErrorKind::Corrupt
        );
        assert_eq!(
            kind(r#"{"version":3,"pipeline":"p","tables":[]}"#),
            ErrorKind::Unsupported
        );
    }

    #[test]
    fn positions_of_another_scan_mode_are_refused() {
        let text = r#"{"version":2,"pipeline":"p","scan_mode":"query","tables":[]}"#;
        let error = LakeCheckpoint::<BinlogPosition>::from_extra_metadata("shop.t", &extra(text));
        assert!(error.unwrap_err().to_string().contains("scan.mode `query`"));
    }
}
