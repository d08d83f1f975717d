//! The blocks of log files.
//!
//! A log file is a row of blocks and nothing else. Java: HoodieLogFormatWriter, HoodieLogFileReader,
//! HoodieLogBlock; the published specification differs in two places from the bytes: header and footer carry counts of
//! 4 bytes and no lengths, and the trailing length does not count itself.

mod header;
mod reader;
mod records;
mod writer;

use bytes::Bytes;

pub use header::{BlockHeader, HeaderKey};
pub use reader::{LogBlockReader, framed_block_length};
pub use records::AvroRecords;
pub use writer::{DataBlockBuilder, encode_delete_block, encode_rollback_block};

use crate::codec::delete_record::DeleteRecord;
use crate::error::Result;

const MAGIC: &[u8; 6] = b"#HUDI#";
/// The only version of the framing.
const FORMAT_VERSION: u32 = 1;
/// Version of the content of Avro data blocks and delete blocks that is written.
const CONTENT_VERSION: u32 = 3;
/// Bytes in front of what the block length counts: the magic and the length itself.
const PREFIX_LENGTH: u64 = 14;

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockKind {
    /// An order to the reader: undo the blocks of an instant.
    Command,
    /// Keys that are deleted.
    Delete,
    /// Bytes that are no block (a torn write); they are counted and skipped.
    Corrupt,
    /// Rows as Avro records.
    AvroData,
    /// Rows in an HFile, in the metadata table.
    HfileData,
    /// Rows in a Parquet file.
    ParquetData,
    /// Change data in Avro records.
    CdcData,
}

impl BlockKind {
    const ALL: [Self; 7] = [
        Self::Command,
        Self::Delete,
        Self::Corrupt,
        Self::AvroData,
        Self::HfileData,
        Self::ParquetData,
        Self::CdcData,
    ];

    fn from_ordinal(ordinal: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(ordinal).ok()?).copied()
    }

    fn ordinal(self) -> u32 {
        match self {
            Self::Command => 0,
            Self::Delete => 1,
            Self::Corrupt => 2,
            Self::AvroData => 3,
            Self::HfileData => 4,
            Self::ParquetData => 5,
            Self::CdcData => 6,
        }
    }
}

/// One block of a log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogBlock {
    /// What it holds.
    pub kind: BlockKind,
    /// Where it starts in the file.
    pub offset: u64,
    /// Its whole length, framing included.
    pub length: u64,
    /// Its header; empty for a corrupt block.
    pub header: BlockHeader,
    /// Its content as it stands in the file: a whole Parquet file or HFile for these kinds.
    pub content: Bytes,
}

impl LogBlock {
    /// The records of a block of Avro or change data, each a datum under the schema of the header.
    ///
    /// # Errors
    /// `Invalid` for another kind, `Corrupt` when the content is cut short, `Unsupported` for an unknown version.
    pub fn avro_records(&self) -> Result<AvroRecords<'_>> {
        AvroRecords::try_new(self)
    }

    /// The keys of a delete block.
    ///
    /// # Errors
    /// `Invalid` for another kind, `Corrupt` when the content breaks the format, `Unsupported` for content that only
    /// Java can read.
    pub fn delete_records(&self) -> Result<Vec<DeleteRecord>> {
        records::delete_records(self)
    }
}

#[cfg(test)]
mod tests;
