//! The records inside a block's content.
//!
//! Java: HoodieAvroDataBlock.RecordIterator, HoodieDeleteBlock#deserialize.

use bytes::Buf;

use super::{BlockKind, LogBlock};
use crate::codec::delete_record::{DeleteRecord, decode_delete_records};
use crate::error::{Error, Result};

/// The records of an Avro data block, as slices of its content.
#[derive(Debug, Clone)]
pub struct AvroRecords<'a> {
    rest: &'a [u8],
    left: u32,
    block_offset: u64,
}

impl<'a> AvroRecords<'a> {
    pub(super) fn try_new(block: &'a LogBlock) -> Result<Self> {
        if !matches!(block.kind, BlockKind::AvroData | BlockKind::CdcData) {
            return Err(Error::invalid(format!(
                "a block of kind {:?} holds no avro records",
                block.kind
            )));
        }
        let mut rest = &block.content[..];
        let (Ok(version), Ok(left)) = (rest.try_get_u32(), rest.try_get_u32()) else {
            return Err(cut_short(block.offset));
        };
        // Version 0 had no record count; 1 to 3 have the same layout.
        if !(1..=3).contains(&version) {
            let place = format!("log block at offset {}", block.offset);
            return Err(Error::unsupported(format!(
                "{place}: avro content of version {version}"
            )));
        }
        Ok(Self {
            rest,
            left,
            block_offset: block.offset,
        })
    }

    /// How many records are still to come, by the block's own count.
    pub fn remaining(&self) -> u32 {
        self.left
    }
}

impl<'a> Iterator for AvroRecords<'a> {
    type Item = Result<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let record = split_prefixed(&mut self.rest);
        if record.is_none() {
            self.left = 0;
        }
        Some(record.ok_or_else(|| cut_short(self.block_offset)))
    }
}

/// Takes a length of 4 bytes and as many bytes.
fn split_prefixed<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(rest.try_get_u32().ok()?).ok()?;
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}

fn cut_short(offset: u64) -> Error {
    Error::corrupt(
        "log block",
        format!("offset {offset}: the content ends within a record"),
    )
}

pub(super) fn delete_records(block: &LogBlock) -> Result<Vec<DeleteRecord>> {
    if block.kind != BlockKind::Delete {
        return Err(Error::invalid(format!(
            "a block of kind {:?} deletes no keys",
            block.kind
        )));
    }
    let mut rest = &block.content[..];
    match rest.try_get_u32() {
        Ok(3) => {
            let payload = split_prefixed(&mut rest).ok_or_else(|| cut_short(block.offset))?;
            let place = || format!("delete block at offset {}", block.offset);
            decode_delete_records(payload).map_err(|error| error.context(place()))
        }
        Ok(version) => Err(Error::unsupported(format!(
            "delete block at offset {}: content of version {version}, which only java can read; \
             compact the table with the engine that wrote it",
            block.offset
        ))),
        Err(_) => Err(cut_short(block.offset)),
    }
}
