//! From the bytes of a log file to its blocks.
//!
//! Java: HoodieLogFileReader#readBlock, #isBlockCorrupted, #createCorruptBlock. A block whose lengths do not agree, or
//! behind which neither another block nor the end follows, is corrupt up to the next magic; Hudi skips it in silence,
//! here it is handed out as [`BlockKind::Corrupt`] so that it can be counted.

use bytes::{Buf, Bytes};

use super::{BlockHeader, BlockKind, FORMAT_VERSION, HeaderKey, LogBlock, MAGIC, PREFIX_LENGTH};
use crate::error::{Error, Result};

/// The blocks of a log file, in order. After an error it ends.
#[derive(Debug, Clone)]
pub struct LogBlockReader {
    file: Bytes,
    offset: usize,
}

impl LogBlockReader {
    /// Reads the blocks of `file`, whose bytes are shared, not copied.
    pub fn new(file: Bytes) -> Self {
        Self { file, offset: 0 }
    }

    fn read_block(&mut self) -> Result<LogBlock> {
        let start = self.offset;
        let rest = self.file.slice(start..);
        if rest.len() < MAGIC.len() {
            // Too short for a magic: Java takes it for the end of the file.
            return Ok(self.corrupt_block());
        }
        if !rest.starts_with(MAGIC) {
            return Err(at(
                start,
                "no block starts here (the magic `#HUDI#` is missing)",
            ));
        }
        match framed_length(&rest) {
            Some(length) => {
                self.offset = start + length;
                parse(&rest.slice(..length), start)
            }
            None => Ok(self.corrupt_block()),
        }
    }

    /// Takes everything up to the next magic, or to the end.
    fn corrupt_block(&mut self) -> LogBlock {
        let start = self.offset;
        let rest = self.file.slice(start..);
        let behind = rest.get(MAGIC.len()..).unwrap_or_default();
        let next = behind
            .windows(MAGIC.len())
            .position(|window| window == MAGIC);
        let length = next.map_or(rest.len(), |position| position + MAGIC.len());
        self.offset = start + length;
        LogBlock {
            kind: BlockKind::Corrupt,
            offset: start as u64,
            length: length as u64,
            header: BlockHeader::default(),
            content: rest.slice(..length),
        }
    }
}

impl Iterator for LogBlockReader {
    type Item = Result<LogBlock>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.file.len() {
            return None;
        }
        let block = self.read_block();
        if block.is_err() {
            self.offset = self.file.len();
        }
        Some(block)
    }
}

/// The whole length of the block whose first bytes these are, by its own account; `None` when no block starts here, or not
/// enough of it is there.
pub fn framed_block_length(start: &[u8]) -> Option<u64> {
    let mut prefix = start.strip_prefix(MAGIC)?;
    prefix.try_get_u64().ok()?.checked_add(PREFIX_LENGTH)
}

fn at(offset: usize, message: impl std::fmt::Display) -> Error {
    Error::corrupt("log file", format!("offset {offset}: {message}"))
}

/// The whole length of the block at the start of `rest`; `None` when its frame is broken.
fn framed_length(rest: &Bytes) -> Option<usize> {
    let length = framed_block_length(rest)?;
    let counted = length - PREFIX_LENGTH;
    let length = usize::try_from(length).ok()?;
    let trailing_at = length.checked_sub(size_of::<u64>())?;
    let mut trailing = rest.get(trailing_at..length)?;
    if trailing
        .try_get_u64()
        .ok()?
        .checked_sub(MAGIC.len() as u64)?
        != counted
    {
        return None;
    }
    let behind = rest.get(length..)?;
    (behind.len() < MAGIC.len() || behind.starts_with(MAGIC)).then_some(length)
}

/// Reads a block whose frame holds.
fn parse(block: &Bytes, start: usize) -> Result<LogBlock> {
    let mut fields = Fields {
        rest: block.clone(),
        start,
        length: block.len(),
    };
    fields.take(PREFIX_LENGTH)?;
    let version = fields.number()?;
    if version != FORMAT_VERSION {
        let place = format!("log file: offset {start}");
        return Err(Error::unsupported(format!(
            "{place}: format version {version}; only 1 is known"
        )));
    }
    let ordinal = fields.number()?;
    let kind = BlockKind::from_ordinal(ordinal)
        .ok_or_else(|| at(start, format!("{ordinal} is not a kind of block")))?;
    let header = fields.header()?;
    let content_length = fields.long()?;
    let content = fields.take(content_length)?;
    // The footer has no keys of its own; what it holds is skipped.
    for _ in 0..fields.number()? {
        fields.number()?;
        let length = fields.number()?;
        fields.take(u64::from(length))?;
    }
    fields.long()?;
    if !fields.rest.is_empty() {
        return Err(at(
            fields.offset(),
            format!("{} bytes too many in the block", fields.rest.len()),
        ));
    }
    Ok(LogBlock {
        kind,
        offset: start as u64,
        length: block.len() as u64,
        header,
        content,
    })
}

/// The fields of a block, taken one by one.
struct Fields {
    rest: Bytes,
    start: usize,
    length: usize,
}

impl Fields {
    fn offset(&self) -> usize {
        self.start + self.length - self.rest.len()
    }

    fn take(&mut self, length: u64) -> Result<Bytes> {
        let left = self.rest.len();
        let fits = usize::try_from(length)
            .ok()
            .filter(|length| *length <= left);
        let length = fits.ok_or_else(|| {
            at(
                self.offset(),
                format!("{length} bytes are needed, the block has {left} left"),
            )
        })?;
        Ok(self.rest.split_to(length))
    }

    fn number(&mut self) -> Result<u32> {
        Ok(self.take(4)?.get_u32())
    }

    fn long(&mut self) -> Result<u64> {
        Ok(self.take(8)?.get_u64())
    }

    fn header(&mut self) -> Result<BlockHeader> {
        let mut header = BlockHeader::default();
        for _ in 0..self.number()? {
            let offset = self.offset();
            let ordinal = self.number()?;
            let key = HeaderKey::from_ordinal(ordinal)
                .ok_or_else(|| at(offset, format!("{ordinal} is not a header key")))?;
            let length = self.number()?;
            let text = self.take(u64::from(length))?;
            let text = std::str::from_utf8(&text);
            let text = text.map_err(|_| at(offset, format!("header {key:?} is not utf-8")))?;
            header.insert(key, text.to_owned());
        }
        Ok(header)
    }
}
