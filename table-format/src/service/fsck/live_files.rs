//! The files that readers need: those of the latest slice of each file group, as the active timeline names them, and those
//! of savepoints.
//!
//! Older slices may have been cleaned; groups that no active commit touched are not looked at. What a commit says of a
//! file is compared with the file ([`super::statistics`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{TableConfig, TableVersion};
use crate::env::MemoryBudget;
use crate::error::{ErrorKind, Result};
use crate::file_group::{BaseFile, Horizon, LogFile, Visibility, join_path};
use crate::service::restore::is_of;
use crate::storage::Storage;
use crate::timeline::metadata::{CommitMetadata, SavepointMetadata, WriteStat};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime};

use super::finding::{Check, Problem, Repair};
use super::partitions::DataFolders;
use super::statistics::{Measured, measure, set_statistics};

/// A file group: partition path and file id.
type GroupKey = (String, String);

/// A file that must be there.
#[derive(Debug)]
struct LiveFile {
    path: String,
    /// Where its logs belong: the completion of their commit (base instant on version 6), or the instant of a base file.
    place: InstantTime,
    is_log: bool,
    /// The commit that names it; its statistics are there.
    commit: Instant,
}

/// The files that readers need.
#[derive(Debug)]
pub(super) struct LiveFiles {
    version: TableVersion,
    is_parquet: bool,
    groups: BTreeMap<GroupKey, Vec<LiveFile>>,
}

impl LiveFiles {
    /// Reads the commits of the active timeline, one after the other.
    pub(super) async fn load(
        config: &TableConfig,
        timeline: &ActiveTimeline,
        folders: &DataFolders,
    ) -> Result<Self> {
        let mut live = Self {
            version: config.version(),
            is_parquet: config.base_file_format() == "PARQUET",
            groups: BTreeMap::new(),
        };
        let mut replaced: BTreeSet<GroupKey> = BTreeSet::new();
        for commit in timeline.completed_writes() {
            let metadata = match timeline.read_metadata(commit).await {
                Ok(metadata) => metadata,
                // A finding of its own.
                Err(error) if error.kind() == ErrorKind::Corrupt => continue,
                Err(error) => return Err(error),
            };
            for (partition, stats) in &metadata.partition_to_write_stats {
                live.add(commit, partition, stats);
            }
            for (partition, file_ids) in metadata.partition_to_replace_file_ids {
                let keys = file_ids.into_iter().map(|id| (partition.clone(), id));
                replaced.extend(keys);
            }
        }
        live.groups.retain(|key, _| !replaced.contains(key));
        live.retain_latest(timeline, folders);
        Ok(live)
    }

    fn add(&mut self, commit: &Instant, partition: &str, stats: &[WriteStat]) {
        for stat in stats {
            let Some(path) = &stat.path else {
                continue;
            };
            let name = path.rsplit('/').next().unwrap_or(path);
            let (file_id, place, is_log) = if let Some(base) = BaseFile::parse(name, 0) {
                (base.file_id, base.instant, false)
            } else if let Some(log) = LogFile::parse(name, 0).filter(|log| !log.is_cdc) {
                let place = match self.version {
                    TableVersion::Six => log.instant,
                    TableVersion::Eight | TableVersion::Nine => commit.end_time().clone(),
                };
                (log.file_id, place, true)
            } else {
                continue;
            };
            let group = self.groups.entry((partition.to_owned(), file_id));
            let group = group.or_default();
            // Version 6 may append to a log file again; the last commit knows its length.
            group.retain(|file| file.path != *path);
            group.push(LiveFile {
                path: path.clone(),
                place,
                is_log,
                commit: commit.clone(),
            });
        }
    }

    /// Leaves the newest base file of each group (there or not), and the logs over it.
    fn retain_latest(&mut self, timeline: &ActiveTimeline, folders: &DataFolders) {
        let visibility = Visibility::new(timeline, Horizon::Latest);
        let mut present: BTreeMap<GroupKey, InstantTime> = BTreeMap::new();
        for (partition, folder) in folders.iter() {
            for file in &folder.files {
                let Some(base) = BaseFile::parse(&file.name, 0) else {
                    continue;
                };
                if visibility.is_committed(&base.instant) {
                    let newest = present
                        .entry((partition.clone(), base.file_id))
                        .or_insert_with(|| base.instant.clone());
                    *newest = newest.clone().max(base.instant);
                }
            }
        }
        for (key, files) in &mut self.groups {
            let named = files.iter().filter(|file| !file.is_log);
            let newest = named.map(|file| &file.place).chain(present.get(key)).max();
            if let Some(newest) = newest.cloned() {
                files.retain(|file| file.place >= newest);
            }
        }
    }

    /// Compares the files with what their commits say of them.
    pub(super) async fn check(
        &self,
        storage: &Storage,
        timeline: &ActiveTimeline,
        memory: &MemoryBudget,
        folders: &DataFolders,
    ) -> Result<Vec<Problem>> {
        let mut problems = check_savepoints(timeline, folders).await?;
        let mut by_commit: BTreeMap<&Instant, Vec<&LiveFile>> = BTreeMap::new();
        for file in self.groups.values().flatten() {
            by_commit.entry(&file.commit).or_default().push(file);
        }
        for (commit, files) in by_commit {
            let metadata = timeline.read_metadata(commit).await?;
            let mut wrong = Vec::new();
            for file in files {
                let Some(found) = folders.find(&file.path) else {
                    let what = format!("{commit} names it, and it is not there: its rows are lost");
                    let missing = Problem::reported(Check::MissingFile, file.path.clone(), what);
                    problems.push(missing);
                    continue;
                };
                let size = found.size_bytes;
                let is_read = file.is_log || self.is_parquet;
                let measured = measure(storage, memory, &file.path, size, is_read).await?;
                match measured {
                    Err(what) => {
                        let stated = stat_of(&metadata, &file.path)
                            .and_then(|stat| stat.file_size_in_bytes)
                            .unwrap_or_default();
                        let what = format!("{what} ({size} bytes, {stated} by {commit})");
                        let broken = Problem::reported(Check::BrokenFile, file.path.clone(), what);
                        problems.push(broken);
                    }
                    Ok(measured) => wrong.push((file, measured)),
                }
            }
            let path = timeline.path_of(commit);
            problems.extend(self.statistics(&metadata, &path, wrong)?);
        }
        Ok(problems)
    }

    /// Findings about the statistics of one commit; the first one's repair writes the commit anew.
    fn statistics(
        &self,
        metadata: &CommitMetadata,
        path: &str,
        measured: Vec<(&LiveFile, Measured)>,
    ) -> Result<Vec<Problem>> {
        let mut mended = metadata.clone();
        let mut wrong = Vec::new();
        for (file, measured) in measured {
            // Version 6 counts what one write appended.
            let is_shared = self.version == TableVersion::Six && file.is_log;
            let stats = mended.partition_to_write_stats.values_mut().flatten();
            let mut own = stats.filter(|stat| stat.path.as_deref() == Some(file.path.as_str()));
            if let Some(stat) = own.next().filter(|_| !is_shared)
                && let Some(what) = set_statistics(stat, &measured)
            {
                wrong.push((file.path.clone(), what));
            }
        }
        if wrong.is_empty() {
            return Ok(Vec::new());
        }
        if self.version == TableVersion::Six {
            // Its commits are JSON, with fields of many releases: they are not written anew here.
            let report = |(file, what)| {
                let what = format!("{file}: {what}");
                Problem::reported(Check::Statistics, path.to_owned(), what)
            };
            return Ok(wrong.into_iter().map(report).collect());
        }
        let bytes = if path.ends_with(Action::ReplaceCommit.as_str()) {
            mended.encode_replace_avro()?
        } else {
            crate::timeline::metadata::Payload::encode_avro(&mended)?
        };
        let mut repair = Some(Repair::Overwrite {
            path: path.to_owned(),
            bytes: bytes.into(),
        });
        let problems = wrong.into_iter().map(|(file, what)| {
            Problem::repairable(
                Check::Statistics,
                path.to_owned(),
                format!("{file}: {what}"),
                "writes the commit with what the file holds",
                repair.take().unwrap_or(Repair::WithAnother),
            )
        });
        Ok(problems.collect())
    }
}

fn stat_of<'a>(metadata: &'a CommitMetadata, path: &str) -> Option<&'a WriteStat> {
    metadata
        .write_stats()
        .find(|stat| stat.path.as_deref() == Some(path))
}

/// Files that a savepoint protects.
async fn check_savepoints(
    timeline: &ActiveTimeline,
    folders: &DataFolders,
) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let savepoints = timeline
        .completed()
        .filter(|instant| instant.action == Action::Savepoint);
    for savepoint in savepoints {
        let metadata: SavepointMetadata = match timeline.read_payload(savepoint).await {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::Corrupt => continue,
            Err(error) => return Err(error),
        };
        for (partition, files) in &metadata.partition_metadata {
            let own = files.savepoint_data_file.iter();
            for name in own.filter(|name| is_of(name, &savepoint.time)) {
                let path = join_path(partition, name);
                if folders.find(&path).is_none() {
                    let what = format!("{savepoint} protects it, and it is not there");
                    problems.push(Problem::reported(Check::MissingFile, path, what));
                }
            }
        }
    }
    Ok(problems)
}
