//! One lake table as the pipeline sees it: changes go in, a commit carries them together with the checkpoint.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use table_format::config::TableType;
use table_format::env::Env;
use table_format::record::WriteBatch;
use table_format::storage::Storage;
use table_format::table::{Table, TableSpec};
use table_format::timeline::Instant;
use table_format::timeline::metadata::WriteStat;
use table_format::writer::{
    BulkInsertWriter, TableWriter, Transaction, WriteOperation, WriterOptions,
};

use crate::checkpoint::{CHECKPOINT_KEY, TableCheckpoint};
use crate::config::{PipelineConfig, SinkTableType};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::leases::Leases;
use crate::pipeline::services::TableServices;
use crate::schema::SourceTable;

/// A lake table and the transaction under way in it.
#[derive(Debug)]
pub(crate) struct LakeTable {
    name: String,
    table: Table,
    writer: TableWriter,
    open: Option<Transaction>,
    services: TableServices,
}

impl LakeTable {
    /// Opens the lake table of `source`, creating it if it is not there, takes its lease, and rolls back what a dead writer of
    /// ours left.
    pub(crate) async fn open_or_create(
        config: &PipelineConfig,
        source: &SourceTable,
        env: &Env,
        row_group_bytes: u64,
        leases: &Leases,
    ) -> Result<Self> {
        let name = config.sink_table(&source.database, &source.name);
        let location = format!(
            "{}/{}",
            config.sink.path.trim_end_matches('/'),
            name.replacen('.', "/", 1)
        );
        let storage = Storage::open(&location)?;
        let table = match Table::open_storage(storage.clone()).await {
            Ok(table) => table,
            Err(error) if error.kind() == table_format::ErrorKind::NotFound => {
                let spec = table_spec(config, source, &name)?;
                match Table::create(storage.clone(), env.clone(), spec).await {
                    // Another daemon was quicker: the lease decides.
                    Err(error) if error.kind() == table_format::ErrorKind::AlreadyExists => {
                        Table::open_storage(storage.clone()).await?
                    }
                    created => created.map_err(|error| error.context(name.clone()))?,
                }
            }
            Err(error) => return Err(error.into()),
        };
        let options = WriterOptions::from_properties(&config.sink.hoodie)?
            .with_row_group_bytes(row_group_bytes);
        let lease = leases.of(&storage, env).await?;
        let services = TableServices::new(&name, &table, env, &config.sink.hoodie)?;
        services.execute_planned_clusterings().await?;
        let mut writer = table
            .leased_writer(env.clone(), options, lease)
            .await
            .map_err(|error| error.context(name.clone()))?;
        let schema = writer.schema().await;
        let evolved = evolved_schema(&schema, &source.arrow_schema()?);
        if evolved.fields() != schema.fields() {
            let changed = writer.set_schema(evolved).await;
            changed.map_err(|error| error.context(name.clone()))?;
            tracing::info!(
                table = name,
                "columns follow the source from the next commit on"
            );
        }
        Ok(Self {
            name,
            table,
            writer,
            open: None,
            services,
        })
    }

    /// `database.table` in the lake.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The newest checkpoint in the table's commits, and the commit that carries it.
    pub(crate) async fn checkpoint(&self) -> Result<Option<(Instant, TableCheckpoint)>> {
        match self.table.last_extra_metadata(CHECKPOINT_KEY).await? {
            None => Ok(None),
            Some((instant, extra)) => Ok(Some((
                instant,
                TableCheckpoint::from_extra_metadata(&self.name, &extra)?,
            ))),
        }
    }

    /// Begins an instant, as soon as no clustering is under way.
    pub(crate) async fn begin(&mut self, operation: WriteOperation) -> Result<()> {
        self.services.finish_clustering().await;
        self.open = Some(self.writer.begin(operation).await?);
        Ok(())
    }

    /// Makes writers of new file groups in the open instant; each may work in a task of its own.
    pub(crate) fn bulk_inserts(&self) -> Result<impl Fn() -> BulkInsertWriter + Send + use<>> {
        let factory = self.transaction()?.bulk_insert_factory();
        Ok(move || factory.bulk_insert())
    }

    /// Adds what bulk-insert writers have written to the open instant.
    pub(crate) fn add(&mut self, stats: Vec<WriteStat>) -> Result<()> {
        let name = self.name.clone();
        self.open
            .as_mut()
            .ok_or_else(|| no_instant(&name))?
            .add(stats);
        Ok(())
    }

    /// Writes changes into the open instant, beginning one if there is none; a later change of a key wins.
    pub(crate) async fn upsert(&mut self, batch: WriteBatch) -> Result<()> {
        if self.open.is_none() {
            self.begin(WriteOperation::Upsert).await?;
        }
        let name = self.name.clone();
        let transaction = self.open.as_mut().ok_or_else(|| no_instant(&name))?;
        Ok(transaction
            .upsert(batch)
            .await
            .map_err(|error| error.context(name))?)
    }

    /// Whether an instant is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Completes the open instant: its data and `checkpoint` become visible together.
    pub(crate) async fn commit(&mut self, checkpoint: &TableCheckpoint) -> Result<Instant> {
        let transaction = self.open.take().ok_or_else(|| no_instant(&self.name))?;
        let instant = transaction.commit(checkpoint.to_extra_metadata()?).await?;
        tracing::info!(table = self.name, instant = %instant.time, position = %checkpoint.position, "committed");
        self.services.begin();
        Ok(instant)
    }

    /// Waits for the table services that the last commits have begun.
    pub(crate) async fn finish_services(&mut self) {
        self.services.finish().await;
    }

    /// Undoes the open instant, if there is one.
    pub(crate) async fn abort(&mut self) -> Result<()> {
        match self.open.take() {
            Some(transaction) => Ok(transaction.abort().await?),
            None => Ok(()),
        }
    }

    fn transaction(&self) -> Result<&Transaction> {
        self.open.as_ref().ok_or_else(|| no_instant(&self.name))
    }
}

/// The lake table's columns after a change at the source: types follow the source, new columns come last and are nullable,
/// columns that the source no longer has stay, because older rows hold values in them.
fn evolved_schema(lake: &SchemaRef, source: &SchemaRef) -> SchemaRef {
    let followed = lake
        .fields()
        .iter()
        .map(|field| match source.field_with_name(field.name()) {
            Ok(now) => field
                .as_ref()
                .clone()
                .with_data_type(now.data_type().clone()),
            Err(_) => field.as_ref().clone(),
        });
    let is_new = |field: &&FieldRef| lake.field_with_name(field.name()).is_err();
    let added = source.fields().iter().filter(is_new);
    let added = added.map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(followed.chain(added).collect::<Vec<_>>()))
}

fn no_instant(table: &str) -> Error {
    Error::internal(format!("{table}: no instant is open"))
}

fn table_spec(config: &PipelineConfig, source: &SourceTable, name: &str) -> Result<TableSpec> {
    let (database, table) = name.split_once('.').unwrap_or(("", name));
    let transform = config.transform(&source.database, &source.name);
    let schema = source.arrow_schema()?;
    let mut record_key: Vec<_> = source
        .primary_key_names()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let mut partition_by = Vec::new();
    if let Some(transform) = transform {
        if !transform.primary_keys.is_empty() {
            record_key.clone_from(&transform.primary_keys);
        }
        partition_by.clone_from(&transform.partition_keys);
    }
    for column in record_key.iter().chain(&partition_by) {
        require_column(source, &schema, column)?;
    }
    Ok(TableSpec {
        name: table.to_owned(),
        database: database.to_owned(),
        table_type: match config.sink.table_type {
            SinkTableType::CopyOnWrite => TableType::CopyOnWrite,
            SinkTableType::MergeOnRead => TableType::MergeOnRead,
        },
        schema: Arc::clone(&schema),
        record_key,
        partition_by,
        ordering: Vec::new(),
        merge_mode: None,
        properties: config.sink.hoodie.clone(),
    })
}

fn require_column(source: &SourceTable, schema: &SchemaRef, column: &str) -> Result<()> {
    if schema.column_with_name(column).is_some() {
        return Ok(());
    }
    let message =
        format!("{source} has no column `{column}`; correct `transform` in the pipeline file");
    Err(Error::new(ErrorKind::Invalid, message))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;

    #[test]
    fn columns_are_widened_added_and_kept() {
        let field = |name: &str, data_type, nullable| Field::new(name, data_type, nullable);
        let lake = Arc::new(Schema::new(vec![
            field("id", DataType::Int32, false),
            field("dropped", DataType::Utf8, true),
        ]));
        let source = Arc::new(Schema::new(vec![
            field("new", DataType::Float64, false),
            field("id", DataType::Int64, false),
        ]));
        let expected = Schema::new(vec![
            field("id", DataType::Int64, false),
            field("dropped", DataType::Utf8, true),
            field("new", DataType::Float64, true),
        ]);
        assert_eq!(*evolved_schema(&lake, &source), expected);
        assert_eq!(evolved_schema(&lake, &lake), lake);
    }
}
