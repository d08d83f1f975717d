//! Adds a file to the archive of version 6: a log file, with a block of records per batch of instants.
//!
//! Java: TimelineArchiverV1, ArchivedTimelineV1. Each file is new: stores that cannot append know no other way, and a reader
//! takes all files of the folder.

use crate::codec::log_block::DataBlockBuilder;
use crate::env::{Env, Reservation, run_on_cpu};
use crate::error::Result;
use crate::file_group::{FileUpload, join_path};
use crate::storage::Storage;
use crate::timeline::archived::legacy_entry::{ArchivedEntry, ENTRY_SCHEMA};
use crate::timeline::archived::legacy_log;
use crate::timeline::{Instant, InstantTime};

/// A file of the archive under construction; it appears when [`LegacyWriter::finish`] returns.
#[derive(Debug)]
pub(super) struct LegacyWriter {
    upload: FileUpload,
    memory: Reservation,
    is_empty: bool,
}

impl LegacyWriter {
    /// A writer of the next file in `dir`.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn next(storage: &Storage, env: &Env, dir: &str) -> Result<Self> {
        let names = legacy_log::list(storage, dir).await?;
        let last = names.last().and_then(|name| legacy_log::number(name));
        let path = join_path(dir, &legacy_log::file_name(last.unwrap_or(0) + 1));
        storage.delete_staging(&path).await?;
        Ok(Self {
            upload: FileUpload::new(storage.clone(), path),
            memory: env.memory.book(0),
            is_empty: true,
        })
    }

    /// Appends a block with the files of instants, in all of their states.
    ///
    /// # Errors
    /// `Corrupt` when a file is not what its name says; what the store says.
    pub(super) async fn write(&mut self, files: Vec<(Instant, bytes::Bytes)>) -> Result<()> {
        let Some((first, _)) = files.first() else {
            return Ok(());
        };
        let time: InstantTime = first.time.clone();
        let block = run_on_cpu(move || {
            let mut block = DataBlockBuilder::try_new(time.as_str(), ENTRY_SCHEMA.trim_end())?;
            for (instant, bytes) in &files {
                let entry = ArchivedEntry::of_file(instant, bytes)
                    .map_err(|error| error.context(instant.file_name()))?;
                block.append(|datum| entry.encode(datum))?;
            }
            block.finish()
        })
        .await?;
        self.is_empty = false;
        self.upload.write(block).await?;
        self.memory.resize(self.upload.buffered_bytes());
        Ok(())
    }

    /// Publishes the file, if anything was written.
    ///
    /// # Errors
    /// `AlreadyExists` when somebody else archives at the same time; what the store says.
    pub(super) async fn finish(self) -> Result<()> {
        if self.is_empty {
            return Ok(());
        }
        self.upload.finish().await.map(drop)
    }
}
