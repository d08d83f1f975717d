//! The slices that a plan means, looked up anew: their files may be gone, or a log may have been completed just before the
//! plan without being seen by whoever made it.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt, TryStreamExt, stream};

use crate::config::{TableConfig, TableVersion};
use crate::error::{Error, Result};
use crate::file_group::view::{PartitionFiles, file_groups, with_archived_completions};
use crate::file_group::{BaseFile, FileSlice, Horizon, LogFile, Visibility, join_path};
use crate::service::rewriting::written_by;
use crate::storage::Storage;
use crate::timeline::metadata::{CompactionOperation, CompactionPlan};
use crate::timeline::{ActiveTimeline, Instant, InstantTime};

/// Partitions listed at a time.
const LISTINGS_AT_ONCE: usize = 16;

/// What a plan's execution begins with.
#[derive(Debug)]
pub(super) struct Inputs {
    /// The slices to merge, in the order of the plan.
    pub(super) slices: Vec<FileSlice>,
    /// Files that an earlier attempt has left, by path.
    pub(super) debris: Vec<String>,
}

impl Inputs {
    /// Lists the partitions of the plan and finds its files.
    ///
    /// # Errors
    /// `Corrupt` when a file of the plan is gone, or the plan leaves out the base file of a slice.
    pub(super) async fn find(
        storage: &Storage,
        config: &TableConfig,
        timeline: &ActiveTimeline,
        plan: &CompactionPlan,
        pending: &Instant,
    ) -> Result<Self> {
        let time = &pending.time;
        let operations = plan.operations.as_deref().unwrap_or_default();
        let mut by_partition: BTreeMap<&str, Vec<(usize, &CompactionOperation)>> = BTreeMap::new();
        for (place, operation) in operations.iter().enumerate() {
            let partition = operation.partition_path.as_deref().unwrap_or_default();
            by_partition
                .entry(partition)
                .or_default()
                .push((place, operation));
        }
        let listings: Vec<_> = stream::iter(by_partition)
            .map(|(partition, operations)| async move {
                let files = storage.list(partition).await?.files;
                let partition_path = partition.to_owned();
                Ok::<_, Error>((
                    PartitionFiles {
                        partition_path,
                        files,
                    },
                    operations,
                ))
            })
            .buffer_unordered(LISTINGS_AT_ONCE)
            .try_collect()
            .await?;
        let visibility = Visibility::new(timeline, Horizon::Latest);
        let mut slices: Vec<(usize, FileSlice)> = Vec::with_capacity(operations.len());
        let mut debris = Vec::new();
        for (partition, operations) in listings {
            debris.extend(written_by(&partition, pending));
            let one = std::slice::from_ref(&partition);
            let visibility = with_archived_completions(storage, config, one, &visibility).await?;
            let lookup = Lookup {
                groups: file_groups(&partition, config.version(), &visibility),
                sizes: sizes(&partition),
                partition_path: &partition.partition_path,
                version: config.version(),
                visibility: &visibility,
                time,
            };
            for (place, operation) in operations {
                slices.push((place, lookup.slice_of(operation)?));
            }
        }
        slices.sort_by_key(|(place, _)| *place);
        Ok(Self {
            slices: slices.into_iter().map(|(_, slice)| slice).collect(),
            debris,
        })
    }
}

fn sizes(partition: &PartitionFiles) -> HashMap<&str, u64> {
    let files = partition.files.iter();
    files
        .map(|file| (file.name.as_str(), file.size_bytes))
        .collect()
}

/// The files of one partition.
struct Lookup<'a> {
    groups: BTreeMap<String, Vec<FileSlice>>,
    sizes: HashMap<&'a str, u64>,
    partition_path: &'a str,
    version: TableVersion,
    visibility: &'a Visibility,
    time: &'a InstantTime,
}

impl Lookup<'_> {
    /// The slice that an operation means: the plan's files, and no base file that the plan does not know.
    fn slice_of(&self, operation: &CompactionOperation) -> Result<FileSlice> {
        let place = |name: &str| join_path(self.partition_path, name);
        let file_id = operation.file_id.clone().unwrap_or_default();
        let newest = self.groups.get(&file_id).and_then(|slices| {
            slices
                .iter()
                .rev()
                .find(|slice| slice.base_instant < *self.time)
        });
        let base_file = operation
            .data_file_path
            .as_deref()
            .map(file_name)
            .filter(|name| !name.is_empty())
            .map(|name| {
                let size = self.size_of(name)?;
                BaseFile::parse(name, size)
                    .ok_or_else(|| Error::corrupt(place(name), "the plan names it as a base file"))
            })
            .transpose()?;
        if let Some(newest) = newest
            && newest.base_file != base_file
        {
            let named = |file: &Option<BaseFile>| {
                file.as_ref().map_or("none".to_owned(), ToString::to_string)
            };
            let message = format!(
                "the base file of file group {file_id} is {}, the plan says {}: rows would be lost; \
                 delete the plan from the timeline and plan anew",
                named(&newest.base_file),
                named(&base_file)
            );
            return Err(Error::corrupt(place(""), message));
        }
        let mut log_files = Vec::new();
        for path in operation.delta_file_paths.iter().flatten() {
            let name = file_name(path);
            let log = LogFile::parse(name, self.size_of(name)?);
            log_files.push(
                log.ok_or_else(|| Error::corrupt(place(name), "the plan names it as a log file"))?,
            );
        }
        if let Some(newest) = newest {
            log_files.extend(self.left_out(newest, &log_files));
        }
        let base_instant = base_file.as_ref().map(|file| file.instant.clone());
        let base_instant = base_instant
            .or_else(|| {
                operation
                    .base_instant_time
                    .as_deref()
                    .and_then(|time| time.parse().ok())
            })
            .or_else(|| log_files.first().map(|log| log.instant.clone()))
            .ok_or_else(|| Error::corrupt(&file_id, "the plan names no file of the group"))?;
        Ok(FileSlice {
            partition_path: self.partition_path.to_owned(),
            file_id,
            base_instant,
            base_file,
            log_files: self.in_order(log_files),
        })
    }

    /// Logs that were completed before the plan and are not in it. The new base file takes their place too, so they are
    /// merged into it; left out, their rows would be lost (hazard 18).
    fn left_out(&self, newest: &FileSlice, planned: &[LogFile]) -> Vec<LogFile> {
        let logs = newest.log_files.iter().filter(|log| {
            let completed = self.visibility.completion_of(&log.instant);
            completed.is_some_and(|completed| completed < self.time) && !planned.contains(log)
        });
        let logs: Vec<LogFile> = logs.cloned().collect();
        for log in &logs {
            tracing::warn!(%log, instant = %self.time, "the plan leaves out a log that was completed before it; merging it too");
        }
        logs
    }

    /// As readers merge them.
    fn in_order(&self, mut logs: Vec<LogFile>) -> Vec<LogFile> {
        let place = |log: &LogFile| match self.version {
            TableVersion::Six => log.instant.clone(),
            TableVersion::Eight | TableVersion::Nine => self
                .visibility
                .completion_of(&log.instant)
                .unwrap_or(&log.instant)
                .clone(),
        };
        logs.sort_by_cached_key(|log| {
            (
                place(log),
                log.instant.clone(),
                log.version,
                log.write_token.clone(),
            )
        });
        logs
    }

    fn size_of(&self, name: &str) -> Result<u64> {
        self.sizes.get(name).copied().ok_or_else(|| {
            let place = join_path(self.partition_path, name);
            let message = "the plan names it, but it is gone; delete the plan from the timeline and plan anew";
            Error::corrupt(place, message)
        })
    }
}

/// Plans of version 1 hold whole paths.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
