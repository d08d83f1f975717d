//! What a file holds, beside what its commit says of it (hazard 4).

use crate::codec::log_block::{BlockKind, LogBlockReader};
use crate::env::MemoryBudget;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::ParquetSource;
use crate::storage::Storage;
use crate::timeline::metadata::WriteStat;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measured {
    size_bytes: i64,
    /// Rows of a base file, or data records of a log file; unknown of files that are not read.
    rows: Option<i64>,
}

/// Measures a base or log file; the inner error says why it is broken.
pub(super) async fn measure(
    storage: &Storage,
    memory: &MemoryBudget,
    path: &str,
    size: u64,
    is_read: bool,
) -> Result<Result<Measured, String>> {
    let rows = if !is_read {
        Ok(None)
    } else if path.contains(".log.") {
        log_records(storage, memory, path, size).await
    } else {
        let source = ParquetSource::new(storage.clone(), path.to_owned(), size);
        let footer = source.footer().await;
        footer.map(|footer| Some(footer.file_metadata().num_rows()))
    };
    match rows {
        Ok(rows) => Ok(Ok(Measured {
            size_bytes: signed(size),
            rows,
        })),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Counts the data records of a log file; `None` when it holds blocks that are not counted here.
async fn log_records(
    storage: &Storage,
    memory: &MemoryBudget,
    path: &str,
    size: u64,
) -> Result<Option<i64>> {
    let booked = memory.book(size);
    let mut records = 0;
    for block in LogBlockReader::new(storage.read(path).await?) {
        let block = block?;
        match block.kind {
            BlockKind::AvroData => records += i64::from(block.avro_records()?.remaining()),
            BlockKind::Corrupt => {
                let what = format!(
                    "a broken block of {} bytes at {}",
                    block.length, block.offset
                );
                return Err(Error::corrupt(path, what));
            }
            BlockKind::Delete | BlockKind::Command => {}
            BlockKind::HfileData | BlockKind::ParquetData | BlockKind::CdcData => return Ok(None),
        }
    }
    drop(booked);
    Ok(Some(records))
}

/// Puts what was measured into the statistics; says what was wrong with them.
pub(super) fn set_statistics(stat: &mut WriteStat, measured: &Measured) -> Option<String> {
    let mut wrong = Vec::new();
    if stat.file_size_in_bytes != Some(measured.size_bytes) {
        let stated = shown(stat.file_size_in_bytes);
        wrong.push(format!(
            "{} bytes, {stated} by the commit",
            measured.size_bytes
        ));
        stat.file_size_in_bytes = Some(measured.size_bytes);
        stat.total_write_bytes = Some(measured.size_bytes);
    }
    if let Some(rows) = measured.rows
        && stat.num_writes != Some(rows)
    {
        wrong.push(format!(
            "{rows} rows, {} by the commit",
            shown(stat.num_writes)
        ));
        stat.num_writes = Some(rows);
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

fn shown(stated: Option<i64>) -> String {
    stated.map_or_else(|| "unknown".to_owned(), |stated| stated.to_string())
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
