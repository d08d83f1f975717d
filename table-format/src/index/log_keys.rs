//! The keys in a log file, in the order in which they were logged.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::codec::avro::RecordDecoder;
use crate::codec::log_block::{BlockKind, LogBlock, LogBlockReader};
use crate::config::TableVersion;
use crate::error::{Error, Result};
use crate::file_group::{FileSlice, Visibility};
use crate::storage::Storage;

/// What a log says of keys.
#[derive(Debug)]
pub(crate) enum LogEntry<'a> {
    /// Rows with their meta columns.
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
        storage: &Storage,
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
            for block in LogBlockReader::new(storage.read(&path).await?) {
                let block = block.map_err(|error| error.context(format!("reading {path}")))?;
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

/// Reads the log file at the table-relative `path` and passes on what it holds.
pub(crate) async fn read_log_keys<F>(storage: &Storage, path: &str, visit: F) -> Result<()>
where
    F: FnMut(LogEntry<'_>),
{
    read_counted_keys(storage, path, &CountedBlocks::default(), visit).await
}

/// The same of blocks that count.
pub(crate) async fn read_counted_keys<F>(
    storage: &Storage,
    path: &str,
    counted: &CountedBlocks,
    mut visit: F,
) -> Result<()>
where
    F: FnMut(LogEntry<'_>),
{
    let bytes = storage.read(path).await?;
    for block in LogBlockReader::new(bytes) {
        let visited = block.and_then(|block| {
            if counted.has(&block)? {
                visit_block(&block, &mut visit)
            } else {
                Ok(())
            }
        });
        visited.map_err(|error| error.context(format!("reading {path}")))?;
    }
    Ok(())
}

fn visit_block<F: FnMut(LogEntry<'_>)>(block: &LogBlock, visit: &mut F) -> Result<()> {
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
            let mut decoder = RecordDecoder::try_new(schema)?;
            for record in block.avro_records()? {
                decoder.decode(record?)?;
            }
            visit(LogEntry::Records(&decoder.finish()?));
        }
        BlockKind::ParquetData => {
            let rows = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
                block.content.clone(),
            )?;
            for batch in rows.build()? {
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
