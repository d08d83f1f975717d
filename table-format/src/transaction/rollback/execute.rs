//! Executes the requests of a rollback plan, our own or another engine's.
//!
//! All of it may be done twice: files that are gone are fine, and a command block that an earlier attempt wrote is found by
//! its marker, under the rollback's own instant. Java: RollbackHelper, RollbackHelperV1.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::TryStreamExt;

use crate::codec::log_block::{BlockKind, LogBlockReader, encode_rollback_block};
use crate::config::{TableConfig, TableVersion};
use crate::error::{Error, Result};
use crate::file_group::{LogFile, join_path};
use crate::storage::Storage;
use crate::timeline::InstantTime;
use crate::timeline::metadata::{RollbackPartitionMetadata, RollbackRequest};

use super::debris::LogSlice;
use super::marker::{Marker, read_markers};

/// Deletions under way at a time.
const DELETIONS_AT_ONCE: usize = 16;
/// Write token of command blocks. Java: HoodieLogFormat.UNKNOWN_WRITE_TOKEN.
const COMMAND_TOKEN: &str = "1-0-1";

/// What was done, by partition path.
#[derive(Debug, Default)]
pub(crate) struct Undone {
    pub(crate) partitions: BTreeMap<String, RollbackPartitionMetadata>,
    /// Table-relative paths of the files deleted.
    files: BTreeSet<String>,
}

impl Undone {
    /// Whether a file was deleted already.
    pub(crate) fn deleted(&self, path: &str) -> bool {
        self.files.contains(path)
    }

    /// Notes files that are gone, by their full locations, as Hudi does.
    pub(crate) fn add_files(&mut self, storage: &Storage, paths: &BTreeSet<String>) {
        for path in paths {
            let (partition, _) = path.rsplit_once('/').unwrap_or(("", path));
            let location = storage.location_of(path);
            self.partition(partition)
                .success_delete_files
                .push(location);
        }
        self.files.extend(paths.iter().cloned());
    }

    fn partition(&mut self, path: &str) -> &mut RollbackPartitionMetadata {
        let partition = self.partitions.entry(path.to_owned()).or_default();
        path.clone_into(&mut partition.partition_path);
        partition
    }

    /// The number of files, as metadata states it.
    pub(crate) fn total_files(&self) -> i32 {
        i32::try_from(self.files.len()).unwrap_or(i32::MAX)
    }
}

/// Deletes the files that `requests` name, and undoes log blocks by commands.
pub(crate) async fn execute(
    storage: &Storage,
    config: &TableConfig,
    rollback: &InstantTime,
    target: &InstantTime,
    requests: &[RollbackRequest],
) -> Result<Undone> {
    let mut undone = Undone::default();
    let mut paths = BTreeSet::new();
    let mut slices = BTreeMap::new();
    for request in requests {
        for location in &request.files_to_be_deleted {
            // Locations are another engine's, of a table that may have been moved: the partition and the name do.
            let name = location.rsplit('/').next().unwrap_or(location);
            paths.insert(join_path(&request.partition_path, name));
        }
        if let (Some(slice), false) = (
            slice_of(request)?,
            request.log_blocks_to_be_deleted.is_empty(),
        ) {
            slices.insert(slice, request.log_blocks_to_be_deleted.clone());
        }
    }
    delete_files(storage, &paths).await?;
    undone.add_files(storage, &paths);
    if slices.is_empty() {
        return Ok(undone);
    }
    if config.version() != TableVersion::Six {
        return Err(Error::unsupported(format!(
            "the rollback plan {rollback} of instant {target} undoes log blocks, which only tables of version 6 know"
        )));
    }
    let block = encode_rollback_block(rollback.as_str(), target.as_str())?;
    for (slice, undone_logs) in slices {
        let path = write_command(storage, rollback, target, &slice, block.clone()).await?;
        let length = i64::try_from(block.len()).unwrap_or(i64::MAX);
        let partition = undone.partition(&slice.partition_path);
        partition
            .rollback_log_files
            .get_or_insert_default()
            .insert(storage.location_of(&path), length);
        partition
            .log_files_from_failed_commit
            .get_or_insert_default()
            .extend(undone_logs);
    }
    Ok(undone)
}

fn slice_of(request: &RollbackRequest) -> Result<Option<LogSlice>> {
    let (Some(file_id), Some(base_instant)) = (&request.file_id, &request.latest_base_instant)
    else {
        return Ok(None);
    };
    if file_id.is_empty() || base_instant.is_empty() {
        return Ok(None);
    }
    Ok(Some(LogSlice {
        partition_path: request.partition_path.clone(),
        file_id: file_id.clone(),
        base_instant: base_instant.parse()?,
    }))
}

/// Deletes data files, and what an upload of theirs left when its process died.
pub(crate) async fn delete_files(storage: &Storage, paths: &BTreeSet<String>) -> Result<()> {
    futures::stream::iter(paths.iter().map(Ok::<_, Error>))
        .try_for_each_concurrent(DELETIONS_AT_ONCE, |path| async move {
            storage.delete(path).await?;
            storage.delete_staging(path).await
        })
        .await
}

/// Writes a command block into a log file of the slice, and returns its path: the one that an earlier attempt chose, or the
/// next version.
async fn write_command(
    storage: &Storage,
    rollback: &InstantTime,
    target: &InstantTime,
    slice: &LogSlice,
    block: Vec<u8>,
) -> Result<String> {
    let is_of_slice = |name: &str| {
        LogFile::parse(name, 0)
            .filter(|log| log.file_id == slice.file_id && log.instant == slice.base_instant)
    };
    for marker in read_markers(storage, rollback).await?.unwrap_or_default() {
        let (partition, name) = marker.place();
        if partition != slice.partition_path || is_of_slice(name).is_none() {
            continue;
        }
        match storage.read_if_exists(&marker.path).await? {
            None => {
                storage.create(&marker.path, block.into()).await?;
                return Ok(marker.path);
            }
            Some(bytes) if undoes(&bytes, target) => return Ok(marker.path),
            // Torn, by a store that shows files before they are whole: readers pass over it.
            Some(_) => {}
        }
    }
    let listing = storage.list(&slice.partition_path).await?;
    let present = listing
        .files
        .iter()
        .filter_map(|file| is_of_slice(&file.name));
    let file = LogFile {
        file_id: slice.file_id.clone(),
        instant: slice.base_instant.clone(),
        version: present.map(|log| log.version).max().unwrap_or(0) + 1,
        write_token: Some(COMMAND_TOKEN.to_owned()),
        is_cdc: false,
        size_bytes: 0,
    };
    let marker = Marker {
        path: join_path(&slice.partition_path, &file.to_string()),
        kind: "APPEND".to_owned(),
    };
    marker.write(storage, rollback).await?;
    storage.create(&marker.path, block.into()).await?;
    Ok(marker.path)
}

/// Whether a log file holds a command that undoes `target`.
fn undoes(file: &Bytes, target: &InstantTime) -> bool {
    LogBlockReader::new(file.clone()).flatten().any(|block| {
        block.kind == BlockKind::Command
            && block.header.target_instant_time() == Some(target.as_str())
    })
}
