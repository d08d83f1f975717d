//! The log files of a slice: which blocks count, and their records as columns.
//!
//! Java: BaseHoodieLogRecordReader#scanInternal. A rollback command undoes the blocks of its target; on version 6 the
//! blocks of instants that are not committed are passed over one by one, later versions do so by file. Blocks of a log
//! compaction take the place of those that they were made of (see [`log_compaction`](super::log_compaction)).

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::codec::avro::RecordDecoder;
use crate::codec::log_block::{BlockKind, LogBlock, LogBlockReader};
use crate::config::{MergeMode, TableVersion};
use crate::env::{MemoryBudget, Reservation, run_on_cpu};
use crate::error::{Error, Result};
use crate::file_group::FileSlice;
use crate::schema::adapt::adapt_batch;
use crate::schema::evolution::Renames;
use crate::storage::Storage;

use super::ReadContext;
use super::columns::Columns;
use super::log_compaction::replace_compacted;
use super::merge::{Content, LogRecords, Part, text_column};
use super::ordering::Ordering;

/// Logs up to this part of the memory are read once.
const KEPT_SHARE: u64 = 8;
/// Log files fetched at a time.
const FILES_AT_ONCE: usize = 4;
/// Rows decoded at a time from a Parquet block.
const PARQUET_BLOCK_ROWS: usize = 1 << 16;

/// Reads and folds the logs of a slice; `None` when it has none.
pub(super) async fn read_logs(
    context: &ReadContext,
    slice: &FileSlice,
    columns: &Columns,
    memory: &MemoryBudget,
) -> Result<Option<LogRecords>> {
    if slice.log_files.is_empty() {
        return Ok(None);
    }
    check_merge_rules(context)?;
    let log_bytes: u64 = slice.log_files.iter().map(|file| file.size_bytes).sum();
    let paths = slice
        .log_files
        .iter()
        .map(|file| slice.path_of(&file.to_string()));
    let mut files = LogFiles {
        storage: &context.storage,
        memory,
        keeps_contents: log_bytes <= memory.ceiling_bytes() / KEPT_SHARE,
        loaded: None,
    };
    let (blocks, mut kept) = files.scan(paths.collect()).await?;
    let ordering = match columns.ordering.as_slice() {
        [] => None,
        positions => Some(Ordering::try_new(&columns.schema, positions)?),
    };
    let mut logs = LogRecords::new(columns.clone(), ordering, memory.book(0))
        .with_column_merge(context.config.column_merge()?);
    logs.counts
        .add_blocks(blocks.iter().map(|(_, block)| block.kind));
    for (path, block) in blocks_that_count(blocks, context)? {
        let block = files.with_content(&path, block).await?;
        let length = block.content.len() as u64;
        let written = block
            .header
            .instant_time()
            .and_then(|time| time.parse().ok());
        let renames = written.and_then(|time| context.renames_since(&time));
        logs = run_on_cpu(move || {
            add_block(&mut logs, &block, renames.as_ref())?;
            Ok(logs)
        })
        .await
        .map_err(|error| error.context(format!("reading {path}")))?;
        kept.resize(kept.bytes().saturating_sub(length));
    }
    Ok(Some(logs))
}

/// The log files of one slice. Which blocks count is known only when all headers were seen; the contents of large logs are
/// not kept so long, but read again.
struct LogFiles<'a> {
    storage: &'a Storage,
    memory: &'a MemoryBudget,
    keeps_contents: bool,
    /// The file read last, when contents are not kept.
    loaded: Option<LoadedFile>,
}

struct LoadedFile {
    path: String,
    blocks: Vec<LogBlock>,
    _memory: Reservation,
}

impl LogFiles<'_> {
    /// The blocks of all files in their order, without their contents unless these are kept, and what is kept.
    async fn scan(&self, paths: Vec<String>) -> Result<(Vec<(String, LogBlock)>, Reservation)> {
        let mut scanned = futures::stream::iter(paths)
            .map(|path| async move {
                let bytes = self.storage.read(&path).await?;
                Ok::<_, Error>((path, bytes))
            })
            .buffered(FILES_AT_ONCE);
        let mut kept = self.memory.book(0);
        let mut found = Vec::new();
        while let Some((path, bytes)) = scanned.try_next().await? {
            if self.keeps_contents {
                kept.resize(kept.bytes() + bytes.len() as u64);
            }
            for mut block in blocks_of(&path, bytes)? {
                if !self.keeps_contents {
                    block.content = Bytes::new();
                }
                found.push((path.clone(), block));
            }
        }
        Ok((found, kept))
    }

    /// A block with its content.
    async fn with_content(&mut self, path: &str, block: LogBlock) -> Result<LogBlock> {
        if self.keeps_contents {
            return Ok(block);
        }
        if self
            .loaded
            .as_ref()
            .is_none_or(|loaded| loaded.path != path)
        {
            self.loaded = None;
            let bytes = self.storage.read(path).await?;
            self.loaded = Some(LoadedFile {
                path: path.to_owned(),
                _memory: self.memory.book(bytes.len() as u64),
                blocks: blocks_of(path, bytes)?,
            });
        }
        let blocks = self.loaded.iter().flat_map(|loaded| &loaded.blocks);
        let found = blocks
            .into_iter()
            .find(|found| found.offset == block.offset);
        found.cloned().ok_or_else(|| {
            Error::corrupt(
                path,
                format!("the block at offset {} is gone", block.offset),
            )
        })
    }
}

fn blocks_of(path: &str, bytes: Bytes) -> Result<Vec<LogBlock>> {
    let blocks: Result<Vec<LogBlock>> = LogBlockReader::new(bytes).collect();
    blocks.map_err(|error| error.context(format!("reading {path}")))
}

/// Merging by a class of the user's, or of parts of rows by defaults, is not what this reader does.
fn check_merge_rules(context: &ReadContext) -> Result<()> {
    let config = &context.config;
    let unsupported = |what: String| {
        let message = format!(
            "table `{}`: {what}; compact it with the engine that wrote it",
            config.name()
        );
        Err(Error::unsupported(message))
    };
    if config.merge_mode() == MergeMode::Custom {
        return unsupported("its log records are merged by a class of the user's".to_owned());
    }
    if !config.populates_meta_fields() {
        return unsupported(
            "its log records bear no record keys (hoodie.populate.meta.fields=false)".to_owned(),
        );
    }
    Ok(())
}

/// Blocks with records, without those of instants that are undone or not committed.
fn blocks_that_count(
    blocks: Vec<(String, LogBlock)>,
    context: &ReadContext,
) -> Result<Vec<(String, LogBlock)>> {
    let mut undone: HashSet<String> = HashSet::new();
    for (path, block) in &blocks {
        match block.kind {
            BlockKind::Command => {
                undone.extend(block.header.target_instant_time().map(str::to_owned))
            }
            BlockKind::Corrupt => {
                tracing::warn!(
                    path,
                    offset = block.offset,
                    length = block.length,
                    "skipping a corrupt log block"
                );
            }
            _ => {}
        }
    }
    let mut counted = Vec::with_capacity(blocks.len());
    for (path, block) in blocks {
        if matches!(block.kind, BlockKind::Command | BlockKind::Corrupt) {
            continue;
        }
        let instant = block.header.instant_time().ok_or_else(|| {
            Error::corrupt(
                &path,
                format!("offset {}: a block without instant", block.offset),
            )
        })?;
        let time = instant.parse()?;
        let is_visible = match context.config.version() {
            TableVersion::Six => context.visibility.is_committed(&time),
            // Files are chosen by their names already, but one of a table that was upgraded may hold blocks of several
            // instants.
            TableVersion::Eight | TableVersion::Nine => !context.visibility.is_hidden(&time),
        };
        if is_visible && !undone.contains(instant) {
            counted.push((path, block));
        }
    }
    let mut counted = replace_compacted(counted);
    if context.config.column_merge()?.is_none() {
        retain_wanted(&mut counted, context);
    }
    Ok(counted)
}

/// Incremental reads take only the records of the commits that they ask for, as Hudi does: an update that loses against
/// an older row is shown all the same. Rows that come in parts need what lies under them.
fn retain_wanted(blocks: &mut Vec<(String, LogBlock)>, context: &ReadContext) {
    let Some(commits) = &context.commits else {
        return;
    };
    if !blocks.iter().any(|(_, block)| block.header.is_partial()) {
        blocks.retain(|(_, block)| {
            // The rows of a log compaction bear the commits that they come from, not that of their block.
            let header = &block.header;
            let mut times = header.compacted_block_times().chain(header.instant_time());
            times.any(|time| commits.includes(time))
        });
    }
}

/// Decodes the columns of a block that are read, and folds its records.
fn add_block(logs: &mut LogRecords, block: &LogBlock, renames: Option<&Renames>) -> Result<()> {
    let schema = Arc::clone(&logs.columns.schema);
    let is_wanted = |name: &str| {
        let name = renames.map_or(Some(name), |renames| renames.new_name(name));
        name.is_some_and(|name| schema.index_of(name).is_ok())
    };
    match block.kind {
        BlockKind::AvroData => {
            let mut decoder = RecordDecoder::projected(schema_of(block)?, is_wanted)?;
            for record in block.avro_records()? {
                decoder.decode(record?)?;
            }
            let batch = decoder.finish()?;
            add_rows(logs, &batch, block.header.is_partial(), renames)
        }
        BlockKind::ParquetData => {
            let builder = ParquetRecordBatchReaderBuilder::try_new(block.content.clone())?;
            let fields = builder.schema().fields().iter().enumerate();
            let roots: Vec<usize> = fields
                .filter(|(_, field)| is_wanted(field.name()))
                .map(|(position, _)| position)
                .collect();
            let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
            let reader = builder
                .with_projection(mask)
                .with_batch_size(PARQUET_BLOCK_ROWS)
                .build()?;
            for batch in reader {
                add_rows(logs, &batch?, block.header.is_partial(), renames)?;
            }
            Ok(())
        }
        BlockKind::Delete => add_deletes(logs, block),
        BlockKind::HfileData | BlockKind::CdcData => Err(Error::unsupported(format!(
            "offset {}: a {:?} block among the logs of a table",
            block.offset, block.kind
        ))),
        BlockKind::Command | BlockKind::Corrupt => Ok(()),
    }
}

fn schema_of(block: &LogBlock) -> Result<&str> {
    let schema = block.header.schema();
    schema.ok_or_else(|| {
        Error::corrupt(
            "log block",
            format!("offset {}: data without a schema", block.offset),
        )
    })
}

fn add_rows(
    logs: &mut LogRecords,
    batch: &RecordBatch,
    is_partial: bool,
    renames: Option<&Renames>,
) -> Result<()> {
    let columns = logs.columns.clone();
    let batch = &match renames {
        Some(renames) => renames.apply(batch)?,
        None => batch.clone(),
    };
    let schema: SchemaRef = if is_partial {
        columns.present_in(batch.schema_ref())
    } else {
        Arc::clone(&columns.schema)
    };
    let batch = adapt_batch(batch, &schema)?;
    let column = |position: usize| batch.column_by_name(columns.schema.field(position).name());
    let keys = columns
        .record_key
        .and_then(|position| schema.index_of(columns.schema.field(position).name()).ok());
    let keys = keys.ok_or_else(|| Error::corrupt("log block", "the rows have no record key"))?;
    let keys = text_column(&batch, keys)?.clone();
    let ordering = match logs.ordering() {
        Some(ordering) => {
            let values = columns.ordering.iter().map(|position| {
                column(*position).cloned().ok_or_else(|| {
                    let name = columns.schema.field(*position).name();
                    Error::corrupt(
                        "log block",
                        format!("the rows have no ordering column `{name}`"),
                    )
                })
            });
            Some(ordering.of_columns(&values.collect::<Result<Vec<_>>>()?)?)
        }
        None => None,
    };
    let deleted = columns
        .is_deleted
        .and_then(column)
        .and_then(|column| column.as_any().downcast_ref::<BooleanArray>().cloned())
        .filter(|flags| flags.true_count() > 0);
    logs.add(Part {
        keys,
        ordering,
        content: Content::Rows {
            batch,
            deleted,
            is_partial,
        },
    })
}

fn add_deletes(logs: &mut LogRecords, block: &LogBlock) -> Result<()> {
    let records = block.delete_records()?;
    let ordering = logs
        .ordering()
        .map(|ordering| ordering.of_deletes(&records))
        .transpose()?;
    let keys: StringArray = records
        .iter()
        .map(|record| Some(record.record_key.as_str()))
        .collect();
    let unordered = records
        .iter()
        .map(|record| record.ordering_value.is_default())
        .collect();
    logs.add(Part {
        keys,
        ordering,
        content: Content::Deletes { unordered },
    })
}
