//! Merges changes into a file group by writing its base file anew.
//!
//! Rows that do not change keep their meta columns except the file name; changed rows keep their place; new rows follow at
//! the end. By event time a row of the old file stays when its ordering value is the higher one. The old file stays for
//! older queries. Spec: Hudi 1.2.0, "Meta columns"; Java: HoodieWriteMergeHandle, HoodieConcatHandle.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;

use crate::error::{Error, Result};
use crate::file_group::{BaseFile, BaseFileWriter, FileSlice, ParquetSource};
use crate::index::groups::Group;
use crate::schema::adapt::adapt_batch;
use crate::schema::meta::META_COLUMNS;
use crate::timeline::metadata::WriteStat;
use crate::writer::bulk_insert::{base_file_stat, group_of, to_i64};
use crate::writer::change_log::{ChangeLog, ChangeLogFile, ChangedRows};
use crate::writer::context::WriteContext;
use crate::writer::data_files::MarkerKind;
use crate::writer::key_table::KeyTable;
use crate::writer::ordering::{BatchOrder, OrderingColumns};
use crate::writer::stamp::{MetaStamp, constant_column};

/// Rows read from the old file at once.
const ROWS_AT_ONCE: usize = 8 << 10;

/// Changes to one file group: each key once.
#[derive(Debug)]
pub(crate) struct GroupChanges {
    /// Rows to put in place, without meta columns.
    pub(crate) upserts: RecordBatch,
    /// Their keys.
    pub(crate) upsert_keys: StringArray,
    /// Keys to remove.
    pub(crate) deletes: StringArray,
    /// Their ordering values; `None`: they win over whatever is there.
    pub(crate) delete_order: Option<BatchOrder>,
    /// Whether upserts take the place of rows with their keys; otherwise they are added beside them.
    pub(crate) replaces: bool,
}

impl GroupChanges {
    /// Whether nothing changes.
    pub(crate) fn is_empty(&self) -> bool {
        self.upserts.num_rows() == 0 && self.deletes.is_empty()
    }
}

/// Looks changes up while the old file passes by.
struct Merge {
    /// Upserts behind their meta columns.
    upserts: RecordBatch,
    upsert_table: KeyTable,
    delete_table: KeyTable,
    ordering: Option<Arc<OrderingColumns>>,
    upsert_order: Option<BatchOrder>,
    delete_order: Option<BatchOrder>,
    is_seen: Vec<bool>,
    /// What changes, for tables that log it.
    changes: Option<ChangeLog>,
    updated: u64,
    deleted: u64,
    file_name: String,
    schema: SchemaRef,
}

/// Writes the base file of `slice` anew with `changes`. `kind` says whether the group had a base file before this instant.
pub(crate) async fn merge_into_base_file(
    context: &WriteContext,
    slice: &FileSlice,
    changes: GroupChanges,
    kind: MarkerKind,
) -> Result<(Group, WriteStat)> {
    let old = slice.base_file.as_ref().ok_or_else(|| {
        Error::internal(format!(
            "file group {} has no base file to merge into",
            slice.file_id
        ))
    })?;
    let new = context
        .files
        .new_base_file(&slice.partition_path, &slice.file_id, kind)
        .await?;
    let stamp = MetaStamp {
        instant: context.instant.clone(),
        task: new.task,
        partition_path: slice.partition_path.clone(),
        file_name: new.file.to_string(),
    };
    let (storage, env) = (context.storage.clone(), context.env.clone());
    let mut writer = BaseFileWriter::try_new(&context.base_format, storage, env, new.path.clone())?;
    let merge = Merge::try_new(context, changes, &stamp, kind)?;
    let mut log = match merge.changes {
        Some(_) => Some(ChangeLogFile::begin(context, slice).await?),
        None => None,
    };
    let merge = match copy_rows(context, slice, old, merge, &mut writer, &mut log).await {
        Ok(merge) => merge,
        Err(error) => {
            writer.abort().await?;
            if let Some(log) = log {
                log.abort().await?;
            }
            return Err(error);
        }
    };
    let written = writer.finish().await?;
    let cdc_stats = match log {
        Some(log) => Some(log.finish().await?),
        None => None,
    };
    let group = group_of(context, slice.partition_path.clone(), new.file, &written)?;
    let stat = WriteStat {
        prev_commit: Some(old.instant.to_string()),
        prev_base_file: Some(old.to_string()),
        num_inserts: Some(to_i64(merge.inserted())?),
        num_update_writes: Some(to_i64(merge.updated)?),
        num_deletes: Some(to_i64(merge.deleted)?),
        cdc_stats,
        ..base_file_stat(&group.slice, &written)?
    };
    Ok((group, stat))
}

async fn copy_rows(
    context: &WriteContext,
    slice: &FileSlice,
    old: &BaseFile,
    merge: Merge,
    writer: &mut BaseFileWriter,
    log: &mut Option<ChangeLogFile>,
) -> Result<Merge> {
    let path = slice.path_of(&old.to_string());
    let source = ParquetSource::new(context.storage.clone(), path.clone(), old.size_bytes);
    let mut rows = source.open().await?.with_batch_size(ROWS_AT_ONCE).build()?;
    let renames = Arc::new(context.read_context().renames_since(&old.instant)?);
    // The jobs run one after the other; the lock is never contended.
    let merge = Arc::new(Mutex::new(merge));
    while let Some(batch) = rows
        .try_next()
        .await
        .map_err(|error| Error::from(error).context(format!("reading {path}")))?
    {
        let (merging, renames) = (Arc::clone(&merge), Arc::clone(&renames));
        writer
            .write(move |_| {
                let batch = match renames.as_ref() {
                    Some(renames) => renames.apply(&batch)?,
                    None => batch,
                };
                merging
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .apply(&batch)
            })
            .await?;
        if let Some(log) = log {
            let blocks = merge
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .full_blocks();
            log.write(blocks).await?;
        }
    }
    let rest = Arc::clone(&merge);
    writer
        .write(move |_| {
            rest.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .inserts()
        })
        .await?;
    let merge =
        Arc::into_inner(merge).ok_or_else(|| Error::internal("a merge job outlived its file"))?;
    let mut merge = merge.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let (Some(log), Some(changes)) = (log, merge.changes.take()) {
        log.write(changes.finish()?).await?;
    }
    Ok(merge)
}

impl Merge {
    fn try_new(
        context: &WriteContext,
        changes: GroupChanges,
        stamp: &MetaStamp,
        kind: MarkerKind,
    ) -> Result<Self> {
        // All rows of a new group are inserts, which its base file tells.
        let format = context
            .change_log
            .as_ref()
            .filter(|_| kind == MarkerKind::Merge);
        let log = format.map(|format| ChangeLog::begin(format, context));
        let schema = &context.base_format.schema;
        let ordering = context.ordering.clone();
        let upsert_order = ordering
            .as_ref()
            .map(|ordering| ordering.of(&changes.upserts))
            .transpose()?;
        let upserts = stamp.apply(&changes.upserts, &changes.upsert_keys, 0, schema)?;
        let looked_up = if changes.replaces {
            changes.upsert_keys
        } else {
            StringArray::new_null(0)
        };
        Ok(Self {
            is_seen: vec![false; upserts.num_rows()],
            upserts,
            upsert_table: KeyTable::of_all(looked_up),
            delete_table: KeyTable::of_all(changes.deletes),
            ordering,
            upsert_order,
            delete_order: changes.delete_order,
            changes: log.transpose()?,
            updated: 0,
            deleted: 0,
            file_name: stamp.file_name.clone(),
            schema: Arc::clone(schema),
        })
    }

    /// The rows of `old` after the changes.
    fn apply(&mut self, old: &RecordBatch) -> Result<RecordBatch> {
        let old = adapt_batch(old, &self.schema)?;
        let keys = old
            .column_by_name(META_COLUMNS[2])
            .and_then(|column| column.as_string_opt::<i32>())
            .ok_or_else(|| {
                Error::corrupt(&self.file_name, "the replaced base file has no record keys")
            })?;
        let old_order = self
            .ordering
            .as_ref()
            .map(|ordering| ordering.of(&old))
            .transpose()?;
        let mut picks = Vec::with_capacity(old.num_rows());
        let mut is_changed = false;
        let mut changed = ChangedRows::default();
        for row in 0..old.num_rows() {
            if keys.is_null(row) {
                let message = format!("row {row} of the replaced base file has no record key");
                return Err(Error::corrupt(&self.file_name, message));
            }
            let pick = self.meet(keys.value(row), row, old_order.as_ref());
            is_changed |= pick != Some((0, row));
            match pick {
                Some((1, upsert)) => changed.update(row, upsert),
                None => changed.delete(row),
                Some(_) => {}
            }
            picks.extend(pick);
        }
        if let Some(log) = &mut self.changes {
            log.add(&changed, keys, &old, &self.upserts)?;
        }
        let rows = if is_changed {
            interleave_record_batch(&[&old, &self.upserts], &picks)?
        } else {
            old
        };
        self.with_file_name(&rows)
    }

    /// What becomes of a row of the old file: source and row of what takes its place; `None` when it is deleted.
    fn meet(
        &mut self,
        key: &str,
        row: usize,
        old_order: Option<&BatchOrder>,
    ) -> Option<(usize, usize)> {
        if let Some(upsert) = self.upsert_table.find(key) {
            let upsert = upsert as usize;
            self.is_seen[upsert] = true;
            if let (Some(old), Some(new)) = (old_order, &self.upsert_order)
                && old.row(row) > new.row(upsert)
            {
                return Some((0, row));
            }
            self.updated += 1;
            return Some((1, upsert));
        }
        let Some(delete) = self.delete_table.find(key) else {
            return Some((0, row));
        };
        let delete = delete as usize;
        if let (Some(old), Some(deletes)) = (old_order, &self.delete_order)
            && !deletes.is_unordered(delete)
            && old.row(row) > deletes.row(delete)
        {
            return Some((0, row));
        }
        self.deleted += 1;
        None
    }

    /// How many rows are added.
    fn inserted(&self) -> u64 {
        self.is_seen.iter().filter(|seen| !**seen).count() as u64
    }

    /// The changes whose keys the old file did not hold.
    fn inserts(&mut self) -> Result<RecordBatch> {
        let rows: UInt32Array = (0_u32..)
            .zip(&self.is_seen)
            .filter(|(_, seen)| !**seen)
            .map(|(row, _)| row)
            .collect();
        let rows = take_record_batch(&self.upserts, &rows)?;
        if let Some(log) = &mut self.changes {
            log.add_inserts(&rows)?;
        }
        Ok(rows)
    }

    /// Blocks of changes that are to be written.
    fn full_blocks(&mut self) -> Vec<Vec<u8>> {
        self.changes
            .as_mut()
            .map(ChangeLog::full_blocks)
            .unwrap_or_default()
    }

    fn with_file_name(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        if let Some(column) = columns.get_mut(META_COLUMNS.len() - 1) {
            *column = Arc::new(constant_column(&self.file_name, rows.num_rows())?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}
