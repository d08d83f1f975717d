//! The keys in a log file, in the order in which they were logged.

use arrow::array::RecordBatch;

use crate::codec::avro::RecordDecoder;
use crate::codec::log_block::{BlockKind, LogBlock, LogBlockReader};
use crate::error::{Error, Result};
use crate::storage::Storage;

/// What a log says of keys.
#[derive(Debug)]
pub(crate) enum LogEntry<'a> {
    /// Rows with their meta columns.
    Records(&'a RecordBatch),
    /// A key that was deleted.
    Delete(&'a str),
}

/// Reads the log file at the table-relative `path` and passes on what it holds.
pub(crate) async fn read_log_keys<F>(storage: &Storage, path: &str, mut visit: F) -> Result<()>
where
    F: FnMut(LogEntry<'_>),
{
    let bytes = storage.read(path).await?;
    for block in LogBlockReader::new(bytes) {
        let visited = block.and_then(|block| visit_block(&block, &mut visit));
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
