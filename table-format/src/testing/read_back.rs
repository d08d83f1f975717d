//! Reads a table the slow and simple way, for comparison with a model: base rows, then the logs over them, in order.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;

use crate::codec::avro::RecordDecoder;
use crate::codec::log_block::{BlockKind, LogBlock, LogBlockReader};
use crate::error::{Error, Result};
use crate::file_group::view::latest_slices;
use crate::file_group::{FileSlice, Horizon, ParquetSource, Visibility};
use crate::schema::meta::{META_COLUMNS, is_meta_column};
use crate::storage::Storage;
use crate::table::Table;

/// A row as text: column name to value, meta columns left out.
pub type Row = BTreeMap<String, String>;

/// The rows of a table by partition path and record key.
///
/// # Errors
/// `Corrupt` when a key stands in two file groups, twice in one base file, or a file does not say where it belongs.
pub async fn read_table(storage: &Storage) -> Result<BTreeMap<(String, String), Row>> {
    let table = Table::open_storage(storage.clone()).await?;
    let timeline = table.timeline().await?;
    let visibility = Visibility::new(&timeline, Horizon::Latest);
    let mut rows = BTreeMap::new();
    for slice in latest_slices(storage, table.config(), &timeline, &visibility).await? {
        let is_shared = table.config().version().shares_logs();
        let judged = is_shared.then_some(&visibility);
        for (key, row) in read_slice(storage, &slice, judged).await? {
            if rows
                .insert((slice.partition_path.clone(), key.clone()), row)
                .is_some()
            {
                return Err(Error::corrupt(
                    &slice.file_id,
                    format!("key {key} is in another group too"),
                ));
            }
        }
    }
    Ok(rows)
}

/// `judged` says which blocks count where log files are shared by instants.
async fn read_slice(
    storage: &Storage,
    slice: &FileSlice,
    judged: Option<&Visibility>,
) -> Result<BTreeMap<String, Row>> {
    let mut rows = BTreeMap::new();
    if let Some(base) = &slice.base_file {
        let name = base.to_string();
        let source = ParquetSource::new(storage.clone(), slice.path_of(&name), base.size_bytes);
        let batches: Vec<RecordBatch> = source.open().await?.build()?.try_collect().await?;
        for batch in &batches {
            for (key, row) in rows_of(batch, slice, &name)? {
                if rows.insert(key.clone(), row).is_some() {
                    return Err(Error::corrupt(&name, format!("key {key} occurs twice")));
                }
            }
        }
    }
    let mut undone = BTreeSet::new();
    let mut logs = Vec::new();
    for log in &slice.log_files {
        let bytes = storage.read(&slice.path_of(&log.to_string())).await?;
        for block in LogBlockReader::new(bytes) {
            let block = block?;
            let target = block.header.target_instant_time();
            undone.extend(target.map(str::to_owned));
            logs.push((log, block));
        }
    }
    for (log, block) in in_force(logs) {
        let instant = block.header.instant_time().unwrap_or_default();
        let is_judged_out = match judged {
            Some(visibility) if block.kind != BlockKind::Command => {
                !visibility.is_committed(&instant.parse()?)
            }
            _ => false,
        };
        if undone.contains(instant) || is_judged_out {
            continue;
        }
        match block.kind {
            BlockKind::AvroData => {
                let mut decoder =
                    RecordDecoder::try_new(block.header.schema().unwrap_or_default())?;
                for record in block.avro_records()? {
                    decoder.decode(record?)?;
                }
                rows.extend(rows_of(&decoder.finish()?, slice, &slice.file_id)?);
            }
            BlockKind::Delete => {
                for record in block.delete_records()? {
                    rows.remove(&record.record_key);
                }
            }
            BlockKind::Command if judged.is_some() => {}
            other => return Err(Error::corrupt(log, format!("unexpected block {other:?}"))),
        }
    }
    Ok(rows)
}

/// Without the blocks that a log compaction has folded; those that it made stand where the newest of them stood.
fn in_force<T>(logs: Vec<(T, LogBlock)>) -> Vec<(T, LogBlock)> {
    let instant = |block: &LogBlock| block.header.instant_time().unwrap_or_default().to_owned();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (place, (_, block)) in logs.iter().enumerate() {
        places.insert(instant(block), place);
    }
    let mut folded = BTreeSet::new();
    // An earlier log compaction among the parts has been moved already.
    for (_, block) in &logs {
        let parts: Vec<String> = block
            .header
            .compacted_block_times()
            .map(str::to_owned)
            .collect();
        if let Some(place) = parts
            .iter()
            .filter_map(|part| places.get(part))
            .max()
            .copied()
        {
            places.insert(instant(block), place);
        }
        folded.extend(parts);
    }
    let mut logs = logs;
    logs.retain(|(_, block)| !folded.contains(&instant(block)));
    logs.sort_by_key(|(_, block)| places.get(&instant(block)).copied());
    logs
}

fn rows_of(batch: &RecordBatch, slice: &FileSlice, file_name: &str) -> Result<Vec<(String, Row)>> {
    let meta = |index: usize, row: usize| -> Result<String> {
        let column = batch
            .column_by_name(META_COLUMNS[index])
            .and_then(|column| column.as_string_opt::<i32>());
        let column = column.filter(|column| column.is_valid(row));
        let column = column
            .ok_or_else(|| Error::corrupt(file_name, format!("no {}", META_COLUMNS[index])))?;
        Ok(column.value(row).to_owned())
    };
    (0..batch.num_rows())
        .map(|row| {
            if meta(3, row)? != slice.partition_path || meta(4, row)? != file_name {
                return Err(Error::corrupt(
                    file_name,
                    format!("row {row} says it belongs elsewhere"),
                ));
            }
            let schema = batch.schema();
            let cells = schema.fields().iter().zip(batch.columns());
            let cells = cells.filter(|(field, _)| !is_meta_column(field.name()));
            let row_text = cells
                .map(|(field, column)| Ok((field.name().clone(), cell(column, row)?)))
                .collect::<Result<Row>>()?;
            Ok((meta(2, row)?, row_text))
        })
        .collect()
}

/// A value as text; timestamps without their zone, whose names this build cannot look up.
///
/// # Errors
/// `Internal` for a type that has no text.
pub fn cell(column: &ArrayRef, row: usize) -> Result<String> {
    if column.is_null(row) {
        return Ok("null".to_owned());
    }
    if let DataType::Timestamp(unit, Some(_)) = column.data_type() {
        let plain = cast(column, &DataType::Timestamp(*unit, None))?;
        return Ok(array_value_to_string(&plain, row)?);
    }
    Ok(array_value_to_string(column, row)?)
}
