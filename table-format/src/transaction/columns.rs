//! The columns of a writer's instants, and changes of them in place: schema on read.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::error::{Error, ErrorKind, Result};
use crate::schema::avro::avro_to_arrow;
use crate::schema::evolution::{ColumnChange, SchemaHistory, WrittenSchema};
use crate::schema::meta::without_meta_columns;
use crate::table::Table;
use crate::timeline::metadata::WriteOperation;
use crate::timeline::{ActiveTimeline, Instant, InstantTime};
use crate::transaction::state::{Known, WritableTable};
use crate::transaction::table_writer::TableWriter;

impl TableWriter {
    /// Changes columns in a commit of its own, which rewrites no file, with schema on read: columns are known by their ids from
    /// then on, and this table's history begins with the first such change. Whoever reads it must know of that: Spark with
    /// `hoodie.schema.on.read.enable=true`, hudi-rs and others not at all.
    ///
    /// Java: AlterTableCommand#commitWithSchema.
    ///
    /// # Errors
    /// `Invalid` for a change that cannot be made, naming the column: a key, partition or ordering column, a name that is taken, a type
    /// that does not hold all values; `Unsupported` for a column of a type that Hudi cannot read back from a history; else as
    /// [`TableWriter::begin`] and [`Transaction::commit`](crate::writer::Transaction::commit).
    pub async fn alter(
        &mut self,
        changes: &[ColumnChange],
        extra_metadata: BTreeMap<String, String>,
    ) -> Result<Instant> {
        let config = WritableTable::load(&self.state.storage, &self.state.options.properties)
            .await?
            .config;
        let fixed = [
            ("a key", config.record_key_fields()),
            ("a partition column", config.partition_fields()),
            ("an ordering column", config.ordering_fields()),
        ];
        for change in changes {
            change.check_not_fixed(&fixed)?;
        }
        let transaction = self.start(WriteOperation::AlterSchema, changes).await?;
        transaction.commit(extra_metadata).await
    }

    /// Takes over columns that another writer has changed by their ids: by name they would pass for others.
    pub(super) async fn take_in_columns(
        &self,
        known: &mut Known,
        table: &WritableTable,
        timeline: &ActiveTimeline,
    ) -> Result<()> {
        let storage = &self.state.storage;
        let history = SchemaHistory::load(storage, timeline).await?;
        let version_of = |history: &Option<SchemaHistory>| {
            let history = history.as_ref();
            history.and_then(SchemaHistory::newest_version)
        };
        if version_of(&history) != version_of(&known.history) {
            if known.is_schema_set {
                let message = format!(
                    "table {}: another writer has changed its columns; open it again",
                    table.config.name()
                );
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            let table = Table::new(storage.clone(), table.config.clone());
            let schema = avro_to_arrow(&table.schema_text(timeline).await?)?;
            known.schema = without_meta_columns(&schema);
        }
        known.history = history;
        Ok(())
    }
}

impl Known {
    /// The columns of an instant's rows, after these changes.
    pub(super) fn columns_at(
        &self,
        instant: &InstantTime,
        changes: &[ColumnChange],
    ) -> Result<Columns> {
        let written = match &self.history {
            _ if !changes.is_empty() => {
                let history = self.history.as_ref();
                WrittenSchema::altered(history, instant, &self.schema, changes)?
            }
            Some(history) => WrittenSchema::of_rows(history, instant, &self.schema)?,
            None => {
                return Ok(Columns {
                    schema: Arc::clone(&self.schema),
                    written: None,
                });
            }
        };
        Ok(Columns {
            schema: if changes.is_empty() {
                Arc::clone(&self.schema)
            } else {
                written.schema().arrow_schema()?
            },
            written: Some(Arc::new(written)),
        })
    }
}

/// The columns of an instant's rows.
pub(super) struct Columns {
    pub(super) schema: SchemaRef,
    pub(super) written: Option<Arc<WrittenSchema>>,
}
