//! Carries an archive over into the form of another table version, beside the one that is there.
//!
//! Java: SevenToEightUpgradeHandler#upgradeToLSMTimeline, EightToSevenDowngradeHandler#downgradeFromLSMTimeline. Whatever an
//! earlier attempt has left in the new place goes first, so that this may be repeated until the table's version changes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::TryStreamExt;

use super::legacy_writer::LegacyWriter;
use super::lsm_writer::{Row, batch};
use super::options::ArchivalOptions;
use super::tree::ArchiveTree;
use crate::config::TableConfig;
use crate::error::Result;
use crate::file_group::join_path;
use crate::service::Services;
use crate::timeline::archived::legacy_entry::ArchivedEntry;
use crate::timeline::archived::manifest::{VERSION_FILE, manifest_number};
use crate::timeline::archived::{LsmFile, legacy_log};
use crate::timeline::metadata::{Payload, RequestedReplaceMetadata};
use crate::timeline::{Action, Instant, InstantTime, State};
use crate::transaction::shifted;

impl Services {
    /// Writes the archive of the table as it is under `from` in the form and place of `to`; returns the number of instants.
    ///
    /// # Errors
    /// `Corrupt` when the archive breaks its format; what the store says.
    pub(in crate::service) async fn copy_archive(
        &self,
        from: &TableConfig,
        to: &TableConfig,
    ) -> Result<usize> {
        self.delete_archive(to).await?;
        if to.version().archives_into_tree() {
            self.logs_to_tree(from, to).await
        } else {
            self.tree_to_logs(from, to).await
        }
    }

    /// Deletes the archive that a table of the version of `config` has; other files stay.
    ///
    /// # Errors
    /// What the store says.
    pub(in crate::service) async fn delete_archive(&self, config: &TableConfig) -> Result<()> {
        let dir = config.archive_dir();
        for file in self.storage.list(&dir).await?.files {
            let name = file
                .name
                .strip_suffix(".crc")
                .map_or(file.name.as_str(), |of| of.strip_prefix('.').unwrap_or(of));
            let is_archive = legacy_log::number(name).is_some()
                || name.parse::<LsmFile>().is_ok()
                || manifest_number(name).is_some()
                || name == VERSION_FILE;
            if is_archive {
                self.storage.delete(&join_path(&dir, &file.name)).await?;
            }
        }
        Ok(())
    }

    async fn logs_to_tree(&self, from: &TableConfig, to: &TableConfig) -> Result<usize> {
        let options = ArchivalOptions::from_properties(&self.properties)?;
        let (storage, env, dir) = (&self.storage, &self.env, from.archive_dir());
        let mut tree = ArchiveTree::load(storage, env, to.archive_dir()).await?;
        let mut instants = BTreeSet::new();
        for name in legacy_log::list(storage, &dir).await? {
            let entries = legacy_log::read_entries(storage, &dir, &name).await?;
            let mut rows = rows_of(entries)?;
            // A crashed archiver stores instants twice.
            rows.retain(|row| instants.insert((row.instant.time.clone(), row.instant.action)));
            let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
                continue;
            };
            let file = LsmFile {
                min: first.instant.time.clone(),
                max: last.instant.time.clone(),
                level: 0,
            };
            let _held = env.memory.book(rows.iter().map(Row::bytes).sum());
            let mut writer = tree.writer(&file).await?;
            for rows in rows.chunks(options.batch) {
                writer.write(batch(rows)?).await?;
            }
            let size_bytes = writer.finish().await?;
            tree.publish(file, size_bytes, &BTreeSet::new()).await?;
            tree.merge(&options).await?;
        }
        Ok(instants.len())
    }

    async fn tree_to_logs(&self, from: &TableConfig, to: &TableConfig) -> Result<usize> {
        let (storage, env) = (&self.storage, &self.env);
        let tree = ArchiveTree::load(storage, env, from.archive_dir()).await?;
        let mut writer = LegacyWriter::next(storage, env, &to.archive_dir()).await?;
        let mut instants = 0;
        for file in tree.files() {
            let mut rows = tree.rows(&file).await?;
            while let Some(rows) = rows.try_next().await? {
                instants += rows.len();
                let mut states = Vec::with_capacity(rows.len());
                for row in rows {
                    states.extend(states_of(row));
                }
                writer.write(states).await?;
            }
        }
        writer.finish().await?;
        Ok(instants)
    }
}

/// The completed instants among these states, by begin time, each with its plan.
fn rows_of(entries: Vec<ArchivedEntry>) -> Result<Vec<Row>> {
    let mut completed: BTreeMap<(InstantTime, Action), Row> = BTreeMap::new();
    let mut plans: BTreeMap<(InstantTime, Action), Bytes> = BTreeMap::new();
    for entry in entries {
        let Some(mut instant) = entry.instant()? else {
            continue;
        };
        let key = (instant.time.clone(), instant.action.comparable());
        if instant.state != State::Completed {
            // Of a replace commit the inflight file counts, when it says anything; it comes after the requested one.
            if let Some(plan) = entry.avro_file()?.filter(|_| has_plan(instant.action)) {
                plans.insert(key, plan);
            }
            continue;
        }
        instant.action = instant.action.comparable();
        instant.completion = Some(completion_of(&instant.time, entry.transition_time())?);
        let metadata = entry.avro_file()?;
        let row = Row {
            instant,
            metadata,
            plan: None,
        };
        completed.entry(key).or_insert(row);
    }
    let rows = completed.into_iter().map(|(key, mut row)| {
        row.plan = plans.remove(&key);
        row
    });
    Ok(rows.collect())
}

/// The archive of version 6 may keep when an instant completed. Otherwise it did before anything else began, which is how
/// version 6 sees it.
fn completion_of(begin: &InstantTime, kept: Option<InstantTime>) -> Result<InstantTime> {
    let earliest = shifted(begin, 1)?;
    Ok(kept.filter(|kept| *kept > earliest).unwrap_or(earliest))
}

fn has_plan(action: Action) -> bool {
    matches!(
        action,
        Action::Clean
            | Action::Compaction
            | Action::LogCompaction
            | Action::ReplaceCommit
            | Action::Clustering
    )
}

/// The files that an instant had on a timeline of version 6, as far as the tree keeps them.
fn states_of(row: Row) -> Vec<(Instant, Bytes)> {
    let mut states = Vec::new();
    if let Some(plan) = row.plan {
        let action = match row.instant.action {
            Action::Commit => Some(Action::Compaction),
            Action::DeltaCommit => Some(Action::LogCompaction),
            Action::ReplaceCommit => is_replace_plan(&plan).then_some(Action::ReplaceCommit),
            other => Some(other),
        };
        states.extend(action.map(|action| {
            let requested = Instant {
                action,
                state: State::Requested,
                completion: None,
                ..row.instant.clone()
            };
            (requested, plan)
        }));
    }
    states.push((row.instant, row.metadata.unwrap_or_default()));
    states
}

/// The tree keeps the requested file of a replace commit, or in its place the inflight one, which is a commit's.
fn is_replace_plan(bytes: &Bytes) -> bool {
    RequestedReplaceMetadata::decode(bytes)
        .is_ok_and(|plan| plan.clustering_plan.is_some() || plan.operation_type.is_some())
}
