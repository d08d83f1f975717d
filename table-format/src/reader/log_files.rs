//! The blocks in the log files of a slice.
//!
//! Which blocks count is known only when all headers were seen. Small logs are read once and kept; of larger ones no more
//! than a window, or one block, is in memory at a time, and what counts is read again.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use crate::codec::log_block::{LogBlock, LogBlockReader, framed_block_length};
use crate::env::{MemoryBudget, Reservation};
use crate::error::{Error, Result};
use crate::file_group::FileSlice;
use crate::storage::Storage;

/// Logs up to this part of the memory are kept.
const KEPT_SHARE: u64 = 8;
/// Log files fetched at a time when they are kept.
const FILES_AT_ONCE: usize = 4;
/// Bytes fetched at a time when they are not.
const WINDOW_BYTES: u64 = 4 << 20;
/// Bytes behind a block that tell whether it ends where it should: the magic of the next one.
const BEHIND_BYTES: u64 = 6;

/// The log files of one slice.
#[derive(Debug)]
pub(super) struct LogFiles {
    storage: Storage,
    memory: MemoryBudget,
    /// Paths and lengths, in the order in which they count.
    files: Vec<(String, u64)>,
    keeps_contents: bool,
    window_bytes: u64,
}

impl LogFiles {
    pub(super) fn of(storage: Storage, slice: &FileSlice, memory: &MemoryBudget) -> Self {
        let files: Vec<(String, u64)> = slice
            .log_files
            .iter()
            .map(|file| (slice.path_of(&file.to_string()), file.size_bytes))
            .collect();
        let log_bytes: u64 = files.iter().map(|(_, size_bytes)| size_bytes).sum();
        Self {
            storage,
            memory: memory.clone(),
            files,
            keeps_contents: log_bytes <= memory.ceiling_bytes() / KEPT_SHARE,
            window_bytes: WINDOW_BYTES,
        }
    }

    /// The blocks of all files with the paths of these, without their contents unless these are kept, and what is kept.
    pub(super) async fn scan(&self) -> Result<(Vec<(String, LogBlock)>, Reservation)> {
        let mut kept = self.memory.book(0);
        let mut found = Vec::new();
        if self.keeps_contents {
            let paths: Vec<String> = self.files.iter().map(|(path, _)| path.clone()).collect();
            let mut files = futures::stream::iter(paths)
                .map(|path| async move {
                    let bytes = self.storage.read(&path).await?;
                    Ok::<_, Error>((path, bytes))
                })
                .buffered(FILES_AT_ONCE);
            while let Some((path, bytes)) = files.try_next().await? {
                kept.resize(kept.bytes() + bytes.len() as u64);
                for block in LogBlockReader::new(bytes) {
                    found.push((path.clone(), block.map_err(|error| reading(&path, error))?));
                }
            }
        } else {
            for (path, size_bytes) in &self.files {
                let blocks = LogWindows::open(&self.storage, &self.memory, path, *size_bytes);
                let mut blocks = LogWindows {
                    window_bytes: self.window_bytes,
                    ..blocks
                };
                while let Some(mut block) = blocks.next().await? {
                    block.content = Bytes::new();
                    found.push((path.clone(), block));
                }
            }
        }
        Ok((found, kept))
    }

    /// A block with its content.
    pub(super) async fn with_content(&self, path: &str, block: LogBlock) -> Result<LogBlock> {
        if self.keeps_contents {
            return Ok(block);
        }
        let range = block.offset..block.offset + block.length;
        let bytes = self.storage.read_range(path, range).await?;
        let found = LogBlockReader::new(bytes).next().transpose();
        let found = found.map_err(|error| reading(path, error))?;
        let same = found.filter(|found| found.length == block.length && found.kind == block.kind);
        let same = same.ok_or_else(|| {
            let message = format!("the block at offset {} is gone", block.offset);
            Error::corrupt(path, message)
        })?;
        Ok(LogBlock {
            offset: block.offset,
            ..same
        })
    }
}

/// The blocks of a log file, which is read window by window.
pub(crate) struct LogWindows<'a> {
    storage: &'a Storage,
    path: &'a str,
    size_bytes: u64,
    window_bytes: u64,
    /// Where the window starts, which is where the next block does.
    offset: u64,
    window: Bytes,
    memory: Reservation,
}

impl<'a> LogWindows<'a> {
    /// A log file of this length; what is read of it is booked in `memory`.
    pub(crate) fn open(
        storage: &'a Storage,
        memory: &MemoryBudget,
        path: &'a str,
        size_bytes: u64,
    ) -> Self {
        Self {
            storage,
            path,
            size_bytes,
            window_bytes: WINDOW_BYTES,
            offset: 0,
            window: Bytes::new(),
            memory: memory.book(0),
        }
    }

    /// The next block with its content; `None` at the end.
    ///
    /// # Errors
    /// `Corrupt` when the file breaks its format; what the store says.
    pub(crate) async fn next(&mut self) -> Result<Option<LogBlock>> {
        let left = self.size_bytes.saturating_sub(self.offset);
        if left == 0 {
            return Ok(None);
        }
        let window_bytes = self.window_bytes;
        self.fill(window_bytes.min(left), window_bytes / 2).await?;
        // A frame that does not fit the file is broken: the next block is then searched for in all that is left.
        let framed = framed_block_length(&self.window).filter(|length| *length <= left);
        let needed = framed.map_or(left, |length| (length + BEHIND_BYTES).min(left));
        self.fill(needed, needed).await?;
        let mut block = self.first()?;
        if block.length != framed.unwrap_or(block.length) {
            self.fill(left, left).await?;
            block = self.first()?;
        }
        self.window = self.window.slice(usize_of(block.length)?..);
        block.offset = self.offset;
        self.offset += block.length;
        Ok(Some(block))
    }

    /// The block at the start of the window.
    fn first(&self) -> Result<LogBlock> {
        let first = LogBlockReader::new(self.window.clone()).next();
        let first = first.ok_or_else(|| Error::internal("an empty window of a log file"))?;
        first.map_err(|error| {
            let place = format!("reading {}, from offset {}", self.path, self.offset);
            error.context(place)
        })
    }

    /// Fetches `bytes` from the offset on, unless `enough` of them are here.
    async fn fill(&mut self, bytes: u64, enough: u64) -> Result<()> {
        let has = self.window.len() as u64;
        if has >= bytes.min(enough) || self.offset + has >= self.size_bytes {
            return Ok(());
        }
        self.memory.resize(bytes);
        let range = self.offset..self.offset + bytes;
        self.window = self.storage.read_range(self.path, range).await?;
        Ok(())
    }
}

fn usize_of(length: u64) -> Result<usize> {
    usize::try_from(length).map_err(|_| Error::internal("a block longer than the address space"))
}

fn reading(path: &str, error: Error) -> Error {
    error.context(format!("reading {path}"))
}

#[cfg(test)]
mod tests;
