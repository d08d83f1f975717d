//! The files of an active instant, in all of its states: what is stored of them, and their removal.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::lsm_writer::Row;
use super::tree::checksum_of;
use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::join_path;
use crate::storage::Storage;
use crate::timeline::{Action, Instant, InstantTime, State};

/// Files deleted side by side, where the order does not matter.
const DELETES_AT_ONCE: usize = 8;

/// A completed instant and the files of its earlier states. Java: ActiveAction.
#[derive(Debug, Clone)]
pub(super) struct ActiveFiles {
    pub(super) completed: Instant,
    /// Completed files of the same action under another completion time, as a retried commit may leave.
    duplicates: Vec<Instant>,
    requested: Option<Instant>,
    inflight: Option<Instant>,
}

/// The timeline folder, file by file.
#[derive(Debug)]
pub(super) struct TimelineFolder {
    dir: String,
    names: BTreeSet<String>,
}

impl TimelineFolder {
    /// Lists the folder.
    pub(super) async fn load(storage: &Storage, config: &TableConfig) -> Result<Self> {
        let dir = config.timeline_dir();
        let listing = storage.list(&dir).await?;
        let names = listing.files.into_iter().map(|file| file.name).collect();
        Ok(Self { dir, names })
    }

    /// The files of these completed instants, by begin time.
    pub(super) fn files_of(&self, instants: &[Instant]) -> Vec<ActiveFiles> {
        let mut states: BTreeMap<(InstantTime, Action), Vec<Instant>> = BTreeMap::new();
        for instant in self
            .names
            .iter()
            .filter_map(|name| Instant::parse_file_name(name))
        {
            let key = (instant.time.clone(), instant.action.comparable());
            states.entry(key).or_default().push(instant);
        }
        let mut files: Vec<ActiveFiles> = instants
            .iter()
            .map(|completed| {
                let key = (completed.time.clone(), completed.action.comparable());
                let of_state = |state| {
                    let states = states.get(&key).into_iter().flatten();
                    states
                        .into_iter()
                        .find(|instant| instant.state == state)
                        .cloned()
                };
                let duplicates =
                    states.get(&key).into_iter().flatten().filter(|instant| {
                        instant.state == State::Completed && *instant != completed
                    });
                ActiveFiles {
                    completed: completed.clone(),
                    duplicates: duplicates.cloned().collect(),
                    requested: of_state(State::Requested),
                    inflight: of_state(State::Inflight),
                }
            })
            .collect();
        files.sort_unstable_by(|left, right| left.completed.cmp(&right.completed));
        files
    }

    /// What the archive keeps of an instant.
    ///
    /// # Errors
    /// `Conflict` when the completed file is gone: somebody else archives. What the store says.
    pub(super) async fn row(&self, storage: &Storage, files: &ActiveFiles) -> Result<Row> {
        let path = self.path(&files.completed.file_name());
        let metadata = storage.read(&path).await.map_err(|error| {
            if error.kind() == ErrorKind::NotFound {
                let message = format!("{path} is gone: another process archives; try again");
                Error::new(ErrorKind::Conflict, message).with_source(error)
            } else {
                error
            }
        })?;
        Ok(Row {
            instant: files.completed.clone(),
            metadata: Some(metadata).filter(|bytes| !bytes.is_empty()),
            plan: self.plan(storage, files).await?,
        })
    }

    /// The files of an instant in all of its states, as the archive of version 6 keeps them.
    ///
    /// # Errors
    /// As [`TimelineFolder::row`].
    pub(super) async fn states(
        &self,
        storage: &Storage,
        files: &ActiveFiles,
    ) -> Result<Vec<(Instant, Bytes)>> {
        let mut states = Vec::new();
        for pending in [&files.requested, &files.inflight].into_iter().flatten() {
            let bytes = self.content(storage, Some(pending)).await?;
            states.push((pending.clone(), bytes.unwrap_or_default()));
        }
        let row = self.row(storage, files).await?;
        states.push((row.instant, row.metadata.unwrap_or_default()));
        Ok(states)
    }

    /// Plans lie in requested files; of a replace commit the inflight file counts, when it says anything.
    /// Java: MetadataConversionUtils#createLSMTimelineInstant.
    async fn plan(&self, storage: &Storage, files: &ActiveFiles) -> Result<Option<Bytes>> {
        let Some(pending) = files.requested.as_ref().or(files.inflight.as_ref()) else {
            return Ok(None);
        };
        match pending.action {
            Action::Clean => self.content(storage, Some(pending)).await,
            Action::Compaction | Action::LogCompaction => {
                self.content(storage, files.requested.as_ref()).await
            }
            Action::ReplaceCommit | Action::Clustering => {
                match self.content(storage, files.inflight.as_ref()).await? {
                    None => self.content(storage, files.requested.as_ref()).await,
                    inflight => Ok(inflight),
                }
            }
            Action::Commit
            | Action::DeltaCommit
            | Action::Rollback
            | Action::Restore
            | Action::Savepoint
            | Action::Indexing => Ok(None),
        }
    }

    /// The bytes of a file, if it has any.
    async fn content(&self, storage: &Storage, file: Option<&Instant>) -> Result<Option<Bytes>> {
        let Some(file) = file else {
            return Ok(None);
        };
        let bytes = storage
            .read_if_exists(&self.path(&file.file_name()))
            .await?;
        Ok(bytes.filter(|bytes| !bytes.is_empty()))
    }

    /// Deletes the files of archived instants: first all requested and inflight ones, since a pending file without its
    /// completed one looks like work to be done; then the completed ones from the oldest on, one by one, so that readers never
    /// see a gap. Java: TimelineArchiverV2#deleteArchivedActions.
    pub(super) async fn delete(&self, storage: &Storage, files: &[ActiveFiles]) -> Result<()> {
        let pending: Vec<String> = files
            .iter()
            .flat_map(|files| [&files.requested, &files.inflight])
            .flatten()
            .map(Instant::file_name)
            .collect();
        stream::iter(pending)
            .map(|name| async move { self.delete_file(storage, &name).await })
            .buffer_unordered(DELETES_AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        for files in files {
            for instant in files.duplicates.iter().chain([&files.completed]) {
                self.delete_file(storage, &instant.file_name()).await?;
            }
        }
        Ok(())
    }

    async fn delete_file(&self, storage: &Storage, name: &str) -> Result<()> {
        let checksum = checksum_of(name);
        if self.names.contains(&checksum) {
            storage.delete(&self.path(&checksum)).await?;
        }
        storage.delete(&self.path(name)).await
    }

    fn path(&self, name: &str) -> String {
        join_path(&self.dir, name)
    }
}
