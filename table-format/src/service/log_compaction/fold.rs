//! The logs of one slice into one log.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};

use crate::codec::delete_record::OrderingValue;
use crate::env::run_on_cpu;
use crate::error::{Error, Result};
use crate::file_group::{FileSlice, FileUpload, LogBlocks, LogFile};
use crate::reader::LogDeletes;
use crate::service::rewriting::Rewriter;
use crate::timeline::metadata::WriteStat;
use crate::writer::{LogNames, OrderingColumns, to_i64, zero_stat};

/// The ordering value of a delete that wins over all before it. Java: OrderingValues#getDefault.
const UNORDERED: OrderingValue = OrderingValue::Int(0);

/// A slice with its new log.
#[derive(Debug)]
pub(super) struct FoldedSlice {
    pub(super) path: String,
    pub(super) records: u64,
    pub(super) size_bytes: u64,
    pub(super) stat: WriteStat,
}

/// What the blocks of a new log have in common.
#[derive(Debug)]
struct NewBlocks {
    instant: String,
    avro_schema: String,
    block_bytes: usize,
    made_of: String,
    partition_path: String,
    ordering: Option<Arc<OrderingColumns>>,
}

/// Writes the log that takes the place of those of `slice`. Rows keep their meta columns.
pub(super) async fn fold(
    rewriter: &Rewriter,
    slice: &FileSlice,
    block_bytes: u64,
) -> Result<FoldedSlice> {
    let instant = rewriter.files.instant();
    let place = LogNames::ByInstant(instant.clone()).next(slice);
    let new = rewriter
        .files
        .new_log_file(&slice.partition_path, &slice.file_id, &place)
        .await?;
    let made_of: BTreeSet<&str> = slice
        .log_files
        .iter()
        .map(|log| log.instant.as_str())
        .collect();
    let blocks = Arc::new(NewBlocks {
        instant: instant.to_string(),
        avro_schema: rewriter.format.avro_schema.clone(),
        block_bytes: usize::try_from(block_bytes).unwrap_or(usize::MAX),
        made_of: made_of.into_iter().collect::<Vec<_>>().join(","),
        partition_path: slice.partition_path.clone(),
        ordering: OrderingColumns::try_new(&rewriter.context.config, &rewriter.context.schema)?,
    });
    let mut upload = FileUpload::new(rewriter.context.storage.clone(), new.path.clone());
    let (rows, deletes) = match write_records(rewriter, slice, &blocks, &mut upload).await {
        Ok(written) => written,
        Err(error) => {
            upload.abort().await?;
            let group = &slice.file_id;
            return Err(error.context(format!("folding the logs of file group {group}")));
        }
    };
    let size_bytes = upload.finish().await?;
    let log = LogFile {
        size_bytes,
        ..new.file
    };
    Ok(FoldedSlice {
        stat: WriteStat {
            file_id: Some(slice.file_id.clone()),
            path: Some(new.path.clone()),
            partition_path: Some(slice.partition_path.clone()),
            prev_commit: Some(slice.base_instant.to_string()),
            num_writes: Some(to_i64(rows)?),
            num_update_writes: Some(to_i64(rows)?),
            num_deletes: Some(to_i64(deletes)?),
            total_write_bytes: Some(to_i64(size_bytes)?),
            file_size_in_bytes: Some(to_i64(size_bytes)?),
            total_log_files_compacted: Some(to_i64(slice.log_files.len() as u64)?),
            log_version: i32::try_from(log.version).ok(),
            log_offset: Some(0),
            base_file: Some(String::new()),
            log_files: Some(vec![log.to_string()]),
            ..zero_stat()
        },
        path: new.path,
        records: rows + deletes,
        size_bytes,
    })
}

/// Rows and deletes that were written.
async fn write_records(
    rewriter: &Rewriter,
    slice: &FileSlice,
    blocks: &Arc<NewBlocks>,
    upload: &mut FileUpload,
) -> Result<(u64, u64)> {
    let logs_only = FileSlice {
        base_file: None,
        ..slice.clone()
    };
    let mut parts = rewriter.open(&logs_only).await?;
    let (mut rows, mut deletes) = (0, 0);
    while let Some((_, mut merger)) = parts.next().await? {
        if merger.has_partial() {
            return Err(Error::unsupported(
                "the logs hold records of only some columns; compact the table instead",
            ));
        }
        loop {
            let shared = Arc::clone(blocks);
            let (back, written) = run_on_cpu(move || {
                let written = match merger.logged_rows()? {
                    Some(records) => Some((records.num_rows() as u64, shared.rows(&records)?)),
                    None => None,
                };
                Ok((merger, written))
            })
            .await?;
            merger = back;
            let Some((count, encoded)) = written else {
                break;
            };
            rows += count;
            write_all(upload, encoded).await?;
        }
        let shared = Arc::clone(blocks);
        let (count, encoded) = run_on_cpu(move || {
            let logged = merger.logged_deletes()?;
            let encoded = (!logged.keys.is_empty()).then(|| shared.deletes(&logged));
            Ok((logged.keys.len() as u64, encoded.transpose()?))
        })
        .await?;
        deletes += count;
        write_all(upload, encoded).await?;
    }
    Ok((rows, deletes))
}

async fn write_all(
    upload: &mut FileUpload,
    blocks: impl IntoIterator<Item = Vec<u8>>,
) -> Result<()> {
    for block in blocks {
        upload.write(block).await?;
    }
    Ok(())
}

impl NewBlocks {
    fn log(&self) -> LogBlocks<'_> {
        LogBlocks {
            instant: &self.instant,
            avro_schema: &self.avro_schema,
            block_bytes: self.block_bytes,
            made_of: Some(&self.made_of),
        }
    }

    fn rows(&self, rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
        let mut blocks = Vec::new();
        self.log().encode_rows(rows, |block| blocks.push(block))?;
        Ok(blocks)
    }

    fn deletes(&self, deletes: &LogDeletes) -> Result<Vec<u8>> {
        let order = match (&self.ordering, &deletes.ordering) {
            (Some(ordering), Some(values)) => Some(ordering.of_columns(values.clone())?),
            _ => None,
        };
        let value_of = |row: usize| match &order {
            Some(order) if deletes.unordered.get(row) == Some(&false) => order.value(row),
            _ => Ok(UNORDERED),
        };
        self.log()
            .encode_deletes(&deletes.keys, &self.partition_path, value_of)
    }
}
