//! Savepoints: a commit whose files stay, and to which the table can be taken back.
//!
//! A savepoint bears the time of its commit and lists the files that show the table as of it; only what is listed is
//! protected (hazard 21). Spec: Hudi 1.2.0, "Savepoint and restore"; Java: SavepointActionExecutor.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::view::{list_partitions, with_archived_completions};
use crate::file_group::{BaseFile, Horizon, LogFile, Visibility};
use crate::service::Services;
use crate::service::cleaning::{
    Replaced, Version, Versions, file_name, groups_of, load_replaced, pending_compactions,
    planned_files,
};
use crate::timeline::metadata::{
    CleanMetadata, CleanerPlan, Payload, SavepointMetadata, SavepointPartitionMetadata,
};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime, State};
use crate::transaction::ServiceAction;

/// A savepoint of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Savepoint {
    /// Begin time of the commit.
    pub instant: InstantTime,
    /// When the savepoint was completed; `None` on version 6, which does not tell.
    pub completion: Option<InstantTime>,
    /// Who made it.
    pub made_by: String,
    /// When, in milliseconds since the epoch.
    pub made_at: i64,
    /// Why.
    pub comment: String,
    /// Number of partitions with files.
    pub partitions: usize,
    /// Number of files that it protects.
    pub files: usize,
}

/// Files by partition path.
type Files = BTreeMap<String, Vec<String>>;

/// The newest version that a savepoint lists of a file group, `(partition path, file id)`.
type Shown = HashMap<(String, String), InstantTime>;

impl Services {
    /// Makes a savepoint of a completed commit, the latest one if none is named.
    ///
    /// # Errors
    /// `NotFound` when there is no such commit; `AlreadyExists` when it has a savepoint; `Conflict` when files that show the
    /// table as of it have been cleaned away, or are about to be.
    pub async fn create_savepoint(
        &self,
        instant: Option<&InstantTime>,
        comment: &str,
    ) -> Result<Savepoint> {
        let (config, timeline) = self.load().await?;
        let commit = commit_of(&config, &timeline, instant)?;
        let existing = timeline.find(&commit.time, Action::Savepoint);
        if existing.is_some_and(|savepoint| savepoint.state == State::Completed) {
            let message = format!(
                "table {}: commit {} has a savepoint already",
                config.name(),
                commit.time
            );
            return Err(Error::new(ErrorKind::AlreadyExists, message));
        }
        let files = self.files_as_of(&config, &timeline, commit).await?;
        let metadata = SavepointMetadata {
            savepointed_by: "lakebed".to_owned(),
            savepointed_at: self.env.clock.now().timestamp_millis(),
            comments: comment.to_owned(),
            partition_metadata: partition_metadata(&files),
            ..SavepointMetadata::default()
        };
        let inflight = Instant {
            action: Action::Savepoint,
            state: State::Inflight,
            completion: None,
            ..commit.clone()
        };
        let mut action = ServiceAction::resume(&self.storage, &self.env, &config, &inflight);
        action.start(Bytes::new()).await?;
        let completed = action.complete(metadata.encode_avro()?).await?;
        if let Err(error) = self.check_not_cleaned(&config, &timeline, &files).await {
            self.delete_savepoint(&completed.time).await?;
            return Err(error);
        }
        tracing::info!(table = config.name(), instant = %completed.time, "savepoint made");
        Ok(savepoint(&completed, &metadata))
    }

    /// The savepoints, oldest first.
    ///
    /// # Errors
    /// `Corrupt` when one cannot be read; `Unavailable` when the store gives up.
    pub async fn savepoints(&self) -> Result<Vec<Savepoint>> {
        let (_, timeline) = self.load().await?;
        let mut savepoints = Vec::new();
        for instant in timeline
            .completed()
            .filter(|instant| instant.action == Action::Savepoint)
        {
            let metadata = timeline.read_payload(instant).await?;
            savepoints.push(savepoint(instant, &metadata));
        }
        Ok(savepoints)
    }

    /// Deletes a savepoint; the next clean may delete its files.
    ///
    /// # Errors
    /// `NotFound` when the commit has none.
    pub async fn delete_savepoint(&self, instant: &InstantTime) -> Result<()> {
        let (config, timeline) = self.load().await?;
        let Some(savepoint) = timeline.find(instant, Action::Savepoint) else {
            let message = format!("table {}: commit {instant} has no savepoint", config.name());
            return Err(Error::new(ErrorKind::NotFound, message));
        };
        let inflight = Instant {
            state: State::Inflight,
            completion: None,
            ..savepoint.clone()
        };
        // In this order: a completed savepoint without its inflight file would be one all the same.
        for state in [savepoint, &inflight] {
            self.storage.delete(&timeline.path_of(state)).await?;
        }
        tracing::info!(table = config.name(), %instant, "savepoint deleted");
        Ok(())
    }

    /// The files that show the table as of `commit`.
    async fn files_as_of(
        &self,
        config: &TableConfig,
        timeline: &ActiveTimeline,
        commit: &Instant,
    ) -> Result<Files> {
        let visibility = Visibility::new(timeline, Horizon::Latest);
        let compactions = pending_compactions(timeline).await?;
        let replaced = load_replaced(timeline).await?;
        let mut files = Files::new();
        let mut shown = Shown::new();
        let partitions = list_partitions(&self.storage).await?;
        let visibility =
            with_archived_completions(&self.storage, config, &partitions, &visibility).await?;
        for partition in partitions {
            let names = files.entry(partition.partition_path.clone()).or_default();
            for (file_id, versions) in
                groups_of(&partition, config.version(), &visibility, &compactions)
            {
                let key = (partition.partition_path.clone(), file_id);
                let is_gone = replaced.get(&key).is_some_and(|replaced_at| {
                    *replaced_at <= commit.time
                        && visibility.completion_of(replaced_at).unwrap_or(replaced_at)
                            <= commit.end_time()
                });
                if is_gone {
                    continue;
                }
                for (instant, version) in shown_versions(&versions, &visibility, commit) {
                    names.extend(version.files().map(str::to_owned));
                    shown.insert(key.clone(), instant.clone());
                }
            }
        }
        check_written_files(timeline, commit, &files, &replaced).await?;
        check_cleans(timeline, commit, &shown, &replaced).await?;
        Ok(files)
    }

    /// Fails when a clean that was not there in `before` takes one of the files.
    async fn check_not_cleaned(
        &self,
        config: &TableConfig,
        before: &ActiveTimeline,
        files: &Files,
    ) -> Result<()> {
        let now = ActiveTimeline::load(&self.storage, config).await?;
        let cleans = now.instants().iter().filter(|instant| {
            instant.action == Action::Clean && before.find(&instant.time, Action::Clean).is_none()
        });
        for clean in cleans {
            let taken = deleted_by(&now, clean).await?.files;
            let is_ours = |partition: &String, name: &String| {
                files
                    .get(partition)
                    .is_some_and(|names| names.contains(name))
            };
            if taken
                .iter()
                .any(|(partition, names)| names.iter().any(|name| is_ours(partition, name)))
            {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "table {}: clean {} began meanwhile and takes files of the savepoint; try again",
                        config.name(),
                        clean.time
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// The completed write that is meant.
fn commit_of<'a>(
    config: &TableConfig,
    timeline: &'a ActiveTimeline,
    instant: Option<&InstantTime>,
) -> Result<&'a Instant> {
    let found = match instant {
        Some(time) => timeline
            .completed_writes()
            .find(|write| write.time == *time),
        None => timeline.completed_writes_by_completion().pop(),
    };
    found.ok_or_else(|| {
        let what = instant.map_or_else(
            || "it has no completed commit yet".to_owned(),
            |time| {
                format!(
                    "it has no completed commit {time} (see `lakebed table timeline`; archived ones cannot have a savepoint)"
                )
            },
        );
        Error::new(ErrorKind::NotFound, format!("table {}: {what}", config.name()))
    })
}

/// What a group contributes: its files as of the commit by begin times, which is what queries go by and what Hudi lists, and
/// as of its completion, which is what a restore goes by from version 8 on. The two differ only where writes overlap.
///
/// Java: AbstractTableFileSystemView#getLatestFileSlicesBeforeOrOn. Where a compaction is pending Hudi lists the logs of its
/// slice only; here the slice before comes along, without which they say nothing.
fn shown_versions(
    versions: &Versions,
    visibility: &Visibility,
    commit: &Instant,
) -> Vec<(InstantTime, Version)> {
    let is_begun = |instant: &InstantTime| *instant <= commit.time;
    let is_complete = |instant: &InstantTime| {
        visibility.is_committed(instant)
            && visibility
                .completion_of(instant)
                .is_some_and(|completion| completion <= commit.end_time())
    };
    let newest_base = |is_shown: &dyn Fn(&InstantTime) -> bool| {
        versions
            .iter()
            .rfind(|(instant, version)| !version.base_files.is_empty() && is_shown(instant))
            .map(|(instant, _)| instant)
    };
    // Where one of the two sees no base file, it needs all logs.
    let from = newest_base(&is_begun).min(newest_base(&is_complete));
    let until = commit.end_time().max(&commit.time).clone();
    versions
        .range(..=until)
        .filter(|(instant, _)| from.is_none_or(|from| *instant >= from))
        .map(|(instant, version)| {
            let mut version = version.clone();
            if !is_begun(instant) && !is_complete(instant) {
                version.base_files.clear();
            }
            (instant.clone(), version)
        })
        .filter(|(_, version)| version.files().next().is_some())
        .collect()
}

/// The commit's own files must be among those listed.
async fn check_written_files(
    timeline: &ActiveTimeline,
    commit: &Instant,
    files: &Files,
    replaced: &Replaced,
) -> Result<()> {
    let metadata = timeline.read_metadata(commit).await?;
    for (partition, stats) in &metadata.partition_to_write_stats {
        let listed = files.get(partition);
        for path in stats.iter().filter_map(|stat| stat.path.as_deref()) {
            let name = file_name(path);
            let Some((file_id, _)) = group_of(name) else {
                continue;
            };
            let is_replaced = replaced
                .get(&(partition.clone(), file_id))
                .is_some_and(|replaced_at| *replaced_at <= commit.time);
            let is_listed = listed.is_some_and(|names| names.iter().any(|listed| listed == name));
            if !is_listed && !is_replaced {
                return Err(cleaned_away(timeline, commit, path));
            }
        }
    }
    Ok(())
}

/// No clean since the commit may have taken what shows the table as of it.
async fn check_cleans(
    timeline: &ActiveTimeline,
    commit: &Instant,
    shown: &Shown,
    replaced: &Replaced,
) -> Result<()> {
    let cleans = timeline
        .instants()
        .iter()
        .filter(|instant| instant.action == Action::Clean && instant.time > commit.time);
    for clean in cleans {
        let deleted = deleted_by(timeline, clean).await?;
        if !deleted.earliest.is_empty() {
            if commit.time.as_str() < deleted.earliest.as_str() {
                let what = format!("what is older than {}", deleted.earliest);
                return Err(cleaned_away(timeline, commit, &what));
            }
            continue;
        }
        // A clean by versions: of each group that it took from, the commit's version must be there still.
        for (partition, names) in &deleted.files {
            for name in names {
                let Some((file_id, instant)) = group_of(name) else {
                    continue;
                };
                let key = (partition.clone(), file_id);
                let is_lost =
                    instant <= commit.time && shown.get(&key).is_none_or(|shown| *shown < instant);
                let is_replaced = replaced
                    .get(&key)
                    .is_some_and(|replaced_at| *replaced_at <= commit.time);
                if is_lost && !is_replaced {
                    return Err(cleaned_away(timeline, commit, name));
                }
            }
        }
    }
    Ok(())
}

fn cleaned_away(timeline: &ActiveTimeline, commit: &Instant, what: &str) -> Error {
    let message = format!(
        "{}: {what} has been cleaned away; make a savepoint of a later commit",
        timeline.path_of(commit)
    );
    Error::new(ErrorKind::Conflict, message)
}

/// What a clean deleted or is going to delete.
struct Deleted {
    earliest: String,
    files: Files,
}

async fn deleted_by(timeline: &ActiveTimeline, clean: &Instant) -> Result<Deleted> {
    if clean.state == State::Completed {
        let metadata: CleanMetadata = timeline.read_payload(clean).await?;
        let partitions = metadata.partition_metadata.into_iter();
        let names = |name: String| file_name(&name).to_owned();
        return Ok(Deleted {
            earliest: metadata.earliest_commit_to_retain,
            files: partitions
                .map(|(path, files)| {
                    let deleted = files.success_delete_files.into_iter().map(names);
                    (path, deleted.collect())
                })
                .collect(),
        });
    }
    let plan: CleanerPlan = timeline.read_plan(clean).await?;
    let earliest = plan.earliest_instant_to_retain.as_ref();
    Ok(Deleted {
        earliest: earliest.map_or_else(String::new, |earliest| earliest.timestamp.clone()),
        files: planned_files(&plan)?,
    })
}

/// File id and instant of a data file.
fn group_of(name: &str) -> Option<(String, InstantTime)> {
    let base = BaseFile::parse(name, 0).map(|base| (base.file_id, base.instant));
    base.or_else(|| LogFile::parse(name, 0).map(|log| (log.file_id, log.instant)))
}

/// Partitions without files are listed too, as Hudi does.
fn partition_metadata(files: &Files) -> BTreeMap<String, SavepointPartitionMetadata> {
    let partitions = files.iter();
    partitions
        .map(|(partition, names)| {
            let metadata = SavepointPartitionMetadata {
                partition_path: partition.clone(),
                savepoint_data_file: names.clone(),
            };
            (partition.clone(), metadata)
        })
        .collect()
}

fn savepoint(instant: &Instant, metadata: &SavepointMetadata) -> Savepoint {
    let partitions = metadata.partition_metadata.values();
    let files = partitions.map(|partition| partition.savepoint_data_file.len());
    Savepoint {
        instant: instant.time.clone(),
        completion: instant.completion.clone(),
        made_by: metadata.savepointed_by.clone(),
        made_at: metadata.savepointed_at,
        comment: metadata.comments.clone(),
        partitions: files.clone().filter(|&files| files > 0).count(),
        files: files.sum(),
    }
}
