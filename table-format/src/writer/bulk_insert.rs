//! New rows into new file groups, without a look-up: the full load. (With a bucket index: into the groups of their buckets.)
//!
//! Any number of writers may work side by side in one instant. Each keeps one file open per partition, rolls it at the
//! target size, and finishes the file that has waited longest when too many partitions are open.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use crate::error::{Error, Result};
use crate::file_group::{BaseFile, BaseFileWriter, FileSlice, WrittenBaseFile};
use crate::index::groups::Group;
use crate::index::key_value::range_in_footer;
use crate::index::new_file_id_prefix;
use crate::timeline::metadata::{NO_PREVIOUS_COMMIT, WriteStat};
use crate::writer::bucket_load::BucketLoad;
use crate::writer::context::WriteContext;
use crate::writer::data_files::{MarkerKind, NewFile};
use crate::writer::stamp::MetaStamp;

/// Files that one writer keeps open at most.
const OPEN_FILES_MAX: usize = 8;

/// The groups that bulk inserts of one instant have made, by path of their file.
pub(crate) type NewGroups = Arc<Mutex<Vec<Group>>>;

/// Makes [`BulkInsertWriter`]s for one instant.
#[derive(Debug, Clone)]
pub struct BulkInsertFactory {
    context: Arc<WriteContext>,
    groups: NewGroups,
    buckets: Option<Arc<BucketLoad>>,
}

impl BulkInsertFactory {
    pub(crate) fn new(
        context: Arc<WriteContext>,
        groups: NewGroups,
        buckets: Option<Arc<BucketLoad>>,
    ) -> Self {
        Self {
            context,
            groups,
            buckets,
        }
    }

    /// A writer of new file groups.
    pub fn bulk_insert(&self) -> BulkInsertWriter {
        BulkInsertWriter {
            context: Arc::clone(&self.context),
            groups: Arc::clone(&self.groups),
            buckets: self.buckets.clone(),
            id_prefix: new_file_id_prefix(&self.context.env),
            next_id: 0,
            open: Vec::new(),
            stats: Vec::new(),
        }
    }
}

/// Writes rows whose keys are known to be new, each once.
#[derive(Debug)]
pub struct BulkInsertWriter {
    context: Arc<WriteContext>,
    groups: NewGroups,
    buckets: Option<Arc<BucketLoad>>,
    id_prefix: String,
    next_id: u64,
    /// The file written last comes last.
    open: Vec<OpenFile>,
    stats: Vec<WriteStat>,
}

/// A base file of a new group under way.
#[derive(Debug)]
pub(crate) struct OpenFile {
    partition_path: String,
    new: NewFile<BaseFile>,
    writer: BaseFileWriter,
}

impl BulkInsertWriter {
    /// Appends rows; columns go by name, and one that is missing is null.
    ///
    /// # Errors
    /// `Invalid` for a column that the table does not have, or a key that is null; what the store says.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = self.context.conform_new(batch)?;
        if let Some(buckets) = &self.buckets {
            return buckets.write(&batch).await;
        }
        if !self.context.partitions.is_partitioned() {
            return self.write_partition(String::new(), batch).await;
        }
        for (partition_path, rows) in self.context.partitions.group(&batch)? {
            let rows = if rows.len() == batch.num_rows() {
                batch.clone()
            } else {
                take_record_batch(&batch, &UInt32Array::from(rows))?
            };
            self.write_partition(partition_path, rows).await?;
        }
        Ok(())
    }

    async fn write_partition(&mut self, partition_path: String, rows: RecordBatch) -> Result<()> {
        let position = self
            .open
            .iter()
            .position(|file| file.partition_path == partition_path);
        let mut file = match position {
            Some(position) => self.open.remove(position),
            None => {
                if self.open.len() >= OPEN_FILES_MAX {
                    let oldest = self.open.remove(0);
                    self.finish_file(oldest).await?;
                }
                let file_id = format!("{}-{}", self.id_prefix, self.next_id);
                self.next_id += 1;
                OpenFile::create(&self.context, partition_path, &file_id).await?
            }
        };
        file.append(&self.context, rows).await?;
        if file.writer.estimated_bytes() >= self.context.options.file_bytes_max {
            self.finish_file(file).await
        } else {
            self.open.push(file);
            Ok(())
        }
    }

    async fn finish_file(&mut self, file: OpenFile) -> Result<()> {
        let (group, stat) = file.finish(&self.context).await?;
        self.groups
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(group);
        self.stats.push(stat);
        Ok(())
    }

    /// Finishes all files (those of buckets are finished by the transaction); hand the result to [`Transaction::add`](crate::writer::Transaction::add).
    ///
    /// # Errors
    /// What the store says.
    pub async fn finish(mut self) -> Result<Vec<WriteStat>> {
        for file in std::mem::take(&mut self.open) {
            self.finish_file(file).await?;
        }
        Ok(self.stats)
    }

    /// Gives up the files under way.
    ///
    /// # Errors
    /// What the store says.
    pub async fn abort(self) -> Result<()> {
        for file in self.open {
            file.writer.abort().await?;
        }
        Ok(())
    }
}

impl OpenFile {
    /// The first base file of the new group `file_id`.
    pub(crate) async fn create(
        context: &WriteContext,
        partition_path: String,
        file_id: &str,
    ) -> Result<Self> {
        let new = context
            .files
            .new_base_file(&partition_path, file_id, MarkerKind::Create)
            .await?;
        let (storage, env) = (context.storage.clone(), context.env.clone());
        let writer = BaseFileWriter::try_new(&context.base_format, storage, env, new.path.clone())?;
        Ok(Self {
            partition_path,
            new,
            writer,
        })
    }

    /// Appends rows without meta columns.
    pub(crate) async fn append(&mut self, context: &WriteContext, rows: RecordBatch) -> Result<()> {
        let keys = context.keys.clone();
        let schema = Arc::clone(&context.base_format.schema);
        let stamp = MetaStamp {
            instant: context.instant.clone(),
            task: self.new.task,
            partition_path: self.partition_path.clone(),
            file_name: self.new.file.to_string(),
        };
        self.writer
            .write(move |first_row| stamp.apply(&rows, &keys.keys(&rows)?, first_row, &schema))
            .await
    }

    /// Publishes the file.
    pub(crate) async fn finish(self, context: &WriteContext) -> Result<(Group, WriteStat)> {
        let written = self.writer.finish().await?;
        let group = group_of(context, self.partition_path, self.new.file, &written)?;
        let rows = to_i64(written.rows)?;
        let stat = WriteStat {
            num_inserts: Some(rows),
            num_update_writes: Some(0),
            num_deletes: Some(0),
            ..base_file_stat(&group.slice, &written)?
        };
        Ok((group, stat))
    }
}

/// The group whose newest file is `written`.
pub(crate) fn group_of(
    context: &WriteContext,
    partition_path: String,
    mut file: BaseFile,
    written: &WrittenBaseFile,
) -> Result<Group> {
    let field = context.range_field();
    let data_type = context.schema.field_with_name(field)?.data_type();
    let range = range_in_footer(&written.metadata, field, data_type);
    file.size_bytes = written.size_bytes;
    let slice = FileSlice {
        partition_path,
        file_id: file.file_id.clone(),
        base_instant: file.instant.clone(),
        base_file: Some(file),
        log_files: Vec::new(),
    };
    Ok(Group::new(slice, range, written.size_bytes))
}

/// The part of a base file's stat that does not depend on what was there before.
pub(crate) fn base_file_stat(slice: &FileSlice, written: &WrittenBaseFile) -> Result<WriteStat> {
    let name = slice
        .base_file
        .as_ref()
        .map(ToString::to_string)
        .ok_or_else(|| Error::internal("a group was written without a base file"))?;
    let bytes = to_i64(written.size_bytes)?;
    Ok(WriteStat {
        file_id: Some(slice.file_id.clone()),
        path: Some(slice.path_of(&name)),
        partition_path: Some(slice.partition_path.clone()),
        prev_commit: Some(NO_PREVIOUS_COMMIT.to_owned()),
        num_writes: Some(to_i64(written.rows)?),
        total_write_bytes: Some(bytes),
        file_size_in_bytes: Some(bytes),
        ..zero_stat()
    })
}

/// A stat whose counters are 0, as Hudi writes those that do not apply.
pub(crate) fn zero_stat() -> WriteStat {
    WriteStat {
        total_write_errors: Some(0),
        total_log_records: Some(0),
        total_updated_records_compacted: Some(0),
        total_log_blocks: Some(0),
        total_corrupt_log_block: Some(0),
        total_rollback_blocks: Some(0),
        total_log_files_compacted: Some(0),
        total_log_size_compacted: Some(0),
        ..WriteStat::default()
    }
}

/// Counters of stats are signed.
pub(crate) fn to_i64(count: u64) -> Result<i64> {
    i64::try_from(count).map_err(|_| Error::internal(format!("{count} does not fit a write stat")))
}
