//! What all writers of one instant share.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use crate::config::TableConfig;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::file_group::{BaseFileFormat, Visibility};
use crate::index::Index;
use crate::index::log_keys::LogSource;
use crate::reader::ReadContext;
use crate::record::delete_mark::DeleteMarks;
use crate::record::{KeyGenerator, PartitionPathGenerator};
use crate::schema::adapt::adapt_batch;
use crate::schema::evolution::{Evolution, WrittenSchema};
use crate::storage::Storage;
use crate::timeline::InstantTime;
use crate::timeline::metadata::WriteOperation;
use crate::writer::change_log::ChangeLogFormat;
use crate::writer::ordering::OrderingColumns;
use crate::writer::{DataFiles, LogNames, WriterOptions};

/// The table, the instant and the settings of a write.
#[derive(Debug)]
pub(crate) struct WriteContext {
    pub(crate) storage: Storage,
    pub(crate) env: Env,
    pub(crate) options: WriterOptions,
    pub(crate) config: Arc<TableConfig>,
    pub(crate) instant: InstantTime,
    pub(crate) operation: WriteOperation,
    /// Says where keys live.
    pub(crate) index: Arc<dyn Index>,
    /// Columns of the table without the meta columns.
    pub(crate) schema: SchemaRef,
    /// The same behind the meta columns, and how base files hold it.
    pub(crate) base_format: BaseFileFormat,
    pub(crate) keys: KeyGenerator,
    pub(crate) partitions: PartitionPathGenerator,
    /// What rows are compared by; `None` when the later one wins.
    pub(crate) ordering: Option<Arc<OrderingColumns>>,
    /// By what rows are known to be deletes.
    pub(crate) delete_marks: Option<Arc<DeleteMarks>>,
    /// What was committed when the instant began.
    pub(crate) visibility: Arc<Visibility>,
    pub(crate) is_merge_on_read: bool,
    /// How changes are logged beside the rows, if the table wants that.
    pub(crate) change_log: Option<Arc<ChangeLogFormat>>,
    pub(crate) files: DataFiles,
    /// What its log files are called.
    pub(crate) log_names: LogNames,
    /// The columns with their ids, on tables with schema on read.
    pub(crate) written: Option<Arc<WrittenSchema>>,
    /// How older files are read there.
    pub(crate) evolution: Option<Evolution>,
}

impl WriteContext {
    /// The table's logs, for the index.
    pub(crate) fn logs(&self) -> LogSource<'_> {
        LogSource {
            storage: &self.storage,
            memory: &self.env.memory,
        }
    }

    /// The first record-key field, by whose ranges the index goes.
    pub(crate) fn range_field(&self) -> &str {
        self.keys.fields().first().map_or("", String::as_str)
    }

    /// The rows in the columns of the table: by name, widened where need be; a column that the batch lacks is null.
    pub(crate) fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        self.conform_to(batch, &self.schema)
    }

    /// The same for rows of which only keys and partitions are wanted (and ordering values, if `is_ordered`): other
    /// columns may be missing.
    pub(crate) fn conform_keys(
        &self,
        batch: &RecordBatch,
        is_ordered: bool,
    ) -> Result<RecordBatch> {
        let is_needed = |name: &str| {
            let ordering = self.ordering.as_ref().filter(|_| is_ordered);
            self.keys.fields().iter().any(|key| key == name)
                || ordering.is_some_and(|ordering| ordering.contains(name))
        };
        let fields = self.schema.fields().iter().map(|field| {
            if is_needed(field.name()) {
                Arc::clone(field)
            } else {
                Arc::new(field.as_ref().clone().with_nullable(true))
            }
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<FieldRef>>()));
        self.conform_to(batch, &schema)
    }

    /// The columns of the table that a batch lacks.
    pub(crate) fn missing_columns(&self, batch: &RecordBatch) -> Vec<String> {
        let names = self.schema.fields().iter().map(|field| field.name());
        let is_missing = |name: &&String| batch.schema_ref().index_of(name).is_err();
        names.filter(is_missing).cloned().collect()
    }

    /// The rows of a bulk insert: in the columns of the table, without those that mark deletes.
    pub(crate) fn conform_new(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut rows = self.conform(batch)?;
        if let Some(marks) = &self.delete_marks
            && let Some(deleted) = marks.find(&rows)?
        {
            rows = filter_record_batch(&rows, &not(&deleted)?)?;
        }
        if let Some(ordering) = &self.ordering
            && ordering.has_nulls(&rows)
        {
            ordering.check(&rows, &self.keys.keys(&rows)?)?;
        }
        Ok(rows)
    }

    /// For reading the slices that this instant changes, together with what it has written to them.
    pub(crate) fn read_context(&self) -> ReadContext {
        ReadContext {
            storage: self.storage.clone(),
            config: Arc::clone(&self.config),
            schema: Arc::clone(&self.base_format.schema),
            visibility: Arc::clone(&self.visibility),
            commits: None,
            evolution: self.evolution.clone(),
        }
    }

    fn conform_to(&self, batch: &RecordBatch, target: &SchemaRef) -> Result<RecordBatch> {
        let table = &self.base_format.table_name;
        let schema = batch.schema_ref();
        if let Some(unknown) = schema
            .fields()
            .iter()
            .find(|field| self.schema.column_with_name(field.name()).is_none())
        {
            return Err(Error::invalid(format!(
                "table {table} has no column `{}`; add it to the table's schema first",
                unknown.name()
            )));
        }
        let fields = self.partitions.fields();
        let is_missing = |field: &&String| schema.index_of(field).is_err();
        if self.options.global_keys.is_none()
            && let Some(missing) = fields.iter().find(is_missing)
        {
            return Err(Error::invalid(format!(
                "table {table}: partition column `{missing}` is not in the batch"
            )));
        }
        adapt_batch(batch, target).map_err(|error| error.context(format!("table {table}")))
    }
}
