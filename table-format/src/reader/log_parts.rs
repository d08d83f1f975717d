//! The records of a block as columns.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::codec::avro::RecordDecoder;
use crate::codec::log_block::{BlockKind, LogBlock};
use crate::error::{Error, Result};
use crate::schema::adapt::adapt_batch;
use crate::schema::evolution::Renames;

use super::columns::Columns;
use super::log_fold::LogFold;
use super::merge::{Content, Part, text_column};
use super::ordering::Ordering;

/// Rows decoded at a time from a Parquet block.
const PARQUET_BLOCK_ROWS: usize = 1 << 16;
/// Bytes of Avro records that are decoded at a time.
const AVRO_PART_BYTES: u64 = 4 << 20;

/// Decodes the columns of a block that are read, and folds its records.
pub(super) fn add_block(
    fold: &mut LogFold,
    block: &LogBlock,
    renames: Option<&Renames>,
) -> Result<()> {
    let schema = Arc::clone(&fold.columns().schema);
    let is_wanted = |name: &str| {
        let name = renames.map_or(Some(name), |renames| renames.new_name(name));
        name.is_some_and(|name| schema.index_of(name).is_ok())
    };
    match block.kind {
        BlockKind::AvroData => {
            let mut decoder = RecordDecoder::projected(schema_of(block)?, is_wanted)?;
            let mut add = |decoder: &mut RecordDecoder| {
                let (bytes, batch) = (decoder.encoded_bytes(), decoder.finish()?);
                add_rows(fold, &batch, block.header.is_partial(), renames)?;
                fold.pass(bytes)
            };
            for record in block.avro_records()? {
                decoder.decode(record?)?;
                if decoder.encoded_bytes() >= AVRO_PART_BYTES {
                    add(&mut decoder)?;
                }
            }
            add(&mut decoder)
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
                add_rows(fold, &batch?, block.header.is_partial(), renames)?;
            }
            fold.pass(block.length)
        }
        BlockKind::Delete => {
            add_deletes(fold, block)?;
            fold.pass(block.length)
        }
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
    fold: &mut LogFold,
    batch: &RecordBatch,
    is_partial: bool,
    renames: Option<&Renames>,
) -> Result<()> {
    if batch.num_rows() == 0 {
        return Ok(());
    }
    let batch = &match renames {
        Some(renames) => renames.apply(batch)?,
        None => batch.clone(),
    };
    let columns = fold.columns();
    let schema: SchemaRef = if is_partial {
        columns.present_in(batch.schema_ref())
    } else {
        Arc::clone(&columns.schema)
    };
    let batch = adapt_batch(batch, &schema)?;
    let part = rows_part(columns, fold.ordering(), batch, is_partial)?;
    fold.add(part)
}

/// Rows of the reader's columns, or of some of them, as records.
pub(super) fn rows_part(
    columns: &Columns,
    ordering: Option<&Ordering>,
    batch: RecordBatch,
    is_partial: bool,
) -> Result<Part> {
    let schema = batch.schema();
    let column = |position: usize| batch.column_by_name(columns.schema.field(position).name());
    let keys = columns
        .record_key
        .and_then(|position| schema.index_of(columns.schema.field(position).name()).ok());
    let keys = keys.ok_or_else(|| Error::corrupt("log block", "the rows have no record key"))?;
    let keys = text_column(&batch, keys)?.clone();
    let ordering = match ordering {
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
    Ok(Part {
        keys,
        ordering,
        content: Content::Rows {
            batch,
            deleted,
            is_partial,
        },
    })
}

fn add_deletes(fold: &mut LogFold, block: &LogBlock) -> Result<()> {
    let records = block.delete_records()?;
    let ordering = fold
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
    fold.add(Part {
        keys,
        ordering,
        content: Content::Deletes { unordered },
    })
}
