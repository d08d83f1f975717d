//! What all writers of one instant share.

use arrow::datatypes::SchemaRef;

use crate::env::Env;
use crate::error::{Error, Result};
use crate::file_group::BaseFileFormat;
use crate::record::{KeyGenerator, PartitionPathGenerator};
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

    /// Refuses batches whose columns are not the table's.
    pub(crate) fn check_columns(&self, schema: &SchemaRef) -> Result<()> {
        let matches = schema.fields().len() == self.schema.fields().len()
            && schema.fields().iter().zip(self.schema.fields()).all(|(ours, table)| {
                ours.name() == table.name() && ours.data_type() == table.data_type()
            });
        if matches {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "table {}: the batch has columns ({}), the table has ({}); adapt the batch or change the table's schema",
            self.base_format.table_name,
            describe(schema),
            describe(&self.schema),
        )))
    }
}

fn describe(schema: &SchemaRef) -> String {
    let columns: Vec<String> =
        schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    columns.join(", ")
}
