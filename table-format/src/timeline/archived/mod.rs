//! The archived timeline: the completed instants that were moved away from the active one.
//!
//! Since version 8 it is a log-structured merge tree of Parquet files under numbered manifests; names of files tell which
//! begin times they hold, so that a question about a span of time opens few of them. Version 6 has log files, without any
//! such help. Spec: Hudi 1.2.0, "Timeline"; Java: ArchivedTimelineV1/V2, LSMTimeline.

pub(crate) mod legacy_entry;
pub(crate) mod legacy_log;
mod lsm_file;
pub(crate) mod lsm_rows;
pub(crate) mod manifest;
mod selection;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::config::{TableConfig, TableVersion};
use crate::error::Result;
use crate::file_group::join_path;
use crate::storage::Storage;
use crate::timeline::metadata::{CommitMetadata, Payload};
use crate::timeline::{Action, Instant, InstantTime};

pub use lsm_file::LsmFile;
use lsm_rows::LsmRows;
use manifest::{Manifest, ManifestEntry};
pub use selection::Selection;

/// Footers read side by side.
const FILES_AT_ONCE: usize = 8;

/// How much is read of an archived instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Times and action.
    Times,
    /// What commits wrote, too.
    Commits,
}

/// An archived instant with what was read of it.
#[derive(Debug, Clone)]
pub struct ArchivedInstant {
    /// The instant; always completed.
    pub instant: Instant,
    payload: ArchivedPayload,
}

#[derive(Debug, Clone)]
enum ArchivedPayload {
    /// The file of the completed instant; none when it was empty or not asked for.
    Bytes(Option<Bytes>),
    /// The same decoded: the archive of version 6 does not keep the bytes.
    Commit(Option<Box<CommitMetadata>>),
}

impl ArchivedInstant {
    fn of_bytes(instant: Instant, bytes: Option<Bytes>) -> Self {
        let payload = ArchivedPayload::Bytes(bytes);
        Self { instant, payload }
    }

    fn of_commit(instant: Instant, commit: Option<CommitMetadata>) -> Self {
        let payload = ArchivedPayload::Commit(commit.map(Box::new));
        Self { instant, payload }
    }

    /// The bytes of the completed file, where they are kept.
    pub(crate) fn into_bytes(self) -> (Instant, Option<Bytes>) {
        match self.payload {
            ArchivedPayload::Bytes(bytes) => (self.instant, bytes),
            ArchivedPayload::Commit(_) => (self.instant, None),
        }
    }

    /// What a commit, delta commit or replace commit wrote; empty where the file was.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are no commit's.
    pub fn into_commit(self) -> Result<(Instant, CommitMetadata)> {
        let metadata = match self.payload {
            ArchivedPayload::Bytes(None) => CommitMetadata::default(),
            ArchivedPayload::Bytes(Some(bytes)) => CommitMetadata::decode(&bytes)
                .map_err(|error| error.context(format!("archived {}", self.instant)))?,
            ArchivedPayload::Commit(commit) => commit.map(|commit| *commit).unwrap_or_default(),
        };
        Ok((self.instant, metadata))
    }
}

/// The archived instants of a table, as of one manifest.
#[derive(Debug, Clone)]
pub struct ArchivedTimeline {
    storage: Storage,
    dir: String,
    files: Files,
}

#[derive(Debug, Clone)]
enum Files {
    Tree(Manifest),
    Logs(Vec<String>),
}

impl ArchivedTimeline {
    /// Reads which files there are, and none of them.
    ///
    /// # Errors
    /// `Corrupt` when the manifest breaks its format; `Unavailable` when the store gives up.
    pub async fn load(storage: &Storage, config: &TableConfig) -> Result<Self> {
        let dir = config.archive_dir();
        let files = match config.version() {
            TableVersion::Six => Files::Logs(legacy_log::list(storage, &dir).await?),
            TableVersion::Eight | TableVersion::Nine => {
                Files::Tree(Manifest::load(storage, &dir).await?)
            }
        };
        Ok(Self {
            storage: storage.clone(),
            dir,
            files,
        })
    }

    /// The same without what cannot hold instants that the last run of an archiver has left on the active timeline: on
    /// version 6 each run writes a file, and nothing tells what is in the others but reading them.
    #[must_use]
    pub(crate) fn last_run(mut self) -> Self {
        if let Files::Logs(names) = &mut self.files {
            names.drain(..names.len().saturating_sub(1));
        }
        self
    }

    /// Whether nothing was archived yet.
    pub fn is_empty(&self) -> bool {
        match &self.files {
            Files::Tree(manifest) => manifest.entries.is_empty(),
            Files::Logs(names) => names.is_empty(),
        }
    }

    /// The instants that are wanted, by begin time, each once (a crashed archiver may have stored it twice). Files that
    /// cannot hold any are not opened, and commits are not read.
    ///
    /// # Errors
    /// `Corrupt` when a file breaks its format; `Conflict` when the archive was merged meanwhile; `Unavailable` when the
    /// store gives up.
    pub async fn instants(&self, selection: &Selection) -> Result<Vec<Instant>> {
        let mut found: BTreeMap<(InstantTime, Action), Instant> = BTreeMap::new();
        self.visit_all(Content::Times, selection, &mut |archived| {
            let instant = archived.instant;
            found.insert((instant.time.clone(), instant.action), instant);
            Ok(())
        })
        .await?;
        Ok(found.into_values().collect())
    }

    /// Those of the instants that began at these `times`, by begin time. Opens the files whose spans hold one of them.
    ///
    /// # Errors
    /// As [`ArchivedTimeline::instants`].
    pub async fn instants_at(&self, times: &BTreeSet<InstantTime>) -> Result<Vec<Instant>> {
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            return Ok(Vec::new());
        };
        let mut narrowed = self.clone();
        if let Files::Tree(manifest) = &mut narrowed.files {
            manifest.entries.retain(|entry| {
                let span = &entry.file;
                span.min <= span.max && times.range(&span.min..=&span.max).next().is_some()
            });
        }
        let selection = Selection::default()
            .begun_from(Some(first))
            .begun_by(Some(last));
        let mut instants = narrowed.instants(&selection).await?;
        instants.retain(|instant| times.contains(&instant.time));
        Ok(instants)
    }

    /// Hands out the instants that are wanted, with what commits wrote, file by file; nothing is kept.
    ///
    /// # Errors
    /// As [`ArchivedTimeline::instants`]; the error of `visit`.
    pub async fn visit(
        &self,
        selection: &Selection,
        mut visit: impl FnMut(ArchivedInstant) -> Result<()> + Send,
    ) -> Result<()> {
        self.visit_all(Content::Commits, selection, &mut visit)
            .await
    }

    /// The newest write, by begin time, of those that are wanted and that `accepts` takes. Reads from the newest file
    /// backwards, and no further than it must.
    ///
    /// # Errors
    /// As [`ArchivedTimeline::visit`]; the error of `accepts`.
    pub async fn newest_write(
        &self,
        selection: &Selection,
        mut accepts: impl FnMut(&Instant, &CommitMetadata) -> Result<bool> + Send,
    ) -> Result<Option<(Instant, CommitMetadata)>> {
        let mut newest: Option<(Instant, CommitMetadata)> = None;
        match &self.files {
            Files::Tree(manifest) => {
                let mut entries: Vec<&ManifestEntry> = manifest
                    .entries
                    .iter()
                    .filter(|entry| selection.may_hold(&entry.file))
                    .collect();
                entries.sort_unstable_by(|left, right| right.file.max.cmp(&left.file.max));
                for entry in entries {
                    let is_older = newest
                        .as_ref()
                        .is_some_and(|(newest, _)| entry.file.max <= newest.time);
                    if is_older {
                        break;
                    }
                    let rows = self.open(entry).await?;
                    for group in (0..rows.row_groups()).rev() {
                        let before = newest.as_ref().map(|(instant, _)| instant.time.clone());
                        let mut keep = keep_newest(&mut newest, &mut accepts);
                        rows.visit(Content::Commits, selection, Some(vec![group]), &mut keep)
                            .await?;
                        drop(keep);
                        if newest.as_ref().map(|(instant, _)| &instant.time) != before.as_ref() {
                            break;
                        }
                    }
                }
            }
            Files::Logs(names) => {
                for name in names.iter().rev() {
                    let mut keep = keep_newest(&mut newest, &mut accepts);
                    legacy_log::visit(&self.storage, &self.dir, name, selection, &mut keep).await?;
                    drop(keep);
                    if newest.is_some() {
                        break;
                    }
                }
            }
        }
        Ok(newest)
    }

    async fn visit_all(
        &self,
        content: Content,
        selection: &Selection,
        visit: &mut (dyn FnMut(ArchivedInstant) -> Result<()> + Send),
    ) -> Result<()> {
        match &self.files {
            Files::Tree(manifest) => {
                let mut entries: Vec<ManifestEntry> = manifest
                    .entries
                    .iter()
                    .filter(|entry| selection.may_hold(&entry.file))
                    .cloned()
                    .collect();
                entries.sort_unstable_by(|left, right| left.file.cmp(&right.file));
                let mut opened = stream::iter(entries)
                    .map(|entry| async move { self.open(&entry).await })
                    .buffered(FILES_AT_ONCE);
                while let Some(rows) = opened.try_next().await? {
                    let may_hold = rows
                        .newest_completion()
                        .is_none_or(|newest| selection.is_late_enough(&newest));
                    if may_hold {
                        rows.visit(content, selection, None, visit).await?;
                    }
                }
            }
            Files::Logs(names) => {
                for name in names {
                    legacy_log::visit(&self.storage, &self.dir, name, selection, visit).await?;
                }
            }
        }
        Ok(())
    }

    async fn open(&self, entry: &ManifestEntry) -> Result<LsmRows> {
        let path = join_path(&self.dir, &entry.file.to_string());
        LsmRows::open(&self.storage, path, entry.size_bytes).await
    }
}

/// Keeps the newest write that is accepted.
fn keep_newest<'a>(
    newest: &'a mut Option<(Instant, CommitMetadata)>,
    accepts: &'a mut (impl FnMut(&Instant, &CommitMetadata) -> Result<bool> + Send),
) -> impl FnMut(ArchivedInstant) -> Result<()> + Send + 'a {
    move |archived| {
        let is_newer = newest
            .as_ref()
            .is_none_or(|(newest, _)| archived.instant.time > newest.time);
        if archived.instant.action.is_write() && is_newer {
            let (instant, commit) = archived.into_commit()?;
            if accepts(&instant, &commit)? {
                *newest = Some((instant, commit));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
