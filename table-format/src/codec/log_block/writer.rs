//! From records to the bytes of a block.
//!
//! Java: HoodieLogFormatWriter#appendBlocks. Every block carries the instant; no positions are written, since a wrong
//! one makes Hudi change the wrong row.

use super::{BlockKind, CONTENT_VERSION, FORMAT_VERSION, HeaderKey, MAGIC, PREFIX_LENGTH};
use crate::codec::delete_record::{DeleteRecord, encode_delete_records};
use crate::error::{Error, Result};

/// The content of a block must fit a Java array.
const CONTENT_LENGTH_MAX: usize = i32::MAX as usize;

/// The only command there is. Java: HoodieCommandBlockTypeEnum.
const ROLLBACK_COMMAND: &str = "0";

/// Collects rows into an Avro data block, in place: finishing copies nothing.
#[derive(Debug)]
pub struct DataBlockBuilder {
    frame: Frame,
    count_at: usize,
    count: u32,
}

impl DataBlockBuilder {
    /// A block of the delta commit `instant`; `schema_json` is the schema of the rows with meta columns.
    ///
    /// # Errors
    /// `Invalid` for a schema that does not fit a block.
    pub fn try_new(instant: &str, schema_json: &str) -> Result<Self> {
        Self::of_kind(BlockKind::AvroData, instant, schema_json, None)
    }

    /// The same for a block of a log compaction, made of the blocks of these instants (a list with commas).
    ///
    /// # Errors
    /// As [`DataBlockBuilder::try_new`].
    pub fn of_compacted(instant: &str, schema_json: &str, made_of: &str) -> Result<Self> {
        Self::of_kind(BlockKind::AvroData, instant, schema_json, Some(made_of))
    }

    /// A block of change data; `schema_json` is the schema of the changes.
    ///
    /// # Errors
    /// As [`DataBlockBuilder::try_new`].
    pub fn of_changes(instant: &str, schema_json: &str) -> Result<Self> {
        Self::of_kind(BlockKind::CdcData, instant, schema_json, None)
    }

    fn of_kind(
        kind: BlockKind,
        instant: &str,
        schema_json: &str,
        made_of: Option<&str>,
    ) -> Result<Self> {
        let mut header = vec![
            (HeaderKey::InstantTime, instant),
            (HeaderKey::Schema, schema_json),
        ];
        header.extend(made_of.map(|times| (HeaderKey::CompactedBlockTimes, times)));
        let mut frame = Frame::try_new(kind, &header)?;
        frame
            .bytes
            .extend_from_slice(&CONTENT_VERSION.to_be_bytes());
        let count_at = frame.bytes.len();
        frame.bytes.extend_from_slice(&0_u32.to_be_bytes());
        Ok(Self {
            frame,
            count_at,
            count: 0,
        })
    }

    /// Appends one row: `encode` appends its datum to what it is given.
    ///
    /// # Errors
    /// The error of `encode`, after which the block is as before; `Invalid` when the block is full (2 GiB).
    pub fn append(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let bytes = &mut self.frame.bytes;
        let start = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        let body = bytes.len();
        let appended = encode(bytes).and_then(|()| {
            let length = java_length(bytes.len() - body)?;
            java_length(bytes.len() - self.frame.content_start)?;
            put_at(bytes, start, &length.to_be_bytes())
        });
        match appended {
            Ok(()) => self.count += 1,
            Err(_) => bytes.truncate(start),
        }
        appended
    }

    /// Number of rows.
    pub fn rows(&self) -> u32 {
        self.count
    }

    /// Bytes of the block so far.
    pub fn len(&self) -> usize {
        self.frame.bytes.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes of the block.
    ///
    /// # Errors
    /// `Internal` when the block has lost its own head.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        put_at(
            &mut self.frame.bytes,
            self.count_at,
            &self.count.to_be_bytes(),
        )?;
        self.frame.finish()
    }
}

/// The bytes of a delete block of the delta commit `instant`; `made_of` names the instants of the blocks that a log compaction
/// has made it of.
///
/// # Errors
/// `Invalid` for ordering values that have no place in a delete record, or more than 2 GiB of them.
pub fn encode_delete_block(
    instant: &str,
    made_of: Option<&str>,
    records: &[DeleteRecord],
) -> Result<Vec<u8>> {
    let payload = encode_delete_records(records)?;
    let length = java_length(payload.len() + 8)? - 8;
    let mut header = vec![(HeaderKey::InstantTime, instant)];
    header.extend(made_of.map(|times| (HeaderKey::CompactedBlockTimes, times)));
    let mut frame = Frame::try_new(BlockKind::Delete, &header)?;
    frame
        .bytes
        .extend_from_slice(&CONTENT_VERSION.to_be_bytes());
    frame.bytes.extend_from_slice(&length.to_be_bytes());
    frame.bytes.extend_from_slice(&payload);
    frame.finish()
}

/// The bytes of a command block: the blocks of `target` do not count any more, says the rollback `instant`.
///
/// # Errors
/// `Invalid` for times that do not fit a block.
pub fn encode_rollback_block(instant: &str, target: &str) -> Result<Vec<u8>> {
    let header = [
        (HeaderKey::CommandBlockType, ROLLBACK_COMMAND),
        (HeaderKey::InstantTime, instant),
        (HeaderKey::TargetInstantTime, target),
    ];
    Frame::try_new(BlockKind::Command, &header)?.finish()
}

/// A block under construction: head and content so far, with room for the lengths.
#[derive(Debug)]
struct Frame {
    bytes: Vec<u8>,
    content_start: usize,
}

impl Frame {
    fn try_new(kind: BlockKind, header: &[(HeaderKey, &str)]) -> Result<Self> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
        bytes.extend_from_slice(&kind.ordinal().to_be_bytes());
        bytes.extend_from_slice(&java_length(header.len())?.to_be_bytes());
        for (key, text) in header {
            bytes.extend_from_slice(&key.ordinal().to_be_bytes());
            bytes.extend_from_slice(&java_length(text.len())?.to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&[0; 8]);
        let content_start = bytes.len();
        Ok(Self {
            bytes,
            content_start,
        })
    }

    /// Sets the lengths and appends the empty footer and the trailing length, which does not count itself.
    fn finish(mut self) -> Result<Vec<u8>> {
        let content = (self.bytes.len() - self.content_start) as u64;
        put_at(
            &mut self.bytes,
            self.content_start - 8,
            &content.to_be_bytes(),
        )?;
        self.bytes.extend_from_slice(&0_u32.to_be_bytes());
        let trailing = self.bytes.len() as u64;
        self.bytes.extend_from_slice(&trailing.to_be_bytes());
        let counted = self.bytes.len() as u64 - PREFIX_LENGTH;
        put_at(&mut self.bytes, MAGIC.len(), &counted.to_be_bytes())?;
        Ok(self.bytes)
    }
}

fn put_at(bytes: &mut [u8], at: usize, value: &[u8]) -> Result<()> {
    let place = bytes.get_mut(at..at + value.len());
    let place = place
        .ok_or_else(|| Error::internal("log block: the head is shorter than it was written"))?;
    place.copy_from_slice(value);
    Ok(())
}

fn java_length(length: usize) -> Result<u32> {
    match u32::try_from(length) {
        Ok(fits) if length <= CONTENT_LENGTH_MAX => Ok(fits),
        _ => Err(Error::invalid(format!(
            "log block: {length} bytes in one block; flush it before 2 GiB"
        ))),
    }
}
