//! The archive as the archiver writes it, in the form of the table's version.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};

use super::active_files::{ActiveFiles, TimelineFolder};
use super::legacy_writer::LegacyWriter;
use super::lsm_writer;
use super::options::ArchivalOptions;
use super::tree::ArchiveTree;
use crate::config::TableConfig;
use crate::env::Env;
use crate::error::Result;
use crate::storage::Storage;
use crate::timeline::archived::LsmFile;

/// The archive of a table, open for changes.
#[derive(Debug)]
pub(super) enum Archive<'a> {
    /// Since version 8.
    Tree(ArchiveTree<'a>),
    /// Version 6: log files in this folder.
    Logs(String),
}

impl<'a> Archive<'a> {
    /// The archive of this table.
    ///
    /// # Errors
    /// `Corrupt` when its manifest breaks its format; what the store says.
    pub(super) async fn load(
        storage: &'a Storage,
        env: &'a Env,
        config: &TableConfig,
    ) -> Result<Self> {
        let dir = config.archive_dir();
        if config.version().archives_into_tree() {
            Ok(Self::Tree(ArchiveTree::load(storage, env, dir).await?))
        } else {
            Ok(Self::Logs(dir))
        }
    }

    /// Writes a new file of the archive and makes it count. A batch of instants is held at a time.
    ///
    /// # Errors
    /// `Conflict` when somebody else archives; what the store says.
    pub(super) async fn store(
        &mut self,
        storage: &Storage,
        env: &Env,
        folder: &TimelineFolder,
        files: &[ActiveFiles],
        batch: usize,
    ) -> Result<()> {
        match self {
            Self::Tree(tree) => store_in_tree(tree, storage, env, folder, files, batch).await,
            Self::Logs(dir) => {
                let mut writer = LegacyWriter::next(storage, env, dir).await?;
                for files in files.chunks(batch) {
                    let mut states = Vec::new();
                    for files in files {
                        states.extend(folder.states(storage, files).await?);
                    }
                    let bytes = states.iter().map(|(_, bytes)| bytes.len() as u64).sum();
                    let _held = env.memory.book(bytes);
                    writer.write(states).await?;
                }
                writer.finish().await
            }
        }
    }

    /// Merges what has become many small files; returns the number of merges. Version 6 merges none.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn merge(&mut self, options: &ArchivalOptions) -> Result<usize> {
        match self {
            Self::Tree(tree) => tree.merge(options).await,
            Self::Logs(_) => Ok(0),
        }
    }
}

async fn store_in_tree(
    tree: &mut ArchiveTree<'_>,
    storage: &Storage,
    env: &Env,
    folder: &TimelineFolder,
    files: &[ActiveFiles],
    batch: usize,
) -> Result<()> {
    let (Some(first), Some(last)) = (files.first(), files.last()) else {
        return Ok(());
    };
    let file = LsmFile {
        min: first.completed.time.clone(),
        max: last.completed.time.clone(),
        level: 0,
    };
    let mut writer = tree.writer(&file).await?;
    for files in files.chunks(batch) {
        let rows: Vec<_> = stream::iter(files)
            .map(|files| folder.row(storage, files))
            .buffered(batch)
            .try_collect()
            .await?;
        let bytes = rows.iter().map(lsm_writer::Row::bytes).sum();
        let _held = env.memory.book(bytes);
        writer.write(lsm_writer::batch(&rows)?).await?;
    }
    let size_bytes = writer.finish().await?;
    tree.publish(file, size_bytes, &BTreeSet::new()).await
}
