//! What a failed write left in the data folders.
//!
//! Its markers name every file that it began, so only the partitions that they name are listed: the cost is that of the
//! write, not of the table. That is enough, because a marker is created, and its creation answered, before the first byte
//! of its file; a writer whose marker was not answered has not gone on to the file. The partitions are listed all the same,
//! for files of the instant whose names a marker does not give exactly (a log that rolled over to its next version). An
//! instant that is only requested has no files: each writer creates the inflight file first. An inflight instant without a
//! marker folder is one of a writer that keeps no markers, or of one that died before its first file; only then the whole
//! table is listed, folder by folder.
//!
//! Version 6 shares log files between instants: what a failed write appended to one is undone by a command block, unless
//! the log file began with that write. Java: MarkerBasedRollbackStrategy, ListingBasedRollbackStrategy.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt};

use crate::config::{TableConfig, TableVersion};
use crate::error::Result;
use crate::file_group::{BaseFile, LogFile, join_path};
use crate::storage::{ListedFile, Storage};
use crate::timeline::metadata::{CommitMetadata, NO_PREVIOUS_COMMIT, RollbackRequest};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime, State};

use super::execute::{Undone, delete_files};
use super::marker::{Marker, read_markers};

/// Folders listed at a time.
const LISTINGS_AT_ONCE: usize = 16;

/// Files and log blocks of one instant.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Debris {
    /// Table-relative paths of files that are to go.
    pub(crate) files: BTreeSet<String>,
    /// Version 6: log files whose blocks of the instant are to be undone.
    pub(crate) log_blocks: BTreeMap<LogSlice, LogName>,
}

/// A file group's logs over one base instant (version 6).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogSlice {
    pub(crate) partition_path: String,
    pub(crate) file_id: String,
    pub(crate) base_instant: InstantTime,
}

/// The name of a log file, as far as it is known.
type LogName = String;

/// Why files are looked for; on version 6 it decides about log files that bear a compaction's instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The instant alone is undone; delta commits after it stay.
    Rollback,
    /// Everything after a savepoint is undone.
    Restore,
}

/// Which files are an instant's.
#[derive(Debug)]
struct Owner<'a> {
    instant: &'a InstantTime,
    version: TableVersion,
    /// Logs that bear the instant were written by it. Not so those of version 6 above a pending compaction.
    owns_logs: bool,
}

impl<'a> Owner<'a> {
    fn new(config: &TableConfig, instant: &'a Instant, purpose: Purpose) -> Self {
        let shares_logs =
            instant.action == Action::Compaction && config.version() == TableVersion::Six;
        Self {
            instant: &instant.time,
            version: config.version(),
            owns_logs: purpose == Purpose::Restore || !shares_logs,
        }
    }

    fn owns(&self, name: &str) -> bool {
        if let Some(base) = BaseFile::parse(name, 0) {
            return base.instant == *self.instant;
        }
        self.owns_logs && LogFile::parse(name, 0).is_some_and(|log| log.instant == *self.instant)
    }
}

impl Debris {
    /// Everything that `failed` left.
    pub(crate) async fn find(
        storage: &Storage,
        config: &TableConfig,
        timeline: &ActiveTimeline,
        failed: &Instant,
        purpose: Purpose,
    ) -> Result<Self> {
        let owner = Owner::new(config, failed, purpose);
        if let Some(markers) = read_markers(storage, &failed.time).await? {
            return Self::of_markers(storage, &owner, &markers).await;
        }
        if failed.state == State::Requested {
            return Ok(Self::default());
        }
        let files = list_table(storage, &|_, name| owner.owns(name)).await?;
        let mut debris = Self {
            files: files.into_iter().map(|(path, _)| path).collect(),
            log_blocks: BTreeMap::new(),
        };
        if owner.version == TableVersion::Six && failed.action == Action::DeltaCommit {
            let planned: CommitMetadata = timeline.read_payload(failed).await?;
            debris.log_blocks = log_blocks_of(storage, &failed.time, &planned).await?;
        }
        Ok(debris)
    }

    async fn of_markers(storage: &Storage, owner: &Owner<'_>, markers: &[Marker]) -> Result<Self> {
        let mut debris = Self::default();
        let mut partitions = BTreeSet::new();
        for marker in markers {
            let (partition, name) = marker.place();
            partitions.insert(partition);
            match shared_log(owner, marker) {
                Some(slice) => {
                    let known = debris.log_blocks.entry(slice).or_default();
                    if known.as_str() < name {
                        name.clone_into(known);
                    }
                }
                None => drop(debris.files.insert(marker.path.clone())),
            }
        }
        let listings = futures::stream::iter(partitions.into_iter().map(str::to_owned))
            .map(|partition| async move {
                let listing = storage.list(&partition).await?;
                Ok::<_, crate::Error>((partition, listing.files))
            })
            .buffered(LISTINGS_AT_ONCE);
        let listings: Vec<_> = listings.try_collect().await?;
        for (partition, files) in listings {
            let own = files.iter().filter(|file| owner.owns(&file.name));
            debris
                .files
                .extend(own.map(|file| join_path(&partition, &file.name)));
        }
        Ok(debris)
    }

    /// What a plan says of this: one request a file, its path absolute.
    pub(crate) fn requests(&self, storage: &Storage, failed: &InstantTime) -> Vec<RollbackRequest> {
        let files = self.files.iter().map(|path| {
            let (partition, name) = path.rsplit_once('/').unwrap_or(("", path));
            let file_id = LogFile::parse(name, 0)
                .map(|file| file.file_id)
                .or_else(|| BaseFile::parse(name, 0).map(|file| file.file_id));
            RollbackRequest {
                partition_path: partition.to_owned(),
                file_id: Some(file_id.unwrap_or_default()),
                latest_base_instant: Some(failed.to_string()),
                files_to_be_deleted: vec![storage.location_of(path)],
                log_blocks_to_be_deleted: BTreeMap::new(),
            }
        });
        let blocks = self.log_blocks.iter().map(|(slice, name)| RollbackRequest {
            partition_path: slice.partition_path.clone(),
            file_id: Some(slice.file_id.clone()),
            latest_base_instant: Some(slice.base_instant.to_string()),
            files_to_be_deleted: Vec::new(),
            // How many bytes the write appended, nobody knows; Hudi writes 1 as well.
            log_blocks_to_be_deleted: BTreeMap::from([(name.clone(), 1)]),
        });
        files.chain(blocks).collect()
    }
}

/// Deletes what the markers of `target` name beyond its rollback plan: a writer that was thought dead has gone on after the
/// plan was made.
pub(crate) async fn delete_later_files(
    storage: &Storage,
    config: &TableConfig,
    target: &Instant,
    done: &mut Undone,
) -> Result<()> {
    let Some(markers) = read_markers(storage, &target.time).await? else {
        return Ok(());
    };
    let owner = Owner::new(config, target, Purpose::Rollback);
    let mut debris = Debris::of_markers(storage, &owner, &markers).await?;
    debris.files.retain(|path| !done.deleted(path));
    delete_files(storage, &debris.files).await?;
    done.add_files(storage, &debris.files);
    Ok(())
}

/// The slice whose logs a marker says were appended to; `None` for a file that the instant created. Releases before 1.0 put
/// the name of the base file into such a marker.
fn shared_log(owner: &Owner<'_>, marker: &Marker) -> Option<LogSlice> {
    if owner.version != TableVersion::Six {
        return None;
    }
    let (partition, name) = marker.place();
    let (file_id, base_instant) = match LogFile::parse(name, 0) {
        Some(log) => (log.file_id, log.instant),
        None if marker.kind == "APPEND" => {
            let base = BaseFile::parse(name, 0)?;
            (base.file_id, base.instant)
        }
        None => return None,
    };
    (base_instant != *owner.instant).then(|| LogSlice {
        partition_path: partition.to_owned(),
        file_id,
        base_instant,
    })
}

/// Version 6 without markers: the inflight file names the file groups that were to be changed. The blocks can only lie in
/// the newest logs of each. Java: ListingBasedRollbackStrategy#getRollbackRequestToAppendForVersionSix.
async fn log_blocks_of(
    storage: &Storage,
    failed: &InstantTime,
    planned: &CommitMetadata,
) -> Result<BTreeMap<LogSlice, LogName>> {
    let mut slices = BTreeMap::new();
    for (partition, stats) in &planned.partition_to_write_stats {
        let updated: BTreeSet<&str> = stats
            .iter()
            .filter(|stat| stat.prev_commit.as_deref() != Some(NO_PREVIOUS_COMMIT))
            .filter_map(|stat| stat.file_id.as_deref())
            .collect();
        if updated.is_empty() {
            continue;
        }
        let mut newest: BTreeMap<String, LogFile> = BTreeMap::new();
        for file in storage.list(partition).await?.files {
            let Some(log) = LogFile::parse(&file.name, file.size_bytes) else {
                continue;
            };
            if !updated.contains(log.file_id.as_str()) || log.instant >= *failed {
                continue;
            }
            let order = |log: &LogFile| (log.instant.clone(), log.version);
            match newest.get(&log.file_id) {
                Some(known) if order(known) >= order(&log) => {}
                _ => drop(newest.insert(log.file_id.clone(), log)),
            }
        }
        for (file_id, log) in newest {
            let slice = LogSlice {
                partition_path: partition.clone(),
                file_id,
                base_instant: log.instant.clone(),
            };
            slices.insert(slice, log.to_string());
        }
    }
    Ok(slices)
}

/// The files of the data folders for which `is_wanted` (given folder and name) is true, by table-relative path. Only those
/// are held in memory.
pub(crate) async fn list_table(
    storage: &Storage,
    is_wanted: &(dyn Fn(&str, &str) -> bool + Sync),
) -> Result<Vec<(String, ListedFile)>> {
    let mut found = Vec::new();
    let mut level = vec![String::new()];
    while !level.is_empty() {
        let mut listings = futures::stream::iter(std::mem::take(&mut level))
            .map(|folder| async move {
                let listing = storage.list(&folder).await?;
                Ok::<_, crate::Error>((folder, listing))
            })
            .buffered(LISTINGS_AT_ONCE);
        while let Some(listed) = listings.next().await {
            let (folder, listing) = listed?;
            for file in listing.files {
                if is_wanted(&folder, &file.name) {
                    found.push((join_path(&folder, &file.name), file));
                }
            }
            let below = listing.dirs.iter().filter(|name| *name != ".hoodie");
            level.extend(below.map(|name| join_path(&folder, name)));
        }
    }
    Ok(found)
}
