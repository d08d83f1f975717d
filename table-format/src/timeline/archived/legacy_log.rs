//! The archive of version 6: log files whose Avro records are one state of an instant each.
//!
//! Java: ArchivedTimelineV1, HoodieArchivedMetaEntry. The files are `.commits_.archive.<n>_<token>`; nothing in them is
//! sorted or indexed, so each is read as a whole.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::legacy_entry::ArchivedEntry;
use super::{ArchivedInstant, Selection};
use crate::codec::log_block::{BlockKind, LogBlock, LogBlockReader};
use crate::error::{Error, Result};
use crate::file_group::join_path;
use crate::storage::Storage;
use crate::timeline::metadata::CommitMetadata;
use crate::timeline::{Action, Instant, State};

const PREFIX: &str = ".commits_.archive.";

/// Names of the log files, oldest first.
///
/// # Errors
/// `Unavailable` when the store gives up.
pub(crate) async fn list(storage: &Storage, dir: &str) -> Result<Vec<String>> {
    let listing = storage.list(dir).await?;
    let mut files: Vec<(u64, String)> = listing
        .files
        .into_iter()
        .filter_map(|file| Some((number(&file.name)?, file.name)))
        .collect();
    files.sort_unstable();
    Ok(files.into_iter().map(|(_, name)| name).collect())
}

/// The name of the file with this number. Java: HoodieLogFormat.UNKNOWN_WRITE_TOKEN.
pub(crate) fn file_name(number: u64) -> String {
    format!("{PREFIX}{number}_1-0-1")
}

/// The number of a file, if its name is one of the archive.
pub(crate) fn number(name: &str) -> Option<u64> {
    let rest = name.strip_prefix(PREFIX)?;
    let digits = rest.split_once('_').map_or(rest, |(digits, _)| digits);
    let is_side_file = rest.contains('.');
    (!is_side_file).then(|| digits.parse().ok())?
}

/// The completed instants of a file that are wanted, in the order of the file.
///
/// # Errors
/// `Corrupt` when the file breaks its format; `Unavailable` when the store gives up.
pub(super) async fn visit(
    storage: &Storage,
    dir: &str,
    name: &str,
    selection: &Selection,
    visit: &mut (dyn FnMut(ArchivedInstant) -> Result<()> + Send),
) -> Result<()> {
    let path = join_path(dir, name);
    let bytes = storage.read(&path).await?;
    for block in LogBlockReader::new(bytes) {
        let block = block.map_err(|error| error.context(path.clone()))?;
        if block.kind != BlockKind::AvroData {
            // A torn write: Hudi passes over it too.
            tracing::warn!(%path, offset = block.offset, kind = ?block.kind, "passed over a block of the archive");
            continue;
        }
        let entries: Vec<Entry> = entries(&block).map_err(|error| error.context(path.clone()))?;
        for entry in entries {
            if let Some(instant) = entry.completed()?
                && selection.includes(&instant.instant)
            {
                visit(instant)?;
            }
        }
    }
    Ok(())
}

/// Everything in a file: all states of instants, with all their payloads.
///
/// # Errors
/// As [`visit`].
pub(crate) async fn read_entries(
    storage: &Storage,
    dir: &str,
    name: &str,
) -> Result<Vec<ArchivedEntry>> {
    let path = join_path(dir, name);
    let bytes = storage.read(&path).await?;
    let mut all = Vec::new();
    for block in LogBlockReader::new(bytes) {
        let block = block.map_err(|error| error.context(path.clone()))?;
        if block.kind == BlockKind::AvroData {
            all.extend(entries(&block).map_err(|error| error.context(path.clone()))?);
        }
    }
    Ok(all)
}

fn entries<T: DeserializeOwned>(block: &LogBlock) -> Result<Vec<T>> {
    // Errors of this library print the whole schema: they are the source, not the message.
    let corrupt = |error: apache_avro::Error| {
        Error::corrupt("archive", "an entry does not fit its schema").with_source(error)
    };
    let schema = Schema::parse_str(block.header.schema().unwrap_or_default()).map_err(corrupt)?;
    let reader = GenericDatumReader::builder(&schema)
        .build()
        .map_err(corrupt)?;
    block
        .avro_records()?
        .map(|record| {
            let value = reader.read_value(&mut &record?[..]).map_err(corrupt)?;
            apache_avro::from_value(&value).map_err(corrupt)
        })
        .collect()
}

/// What is taken of a HoodieArchivedMetaEntry.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Entry {
    commit_time: Option<String>,
    action_type: Option<String>,
    action_state: Option<String>,
    hoodie_commit_metadata: Option<CommitMetadata>,
    hoodie_replace_commit_metadata: Option<CommitMetadata>,
}

impl Entry {
    /// The instant, if the entry is of its completed state. Old releases wrote no other and named none.
    fn completed(self) -> Result<Option<ArchivedInstant>> {
        let is_completed = self
            .action_state
            .as_deref()
            .is_none_or(|state| state == "COMPLETED");
        let (Some(time), Some(action), true) = (self.commit_time, self.action_type, is_completed)
        else {
            return Ok(None);
        };
        let Ok(action) = action.parse::<Action>() else {
            return Ok(None);
        };
        let instant = Instant {
            time: time.parse()?,
            action: action.comparable(),
            state: State::Completed,
            completion: None,
        };
        let commit = self
            .hoodie_replace_commit_metadata
            .or(self.hoodie_commit_metadata);
        Ok(Some(ArchivedInstant::of_commit(instant, commit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_files_are_read_in_the_order_of_their_numbers() {
        assert_eq!(number(".commits_.archive.10_1-0-1"), Some(10));
        assert_eq!(number(".commits_.archive.2"), Some(2));
        for name in [
            "commits_.archive.1",
            ".commits_.archive.x_1",
            ".commits_.archive.1_1-0-1.crc",
            ".x",
        ] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
