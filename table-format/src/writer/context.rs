//! What all writers of one instant share.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::env::Env;
use crate::error::{Error, Result};
use crate::file_group::BaseFileFormat;
use crate::record::{KeyGenerator, PartitionPathGenerator};
use crate::schema::adapt::adapt_batch;
use crate::storage::Storage;
use crate::timeline::InstantTime;
use crate::writer::{DataFiles, WriterOptions};

/// The table, the instant and the settings of a write.
#[derive(Debug)]
pub(crate) struct WriteContext {
    pub(crate) storage: Storage,
    pub(crate) env: Env,
    pub(crate) options: WriterOptions,
    pub(crate) instant: InstantTime,
    /// Columns of the table without the meta columns.
    pub(crate) schema: SchemaRef,
    /// The same behind the meta columns, and how base files hold it.
    pub(crate) base_format: BaseFileFormat,
    pub(crate) keys: KeyGenerator,
    pub(crate) partitions: PartitionPathGenerator,
    pub(crate) is_merge_on_read: bool,
    pub(crate) files: DataFiles,
}

impl WriteContext {
    /// The first record-key field, by whose ranges the index goes.
    pub(crate) fn range_field(&self) -> &str {
        self.keys.fields().first().map_or("", String::as_str)
    }

    /// The rows in the columns of the table: by name, widened where need be; a column that the batch lacks is null.
    pub(crate) fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch> {
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
        adapt_batch(batch, &self.schema).map_err(|error| error.context(format!("table {table}")))
    }
}
