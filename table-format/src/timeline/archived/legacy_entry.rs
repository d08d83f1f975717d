//! One state of an instant in the archive of version 6.
//!
//! Spec: what Hudi 1.2.0 writes; Java: HoodieArchivedMetaEntry, MetadataConversionUtils#createMetaWrapper. Which field
//! holds the payload depends on action and state; all others are null.

use std::sync::LazyLock;

use apache_avro::Schema;
use apache_avro::writer::datum::GenericDatumWriter;
use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::timeline::metadata::{
    CleanMetadata, CleanerPlan, CommitMetadata, CompactionPlan, Payload, RequestedReplaceMetadata,
    RollbackMetadata, SavepointMetadata,
};
use crate::timeline::{Action, Instant, InstantTime, State};

/// Avro JSON of the record.
pub(crate) const ENTRY_SCHEMA: &str = include_str!("HoodieArchivedMetaEntry.avsc");

static PARSED: LazyLock<std::result::Result<Schema, String>> =
    LazyLock::new(|| Schema::parse_str(ENTRY_SCHEMA).map_err(|error| error.to_string()));

/// A record of the archive.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "HoodieArchivedMetaEntry", rename_all = "camelCase", default)]
pub(crate) struct ArchivedEntry {
    hoodie_commit_metadata: Option<CommitMetadata>,
    hoodie_clean_metadata: Option<CleanMetadata>,
    hoodie_compaction_metadata: Option<Unread>,
    hoodie_rollback_metadata: Option<RollbackMetadata>,
    hoodie_save_point_metadata: Option<SavepointMetadata>,
    commit_time: Option<String>,
    action_type: Option<String>,
    version: Option<i32>,
    hoodie_compaction_plan: Option<CompactionPlan>,
    hoodie_cleaner_plan: Option<CleanerPlan>,
    action_state: Option<String>,
    #[serde(serialize_with = "as_replace")]
    hoodie_replace_commit_metadata: Option<CommitMetadata>,
    hoodie_requested_replace_metadata: Option<RequestedReplaceMetadata>,
    #[serde(rename = "HoodieInflightReplaceMetadata")]
    inflight_replace_metadata: Option<CommitMetadata>,
    hoodie_index_commit_metadata: Option<Unread>,
    /// When the instant came into this state.
    state_transition_time: Option<String>,
}

/// A payload that nothing here asks for, and that is not written.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Unread {}

fn as_replace<S: Serializer>(
    metadata: &Option<CommitMetadata>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    metadata
        .as_ref()
        .map(CommitMetadata::as_replace)
        .serialize(serializer)
}

/// Reads the payload of a file that is not empty.
fn payload<P: Payload>(bytes: &[u8]) -> Result<Option<P>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    P::decode(bytes).map(Some)
}

impl ArchivedEntry {
    /// What the archive keeps of an instant's file.
    ///
    /// # Errors
    /// `Corrupt` when `bytes` are not a payload of the instant.
    pub(crate) fn of_file(instant: &Instant, bytes: &[u8]) -> Result<Self> {
        let is_completed = instant.state == State::Completed;
        let mut entry = Self {
            commit_time: Some(instant.time.to_string()),
            action_type: Some(instant.action.to_string()),
            action_state: Some(state_name(instant.state).to_owned()),
            version: Some(1),
            state_transition_time: instant.completion.as_ref().map(InstantTime::to_string),
            ..Self::default()
        };
        match instant.action {
            Action::Commit | Action::DeltaCommit => entry.hoodie_commit_metadata = payload(bytes)?,
            Action::ReplaceCommit | Action::Clustering => match instant.state {
                State::Requested => entry.hoodie_requested_replace_metadata = payload(bytes)?,
                State::Inflight => entry.inflight_replace_metadata = payload(bytes)?,
                State::Completed => entry.hoodie_replace_commit_metadata = payload(bytes)?,
            },
            Action::Clean if is_completed => entry.hoodie_clean_metadata = payload(bytes)?,
            Action::Clean => entry.hoodie_cleaner_plan = payload(bytes)?,
            Action::Compaction | Action::LogCompaction => {
                entry.hoodie_compaction_plan = payload(bytes)?;
            }
            Action::Rollback if is_completed => entry.hoodie_rollback_metadata = payload(bytes)?,
            Action::Savepoint if is_completed => entry.hoodie_save_point_metadata = payload(bytes)?,
            Action::Rollback | Action::Savepoint | Action::Restore | Action::Indexing => {}
        }
        Ok(entry)
    }

    /// The state of the instant that this entry is of; old releases wrote completed ones only and named none. `None` for
    /// actions of other versions.
    ///
    /// # Errors
    /// `Corrupt` when the time is none.
    pub(crate) fn instant(&self) -> Result<Option<Instant>> {
        let (Some(time), Some(action)) = (&self.commit_time, &self.action_type) else {
            return Ok(None);
        };
        let state = match self.action_state.as_deref() {
            None | Some("COMPLETED") => State::Completed,
            Some("INFLIGHT") => State::Inflight,
            Some(_) => State::Requested,
        };
        let Ok(action) = action.parse::<Action>() else {
            return Ok(None);
        };
        Ok(Some(Instant {
            time: time.parse()?,
            action,
            state,
            completion: None,
        }))
    }

    /// When the instant came into this state, if that is kept.
    pub(crate) fn transition_time(&self) -> Option<InstantTime> {
        let time = self.state_transition_time.as_deref();
        time.and_then(|time| time.parse().ok())
    }

    /// The bytes of the instant's file on a timeline of layout 2; none where it was empty or is not kept.
    ///
    /// # Errors
    /// `Internal` when a payload does not fit its schema.
    pub(crate) fn avro_file(&self) -> Result<Option<Bytes>> {
        let bytes = if let Some(metadata) = &self.hoodie_replace_commit_metadata {
            metadata.encode_replace_avro()
        } else if let Some(metadata) = &self.hoodie_commit_metadata {
            metadata.encode_avro()
        } else if let Some(metadata) = &self.inflight_replace_metadata {
            metadata.encode_avro()
        } else if let Some(plan) = &self.hoodie_requested_replace_metadata {
            plan.encode_avro()
        } else if let Some(plan) = &self.hoodie_compaction_plan {
            plan.encode_avro()
        } else if let Some(metadata) = &self.hoodie_clean_metadata {
            metadata.encode_avro()
        } else if let Some(plan) = &self.hoodie_cleaner_plan {
            plan.encode_avro()
        } else if let Some(metadata) = &self.hoodie_rollback_metadata {
            metadata.encode_avro()
        } else if let Some(metadata) = &self.hoodie_save_point_metadata {
            metadata.encode_avro()
        } else {
            return Ok(None);
        };
        Ok(Some(bytes?.into()))
    }

    /// Appends the record's datum to `bytes`.
    ///
    /// # Errors
    /// `Internal` when it does not fit its schema.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) -> Result<()> {
        let schema = PARSED
            .as_ref()
            .map_err(|error| Error::internal(format!("archive: the schema: {error}")))?;
        let internal = |error: apache_avro::Error| {
            Error::internal("archive: an entry does not fit its schema").with_source(error)
        };
        let writer = GenericDatumWriter::builder(schema)
            .build()
            .map_err(internal)?;
        bytes.extend(writer.write_ser_to_vec(self).map_err(internal)?);
        Ok(())
    }
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Requested => "REQUESTED",
        State::Inflight => "INFLIGHT",
        State::Completed => "COMPLETED",
    }
}

#[cfg(test)]
mod tests {
    use apache_avro::reader::datum::GenericDatumReader;

    use super::*;
    use crate::timeline::metadata::WriteOperation;

    fn round_trip(name: &str, bytes: &[u8]) -> ArchivedEntry {
        let instant = Instant::parse_file_name(name).unwrap();
        let entry = ArchivedEntry::of_file(&instant, bytes).unwrap();
        let mut datum = Vec::new();
        entry.encode(&mut datum).unwrap();
        let schema = Schema::parse_str(ENTRY_SCHEMA).unwrap();
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        let value = reader.read_value(&mut &datum[..]).unwrap();
        let again: ArchivedEntry = apache_avro::from_value(&value).unwrap();
        assert_eq!(again, entry, "{name}");
        let read = again.instant().unwrap().unwrap();
        assert_eq!((read.time, read.state), (instant.time, instant.state));
        again
    }

    #[test]
    fn every_kind_of_file_is_kept() {
        let mut commit = CommitMetadata::new(WriteOperation::InsertOverwrite);
        commit
            .partition_to_replace_file_ids
            .insert("p".to_owned(), vec!["f-0".to_owned()]);
        let bytes = commit.encode_replace_avro().unwrap();
        let entry = round_trip("20260101000000000.replacecommit", &bytes);
        assert_eq!(entry.avro_file().unwrap().unwrap(), bytes);
        let plain = CommitMetadata::new(WriteOperation::Upsert);
        let bytes = plain.encode_avro().unwrap();
        for name in [
            "2.commit",
            "2.deltacommit",
            "2.inflight",
            "2.replacecommit.inflight",
        ] {
            let entry = round_trip(name, &bytes);
            assert_eq!(entry.avro_file().unwrap().unwrap(), bytes, "{name}");
        }
        for (name, bytes) in [
            ("3.clean", CleanMetadata::default().encode_avro().unwrap()),
            (
                "3.clean.requested",
                CleanerPlan::default().encode_avro().unwrap(),
            ),
            (
                "3.rollback",
                RollbackMetadata::default().encode_avro().unwrap(),
            ),
            (
                "3.savepoint",
                SavepointMetadata::default().encode_avro().unwrap(),
            ),
            (
                "3.compaction.requested",
                CompactionPlan::default().encode_avro().unwrap(),
            ),
            (
                "3.replacecommit.requested",
                RequestedReplaceMetadata::default().encode_avro().unwrap(),
            ),
        ] {
            let entry = round_trip(name, &bytes);
            assert_eq!(entry.avro_file().unwrap().unwrap(), bytes, "{name}");
        }
        let entry = round_trip("4.commit.requested", b"");
        assert_eq!(entry.avro_file().unwrap(), None);
    }
}
