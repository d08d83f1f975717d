//! The keys in a log file, in the order in which they were logged.
//!
//! Log files are read window by window, and of their records no more than the wanted columns are decoded.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::codec::avro::RecordDecoder;
use crate::codec::log_block::{BlockKind, LogBlock};
use crate::config::TableVersion;
use crate::env::MemoryBudget;
use crate::error::{Error, Result};
use crate::file_group::{FileSlice, LogFile, Visibility};
use crate::reader::LogWindows;
use crate::storage::Storage;

/// Bytes of records that are decoded at a time.
const PART_BYTES: u64 = 4 << 20;

/// Where logs are read from, and what is booked in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogSource<'a> {
    pub(crate) storage: &'a Storage,
    pub(crate) memory: &'a MemoryBudget,
}

/// What a log says of keys.
#[derive(Debug)]
pub(crate) enum LogEntry<'a> {
    /// The wanted columns of rows, as far as the rows have them.
    Records(&'a RecordBatch),
    /// A key that was deleted.
    Delete(&'a str),
}

/// Which blocks of a slice's logs count. Files are chosen by their names already, but those of version 6 hold blocks of
/// several instants, failed ones among them.
#[derive(Debug, Default)]
pub(crate) struct CountedBlocks {
    visibility: Option<Arc<Visibility>>,
    /// Instants that a command undoes.
    undone: BTreeSet<String>,
}

impl CountedBlocks {
    /// Those that `visibility` shows, if they are judged one by one.
    ///
    /// # Errors
    /// `Corrupt` when a log breaks its format; what the store says.
    pub(crate) async fn of(
        source: LogSource<'_>,
        version: TableVersion,
        slice: &FileSlice,
        visibility: &Arc<Visibility>,
    ) -> Result<Self> {
        let mut counted = Self::default();
        if !version.shares_logs() {
            return Ok(counted);
        }
        counted.visibility = Some(Arc::clone(visibility));
        for log in &slice.log_files {
            let path = slice.path_of(&log.to_string());
            let mut blocks = source.blocks(&path, log);
            while let Some(block) = blocks.next().await? {
                let target = block.header.target_instant_time();
                counted.undone.extend(target.map(str::to_owned));
            }
        }
        Ok(counted)
    }

    fn has(&self, block: &LogBlock) -> Result<bool> {
        let Some(visibility) = &self.visibility else {
            return Ok(true);
        };
        let Some(instant) = block.header.instant_time() else {
            return Ok(true);
        };
        Ok(!self.undone.contains(instant) && visibility.is_committed(&instant.parse()?))
    }
}

impl LogSource<'_> {
    fn blocks<'a>(&'a self, path: &'a str, log: &LogFile) -> LogWindows<'a> {
        LogWindows::open(self.storage, self.memory, path, log.size_bytes)
    }

    /// Reads the logs of a slice and passes on the columns `wanted` of their rows, and the keys that they delete.
    ///
    /// # Errors
    /// `Corrupt` when a log breaks its format; what the store says.
    pub(crate) async fn read(
        self,
        slice: &FileSlice,
        wanted: &[&str],
        counted: &CountedBlocks,
        mut visit: impl FnMut(LogEntry<'_>),
    ) -> Result<()> {
        for log in &slice.log_files {
            let path = slice.path_of(&log.to_string());
            let mut blocks = self.blocks(&path, log);
            while let Some(block) = blocks.next().await? {
                if counted.has(&block)? {
                    visit_block(&block, wanted, &mut visit)
                        .map_err(|error| error.context(format!("reading {path}")))?;
                }
            }
        }
        Ok(())
    }
}

fn visit_block(
    block: &LogBlock,
    wanted: &[&str],
    visit: &mut impl FnMut(LogEntry<'_>),
) -> Result<()> {
    if block.header.compacted_block_times().next().is_some() {
        // A log compaction repeats what blocks before it say, and may stand behind later ones.
        return Ok(());
    }
    match block.kind {
        BlockKind::AvroData => {
            let schema = block
                .header
                .schema()
                .ok_or_else(|| Error::corrupt("log block", "a data block without its schema"))?;
            let mut decoder = RecordDecoder::projected(schema, |name| wanted.contains(&name))?;
            for record in block.avro_records()? {
                decoder.decode(record?)?;
                if decoder.encoded_bytes() >= PART_BYTES {
                    visit(LogEntry::Records(&decoder.finish()?));
                }
            }
            visit(LogEntry::Records(&decoder.finish()?));
        }
        BlockKind::ParquetData => {
            let rows = ParquetRecordBatchReaderBuilder::try_new(block.content.clone())?;
            let mask = ProjectionMask::columns(rows.parquet_schema(), wanted.iter().copied());
            for batch in rows.with_projection(mask).build()? {
                visit(LogEntry::Records(&batch?));
            }
        }
        BlockKind::Delete => {
            for record in block.delete_records()? {
                visit(LogEntry::Delete(&record.record_key));
            }
        }
        // Change data repeats what data blocks say; a corrupt block is a torn write, of which nothing was committed.
        BlockKind::Command | BlockKind::Corrupt | BlockKind::HfileData | BlockKind::CdcData => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::*;
    use crate::codec::log_block::DataBlockBuilder;

    const SCHEMA: &str = r#"{"type": "record", "name": "r", "fields": [
        {"name": "_hoodie_record_key", "type": ["null", "string"]}, {"name": "pad", "type": "bytes"}]}"#;

    /// A block with one row of so many bytes.
    fn block(key: u8, pad: usize) -> Vec<u8> {
        let mut block = DataBlockBuilder::try_new("20260101000000000", SCHEMA).unwrap();
        let row = |out: &mut Vec<u8>| {
            out.extend([2, 2, key]);
            let mut length = pad as u64 * 2;
            while length >= 0x80 {
                out.push((length as u8) | 0x80);
                length >>= 7;
            }
            out.push(length as u8);
            out.extend(std::iter::repeat_n(7, pad));
            Ok(())
        };
        block.append(row).unwrap();
        block.finish().unwrap()
    }

    #[tokio::test]
    async fn keys_of_large_logs_are_read_by_parts() {
        let blocks = (b'a'..=b'z').flat_map(|key| block(key, 1 << 20));
        let file: Vec<u8> = blocks.collect();
        let length = file.len() as u64;
        let storage = Storage::with_store(Arc::new(InMemory::new()), Path::default(), "memory");
        let name = ".f-0_20260101000000000.log.1_0-0-0";
        storage.create(name, file.into()).await.unwrap();
        let slice = FileSlice {
            partition_path: String::new(),
            file_id: "f-0".to_owned(),
            base_instant: "20260101000000000".parse().unwrap(),
            base_file: None,
            log_files: vec![LogFile::parse(name, length).unwrap()],
        };
        let memory = MemoryBudget::new(1 << 30);
        let source = LogSource {
            storage: &storage,
            memory: &memory,
        };
        let mut keys = String::new();
        let (wanted, counted) = (["_hoodie_record_key"], CountedBlocks::default());
        let read = source.read(&slice, &wanted, &counted, |entry| {
            let LogEntry::Records(rows) = entry else {
                panic!("{entry:?}")
            };
            assert_eq!(rows.num_columns(), 1);
            let found = rows.column(0).as_any().downcast_ref::<StringArray>();
            found
                .unwrap()
                .iter()
                .flatten()
                .for_each(|key| keys.push_str(key));
        });
        read.await.unwrap();
        assert_eq!(keys, "abcdefghijklmnopqrstuvwxyz");
        let peak = memory.peak_bytes();
        assert!(peak > 0 && peak < length / 4, "{peak} of {length} bytes");
        assert_eq!(memory.used_bytes(), 0);
    }
}
