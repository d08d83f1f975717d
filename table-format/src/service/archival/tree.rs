//! Changes of the archive: a new file, a merge of files, the removal of what no reader needs.
//!
//! Every change is a new manifest and then a new number in `_version_`: before the number nothing of it counts. Java:
//! LSMTimelineWriter#updateManifest, #compactAndClean. The caller holds the table's lock, if the table has other writers.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::lsm_writer::{LsmWriter, Row, conform};
use super::options::ArchivalOptions;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::join_path;
use crate::storage::Storage;
use crate::timeline::archived::lsm_rows::{
    self, ACTION, COMPLETION_TIME, INSTANT_TIME, LsmRows, METADATA, PLAN, VERSION,
};
use crate::timeline::archived::manifest::{
    Manifest, ManifestEntry, VERSION_FILE, current_number, manifest_name, manifest_number,
};
use crate::timeline::archived::{LsmFile, Selection};

const LEVEL_MAX: u8 = 9;

/// The archive of a table, open for changes.
#[derive(Debug)]
pub(super) struct ArchiveTree<'a> {
    storage: &'a Storage,
    env: &'a Env,
    dir: String,
    manifest: Manifest,
}

impl<'a> ArchiveTree<'a> {
    /// Reads the current manifest.
    pub(super) async fn load(storage: &'a Storage, env: &'a Env, dir: String) -> Result<Self> {
        let manifest = Manifest::load(storage, &dir).await?;
        Ok(Self {
            storage,
            env,
            dir,
            manifest,
        })
    }

    /// A writer of a new file. What a crashed run left under its name goes first.
    pub(super) async fn writer(&self, file: &LsmFile) -> Result<LsmWriter> {
        let path = self.path(&file.to_string());
        if self.manifest.contains(file) {
            let message = format!("{path} is part of the archive already; archive again");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        if self.storage.exists(&path).await? {
            self.delete_with_checksum(&file.to_string()).await?;
        }
        self.storage.delete_staging(&path).await?;
        LsmWriter::try_new(self.storage, self.env, path)
    }

    /// Makes `file` part of the archive, in place of those that it was merged from.
    pub(super) async fn publish(
        &mut self,
        file: LsmFile,
        size_bytes: u64,
        merged: &BTreeSet<LsmFile>,
    ) -> Result<()> {
        let mut next = self.manifest.clone();
        next.number += 1;
        next.entries.retain(|entry| !merged.contains(&entry.file));
        next.entries.push(ManifestEntry { file, size_bytes });
        let name = manifest_name(next.number);
        if self.storage.exists(&self.path(&name)).await? {
            // A run that died before `_version_` left it, unless another archiver is at work this very moment.
            if current_number(self.storage, &self.dir).await? != self.manifest.number {
                return Err(self.conflict());
            }
            self.delete_with_checksum(&name).await?;
        }
        self.storage
            .create(&self.path(&name), next.encode()?)
            .await
            .map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => self.conflict().with_source(error),
                _ => error,
            })?;
        let number = Bytes::from(next.number.to_string());
        self.storage
            .overwrite(&self.path(VERSION_FILE), number)
            .await?;
        self.manifest = next;
        Ok(())
    }

    fn conflict(&self) -> Error {
        let place = self.storage.location_of(&self.dir);
        let message = format!("another process archives into {place}; try again");
        Error::new(ErrorKind::Conflict, message)
    }

    /// Merges the oldest files of each level that has enough of them into one of the next level; then removes old
    /// manifests and what no manifest names. Returns how many merges it took.
    pub(super) async fn merge(&mut self, options: &ArchivalOptions) -> Result<usize> {
        let mut merges = 0;
        for level in 0..LEVEL_MAX {
            let sources = self.merge_sources(level, options);
            if sources.len() < 2 {
                break;
            }
            self.merge_files(level, sources).await?;
            merges += 1;
        }
        // Java: as many more manifests stay as levels were merged.
        self.remove_unreferenced(options.manifests_kept + merges)
            .await?;
        Ok(merges)
    }

    fn merge_sources(&self, level: u8, options: &ArchivalOptions) -> Vec<ManifestEntry> {
        let of_level = |entry: &&ManifestEntry| entry.file.level == level;
        let mut entries: Vec<&ManifestEntry> =
            self.manifest.entries.iter().filter(of_level).collect();
        if entries.len() < options.merge_files {
            return Vec::new();
        }
        entries.sort_unstable_by(|left, right| left.file.cmp(&right.file));
        let mut sources: Vec<ManifestEntry> = Vec::new();
        let mut bytes = 0;
        for entry in entries {
            bytes += entry.size_bytes;
            sources.push(entry.clone());
            if sources.len() >= options.merge_files {
                break;
            }
            if bytes > options.merge_bytes_max {
                if sources.len() > 1 {
                    break;
                }
                // A file that is large enough alone stays as it is.
                sources.clear();
                bytes = 0;
            }
        }
        sources
    }

    /// Its files, by begin time.
    pub(super) fn files(&self) -> Vec<ManifestEntry> {
        let mut entries = self.manifest.entries.clone();
        entries.sort_unstable_by(|left, right| left.file.cmp(&right.file));
        entries
    }

    /// The instants of a file with the bytes of their files, in batches.
    ///
    /// # Errors
    /// `Corrupt` when the file breaks its format; what the store says.
    pub(super) async fn rows(
        &self,
        entry: &ManifestEntry,
    ) -> Result<BoxStream<'static, Result<Vec<Row>>>> {
        let path = self.path(&entry.file.to_string());
        let rows = LsmRows::open(self.storage, path, entry.size_bytes).await?;
        let columns = [INSTANT_TIME, COMPLETION_TIME, ACTION, METADATA, PLAN];
        let batches = rows.batches(&columns, &Selection::default(), None)?;
        let rows = batches.map(|batch| -> Result<Vec<Row>> {
            let rows = lsm_rows::with_plans(&batch?)?.into_iter();
            Ok(rows
                .map(|(instant, metadata, plan)| Row {
                    instant,
                    metadata,
                    plan,
                })
                .collect())
        });
        Ok(rows.boxed())
    }

    async fn merge_files(&mut self, level: u8, sources: Vec<ManifestEntry>) -> Result<()> {
        let spans = || sources.iter().map(|entry| &entry.file);
        let (Some(min), Some(max)) = (
            spans().map(|file| &file.min).min(),
            spans().map(|file| &file.max).max(),
        ) else {
            return Ok(());
        };
        let merged = LsmFile {
            min: min.clone(),
            max: max.clone(),
            level: level + 1,
        };
        let mut writer = self.writer(&merged).await?;
        let columns = [
            INSTANT_TIME,
            COMPLETION_TIME,
            ACTION,
            METADATA,
            PLAN,
            VERSION,
        ];
        for source in &sources {
            let path = self.path(&source.file.to_string());
            let rows = LsmRows::open(self.storage, path.clone(), source.size_bytes).await?;
            let mut batches = rows.batches(&columns, &Selection::default(), None)?;
            while let Some(batch) = batches.try_next().await? {
                let batch = conform(&batch).map_err(|error| error.context(path.clone()))?;
                writer.write(batch).await?;
            }
        }
        let size_bytes = writer.finish().await?;
        let merged_files = sources.into_iter().map(|entry| entry.file).collect();
        self.publish(merged, size_bytes, &merged_files).await
    }

    /// Keeps the newest manifests and the files that they name.
    async fn remove_unreferenced(&self, manifests_kept: usize) -> Result<()> {
        let listing = self.storage.list(&self.dir).await?;
        let mut numbers: Vec<u64> = listing
            .files
            .iter()
            .filter_map(|file| manifest_number(&file.name))
            .collect();
        if numbers.len() <= manifests_kept {
            return Ok(());
        }
        numbers.sort_unstable_by(|left, right| right.cmp(left));
        let (kept, old) = numbers.split_at(manifests_kept);
        let mut referenced = BTreeSet::new();
        for number in kept {
            let manifest = Manifest::read(self.storage, &self.dir, *number).await?;
            referenced.extend(manifest.entries.into_iter().map(|entry| entry.file));
        }
        // Manifests first: none may name a file that is gone.
        let old = old.iter().map(|number| manifest_name(*number));
        let unnamed = listing.files.iter().filter(|file| {
            file.name
                .parse::<LsmFile>()
                .is_ok_and(|parsed| !referenced.contains(&parsed))
        });
        let names: BTreeSet<&str> = listing
            .files
            .iter()
            .map(|file| file.name.as_str())
            .collect();
        for name in old.chain(unnamed.map(|file| file.name.clone())) {
            self.storage.delete(&self.path(&name)).await?;
            let checksum = checksum_of(&name);
            if names.contains(checksum.as_str()) {
                self.storage.delete(&self.path(&checksum)).await?;
            }
        }
        Ok(())
    }

    async fn delete_with_checksum(&self, name: &str) -> Result<()> {
        self.storage.delete(&self.path(name)).await?;
        self.storage.delete(&self.path(&checksum_of(name))).await
    }

    fn path(&self, name: &str) -> String {
        join_path(&self.dir, name)
    }
}

/// The file that Hadoop keeps beside each of its own on a local disk. It refuses a file that does not fit its checksum.
pub(super) fn checksum_of(name: &str) -> String {
    format!(".{name}.crc")
}
