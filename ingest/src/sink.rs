//! One lake table as the pipeline sees it: changes go in, a commit carries them together with the checkpoint.

mod evolution;
mod feed;
mod merge;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
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

use crate::checkpoint::{CHECKPOINT_KEY, LakeCheckpoint};
use crate::config::{PipelineConfig, SchemaChangeBehaviors, SinkTableType, record_key};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::leases::Leases;
use crate::pipeline::progress::TableProgress;
use crate::pipeline::services::TableServices;
use crate::position::SourcePosition;
use crate::schema::{ColumnChange, SourceTable, TableChange};
pub(crate) use feed::Feed;
pub(crate) use merge::Arrivals;

/// A lake table and the transaction under way in it.
#[derive(Debug)]
pub(crate) struct LakeTable {
    name: String,
    table: Table,
    writer: TableWriter,
    /// The columns that the next instant writes.
    schema: SchemaRef,
    behaviors: SchemaChangeBehaviors,
    /// A column that the source renames is renamed in the lake, by its id.
    renames_in_place: bool,
    open: Option<Transaction>,
    services: TableServices,
}

impl LakeTable {
    /// Opens the lake table of `source`, creating it if it is not there, takes its lease, and rolls back what a dead writer of
    /// ours left.
    pub(crate) async fn open_or_create(
        config: &PipelineConfig,
        feed: &Feed,
        source: &SourceTable,
        env: &Env,
        row_group_bytes: u64,
        leases: &Leases,
        progress: &Arc<TableProgress>,
    ) -> Result<Self> {
        let name = config.sink_table(&source.database, &source.name);
        let location = lake_location(config, &name);
        let storage = Storage::open(&location)?;
        let table = match Table::open_storage(storage.clone()).await {
            Ok(table) => table,
            Err(error) if error.kind() == table_format::ErrorKind::NotFound => {
                let schema = feed.schema(source)?;
                let spec = table_spec(config, source, schema, &name)?;
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
        let services = TableServices::new(progress, &table, env, &config.sink.hoodie)?;
        services.execute_planned_clusterings().await?;
        let writer = table
            .leased_writer(env.clone(), options, lease)
            .await
            .map_err(|error| error.context(name.clone()))?;
        let schema = writer.schema().await;
        Ok(Self {
            name,
            table,
            writer,
            schema,
            behaviors: config.schema_change,
            renames_in_place: config
                .sink
                .hoodie
                .get(evolution::ON_READ)
                .is_some_and(|value| value.trim() == "true"),
            open: None,
            services,
        })
    }

    /// `database.table` in the lake.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The newest checkpoint in the table's commits, and the commit that carries it.
    pub(crate) async fn checkpoint<P: SourcePosition>(
        &self,
    ) -> Result<Option<(Instant, LakeCheckpoint<P>)>> {
        match self.table.last_extra_metadata(CHECKPOINT_KEY).await? {
            None => Ok(None),
            Some((instant, extra)) => Ok(Some((
                instant,
                LakeCheckpoint::from_extra_metadata(&self.name, &extra)?,
            ))),
        }
    }

    /// Gives the lake table the columns that follow from a change of a source; the next instant writes them. No instant may
    /// be open. What `others` still have, the sources merged with this one, is not dropped.
    pub(crate) async fn follow(
        &mut self,
        feed: &Feed,
        old: &SourceTable,
        change: &TableChange,
        others: &[SchemaRef],
    ) -> Result<()> {
        let source = feed.schema(&change.table)?;
        let mut changes = match feed.is_transformed() {
            true => evolution::changes_between(&feed.schema(old)?, &source),
            false => change.columns.clone(),
        };
        let is_left = |name: &str| {
            others
                .iter()
                .any(|other| other.column_with_name(name).is_some())
        };
        changes.retain(|change| !matches!(change, ColumnChange::Dropped(name) if is_left(name)));
        for change in &mut changes {
            // Rows of the others come with the old name still.
            if let ColumnChange::Renamed { from, to } = change
                && is_left(from)
            {
                *change = ColumnChange::Added(std::mem::take(to));
            }
        }
        self.evolve(&source, &changes, &change.table).await?;
        match others {
            [] => Ok(()),
            _ => self.relax_missing(&source).await,
        }
    }

    async fn evolve(
        &mut self,
        source: &SchemaRef,
        changes: &[ColumnChange],
        table: &SourceTable,
    ) -> Result<()> {
        let (renames, left) = match self.renames_in_place {
            true => evolution::renamed_in_place(&self.schema, changes, self.behaviors),
            false => (Vec::new(), changes.to_vec()),
        };
        if !renames.is_empty() {
            let altered = self.writer.alter(&renames, BTreeMap::new()).await;
            altered.map_err(|error| error.context(self.name.clone()))?;
            self.schema = self.writer.schema().await;
        }
        let evolved = evolution::evolved(&self.schema, source, &left, self.behaviors)
            .map_err(|error| error.context(table.to_string()))?;
        self.set_schema(evolved).await
    }

    async fn set_schema(&mut self, evolved: SchemaRef) -> Result<()> {
        if evolved.fields() != self.schema.fields() {
            let changed = self.writer.set_schema(Arc::clone(&evolved)).await;
            changed.map_err(|error| error.context(self.name.clone()))?;
            self.schema = evolved;
        }
        Ok(())
    }

    /// Lets the columns that rows of `source` come without hold nulls.
    async fn relax_missing(&mut self, source: &SchemaRef) -> Result<()> {
        self.set_schema(evolution::relaxed(&self.schema, source))
            .await
    }

    /// As [`Self::follow`], for a source of which it is not known how it changed: what it has and the lake has not is taken
    /// in. What the lake has and it has not may be null from now on if the source is one of several.
    pub(crate) async fn take_in(
        &mut self,
        feed: &Feed,
        source: &SourceTable,
        is_merged: bool,
    ) -> Result<()> {
        let wanted = feed.schema(source)?;
        let mut changes = evolution::changes_between(&self.schema, &wanted);
        changes.retain(|change| !matches!(change, ColumnChange::Dropped(_)));
        self.evolve(&wanted, &changes, source).await?;
        match is_merged {
            true => self.relax_missing(&wanted).await,
            false => Ok(()),
        }
    }

    /// Brings rows of a snapshot of `source` into the lake's columns, without those that the lake is not to hold.
    pub(crate) fn conform(
        &self,
        feed: &Feed,
        source: &SourceTable,
    ) -> Result<impl Fn(RecordBatch) -> Result<RecordBatch> + Send + use<>> {
        let (schema, behaviors) = (Arc::clone(&self.schema), self.behaviors);
        let transform = feed.of_snapshot(source)?;
        Ok(move |rows| evolution::conform(transform(rows)?, &schema, behaviors))
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

    /// Writes changes of a source table into the open instant, beginning one if there is none; a later change of a key wins.
    pub(crate) async fn upsert(&mut self, feed: &mut Feed, batch: WriteBatch) -> Result<()> {
        let (batch, _) = self.arriving(feed, batch)?;
        self.write(batch).await
    }

    /// Changes of a source table in the lake's columns, and which of those that came are left; all if `None`.
    fn arriving(
        &self,
        feed: &mut Feed,
        batch: WriteBatch,
    ) -> Result<(WriteBatch, Option<Vec<u32>>)> {
        let (mut batch, left) = feed.changes(batch)?;
        batch.records = evolution::conform(batch.records, &self.schema, self.behaviors)?;
        Ok((batch, left))
    }

    async fn write(&mut self, batch: WriteBatch) -> Result<()> {
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
    pub(crate) async fn commit<P: SourcePosition>(
        &mut self,
        checkpoint: &LakeCheckpoint<P>,
    ) -> Result<Instant> {
        let transaction = self.open.take().ok_or_else(|| no_instant(&self.name))?;
        let instant = transaction.commit(checkpoint.to_extra_metadata()?).await?;
        let position = checkpoint.tables.first();
        let position = position.map(|table| table.position.to_string());
        tracing::info!(table = self.name, instant = %instant.time, position, "committed");
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

/// Where the lake table `name`, `database.table`, lies.
pub(crate) fn lake_location(config: &PipelineConfig, name: &str) -> String {
    let root = config.sink.path.trim_end_matches('/');
    format!("{root}/{}", name.replacen('.', "/", 1))
}

fn no_instant(table: &str) -> Error {
    Error::internal(format!("{table}: no instant is open"))
}

fn table_spec(
    config: &PipelineConfig,
    source: &SourceTable,
    schema: SchemaRef,
    name: &str,
) -> Result<TableSpec> {
    let (database, table) = name.split_once('.').unwrap_or(("", name));
    let transform = config.transform(&source.database, &source.name);
    let record_key = record_key(&config.transforms, source);
    let partition_by =
        transform.map_or_else(Vec::new, |transform| transform.partition_keys.clone());
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
        schema,
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
    let message = format!(
        "the rows of {source} have no column `{column}`, by which the lake is keyed or partitioned; correct `transform` in the \
         pipeline file"
    );
    Err(Error::new(ErrorKind::Invalid, message))
}
