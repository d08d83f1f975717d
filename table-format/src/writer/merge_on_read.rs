//! Appends changes to a file group as a log file.
//!
//! Spec: Hudi 1.2.0, "Log files"; Java: HoodieAppendHandle.

use std::sync::Arc;

use arrow::array::Array;

use crate::codec::delete_record::OrderingValue;
use crate::env::run_on_cpu;
use crate::error::Result;
use crate::file_group::{FileSlice, FileUpload, LogBlocks, LogFile};
use crate::index::groups::Group;
use crate::index::key_value::{KeyColumn, KeyRange};
use crate::index::load::slice_bytes;
use crate::timeline::metadata::WriteStat;
use crate::writer::bulk_insert::{to_i64, zero_stat};
use crate::writer::context::WriteContext;
use crate::writer::copy_on_write::GroupChanges;
use crate::writer::log_names::LogPlace;
use crate::writer::stamp::MetaStamp;

/// The ordering value of a delete on tables where the later write wins. Java: OrderingValues#getDefault.
const UNORDERED: OrderingValue = OrderingValue::Int(0);

/// Writes one log file with `changes` on top of `group`; `new_rows` of them are known to be inserts.
pub(crate) async fn append_to_log(
    context: &Arc<WriteContext>,
    mut group: Group,
    changes: GroupChanges,
    new_rows: u64,
) -> Result<(Group, WriteStat)> {
    let slice = &group.slice;
    let place = context.log_names.next(slice);
    let new = context
        .files
        .new_log_file(&slice.partition_path, &slice.file_id, &place)
        .await?;
    let stamp = MetaStamp {
        instant: context.instant.clone(),
        task: new.task,
        partition_path: slice.partition_path.clone(),
        file_name: slice.file_id.clone(),
    };
    let (rows, deletes) = (
        changes.upserts.num_rows() as u64,
        changes.deletes.len() as u64,
    );
    let added = changes
        .upserts
        .column_by_name(context.range_field())
        .and_then(|column| KeyColumn::new(column).range(0..changes.upserts.num_rows()));
    let mut memory = context.env.memory.book(0);
    let shared = Arc::clone(context);
    let blocks = run_on_cpu(move || encode(&shared, &stamp, &changes)).await?;
    memory.resize(blocks.iter().map(|block| block.len() as u64).sum());
    let mut upload = FileUpload::new(context.storage.clone(), new.path.clone());
    for block in blocks {
        upload.write(block).await?;
    }
    let bytes = upload.finish().await?;
    let mut log = new.file;
    log.size_bytes = bytes;
    let beneath = Beneath::of(context, place, &group.slice, &log);
    let stat = WriteStat {
        file_id: Some(group.slice.file_id.clone()),
        path: Some(new.path),
        partition_path: Some(group.slice.partition_path.clone()),
        prev_commit: Some(beneath.instant),
        num_writes: Some(to_i64(rows)?),
        num_inserts: Some(to_i64(new_rows)?),
        num_update_writes: Some(to_i64(rows.saturating_sub(new_rows))?),
        num_deletes: Some(to_i64(deletes)?),
        total_write_bytes: Some(to_i64(bytes)?),
        file_size_in_bytes: Some(to_i64(bytes)?),
        log_version: i32::try_from(log.version).ok(),
        log_offset: Some(0),
        base_file: Some(beneath.base_file),
        log_files: Some(beneath.log_files),
        ..zero_stat()
    };
    group.slice.log_files.push(log);
    group.range = KeyRange::join_all(group.range, added);
    group.bytes = slice_bytes(&group.slice);
    Ok((group, stat))
}

/// What a stat says of the slice that a log lies on. Tables that log changes need it: there the log itself tells them,
/// together with what is beneath. So does version 6, where the log belongs to that slice. Java: HoodieAppendHandle#init.
struct Beneath {
    instant: String,
    base_file: String,
    log_files: Vec<String>,
}

impl Beneath {
    fn of(context: &WriteContext, place: LogPlace, slice: &FileSlice, log: &LogFile) -> Self {
        let is_shared = context.config.version().shares_logs();
        if context.change_log.is_none() && !is_shared {
            return Self {
                instant: context.instant.to_string(),
                base_file: String::new(),
                log_files: vec![log.to_string()],
            };
        }
        let beneath = slice
            .log_files
            .iter()
            .filter(|log| !is_shared || log.instant == place.instant);
        let log_files = beneath.chain([log]).map(ToString::to_string).collect();
        if is_shared {
            return Self {
                instant: place.instant.to_string(),
                base_file: place.base_file,
                log_files,
            };
        }
        let base = slice.base_file.as_ref();
        Self {
            instant: slice.base_instant.to_string(),
            base_file: base.map_or_else(String::new, ToString::to_string),
            log_files,
        }
    }
}

fn encode(
    context: &WriteContext,
    stamp: &MetaStamp,
    changes: &GroupChanges,
) -> Result<Vec<Vec<u8>>> {
    let log = LogBlocks {
        instant: context.instant.as_str(),
        avro_schema: &context.base_format.avro_schema,
        block_bytes: usize::try_from(context.options.log_block_bytes).unwrap_or(usize::MAX),
        made_of: None,
    };
    let mut blocks = Vec::new();
    if changes.upserts.num_rows() > 0 {
        let rows = stamp.apply(
            &changes.upserts,
            &changes.upsert_keys,
            0,
            &context.base_format.schema,
        )?;
        log.encode_rows(&rows, |block| blocks.push(block))?;
    }
    if !changes.deletes.is_empty() {
        let order = changes.delete_order.as_ref();
        let value_of = |row: usize| order.map_or(Ok(UNORDERED), |order| order.value(row));
        blocks.push(log.encode_deletes(&changes.deletes, &stamp.partition_path, value_of)?);
    }
    Ok(blocks)
}
