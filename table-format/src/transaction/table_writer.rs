//! `TableWriter`: one writer of a table, which begins instants one after the other.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::sync::Mutex;

use crate::config::TableType;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::{BaseFileFormat, Horizon, Visibility};
use crate::index::key_range::KeyRangeIndex;
use crate::index::load::load_index;
use crate::record::delete_mark::DeleteMarks;
use crate::schema::adapt::adapt_batch;
use crate::schema::avro::{arrow_to_avro, record_name, record_namespace};
use crate::schema::meta::with_meta_columns;
use crate::table::Table;
use crate::timeline::metadata::{CommitMetadata, Payload, WriteOperation};
use crate::timeline::{ActiveTimeline, Instant, State};
use crate::transaction::commit::Transaction;
use crate::transaction::replace::requested_content;
use crate::transaction::rollback::roll_back_pending;
use crate::transaction::state::{Known, TableState, WritableTable};
use crate::writer::{DataFiles, OrderingColumns, WriteContext, WriterOptions};

/// Writes one table. There is one writer of a table at a time; what another engine commits in between is taken in.
#[derive(Debug)]
pub struct TableWriter {
    state: Arc<TableState>,
}

impl Table {
    /// A writer of this table. Rolls back what a dead writer left and learns where the keys are.
    ///
    /// # Errors
    /// `Unsupported` for a table that can only be read; what the store says.
    pub async fn writer(&self, env: Env, options: WriterOptions) -> Result<TableWriter> {
        let known = Known {
            schema: self.schema().await?,
            index: Arc::new(KeyRangeIndex::default()),
            instants: BTreeSet::new(),
            is_index_current: false,
        };
        let storage = self.storage().clone();
        let state = TableState {
            storage,
            env,
            options,
            known: Mutex::new(known),
        };
        let writer = TableWriter {
            state: Arc::new(state),
        };
        writer.refresh().await?;
        Ok(writer)
    }
}

impl TableWriter {
    /// The table's columns without the meta columns, as the next instant writes them.
    pub async fn schema(&self) -> SchemaRef {
        Arc::clone(&self.state.known.lock().await.schema)
    }

    /// Changes the columns from the next instant on: columns may be added (nullable), widened or left out. Base files are
    /// rewritten in the new columns when their groups change; readers adapt the others.
    ///
    /// # Errors
    /// `Invalid` when old rows could not be read in the new columns.
    pub async fn set_schema(&mut self, schema: SchemaRef) -> Result<()> {
        let mut known = self.state.known.lock().await;
        adapt_batch(&RecordBatch::new_empty(Arc::clone(&known.schema)), &schema)?;
        check_nullability(&known.schema, &schema)?;
        known.schema = schema;
        Ok(())
    }

    /// Begins an instant: rolls back pending writes, takes in what others committed, and announces the write.
    ///
    /// # Errors
    /// `Conflict` when another writer began at the same moment or the timeline is ahead of the clock; `Unsupported` when
    /// the table has become one that can only be read.
    pub async fn begin(&mut self, operation: WriteOperation) -> Result<Transaction> {
        let (table, timeline) = self.refresh().await?;
        let state = &self.state;
        let time = table.next_time(&state.env, &timeline).await?;
        let requested = Instant {
            time,
            action: table.write_action(operation),
            state: State::Requested,
            completion: None,
        };
        state
            .storage
            .create(
                &timeline.path_of(&requested),
                requested_content(operation)?.into(),
            )
            .await
            .map_err(|error| {
                if error.kind() == ErrorKind::AlreadyExists {
                    Error::new(
                        ErrorKind::Conflict,
                        "another writer began an instant at the same moment; try again",
                    )
                    .with_source(error)
                } else {
                    error
                }
            })?;
        let inflight = Instant {
            state: State::Inflight,
            ..requested
        };
        let plan = CommitMetadata::new(operation).encode_avro()?;
        state
            .storage
            .create(&timeline.path_of(&inflight), plan.into())
            .await?;
        let known = state.known.lock().await;
        let context = write_context(state, &table, &known.schema, &inflight, &timeline)?;
        let index = known.index.as_ref().clone();
        drop(known);
        let seen = timeline
            .completed_writes()
            .map(|instant| instant.time.clone())
            .collect();
        Ok(Transaction::new(
            Arc::clone(state),
            Arc::new(context),
            inflight,
            operation,
            index,
            seen,
        ))
    }

    /// Reads the table's settings and timeline anew, rolls back dead writes, and brings the index up to date.
    async fn refresh(&self) -> Result<(WritableTable, ActiveTimeline)> {
        let state = &self.state;
        let table = WritableTable::load(&state.storage, &state.options.properties).await?;
        let mut timeline = ActiveTimeline::load(&state.storage, &table.config).await?;
        if roll_back_pending(&state.storage, &state.env, &table.config, &timeline).await? {
            timeline = ActiveTimeline::load(&state.storage, &table.config).await?;
        }
        let mut known = state.known.lock().await;
        let completed: BTreeSet<Instant> = timeline.completed_writes().cloned().collect();
        if !known.is_index_current || known.instants != completed {
            let key_field = table.keys.fields().first().map_or("", String::as_str);
            let (schema, index) = (&known.schema, &known.index);
            let index = load_index(
                &state.storage,
                &table.config,
                key_field,
                schema,
                &timeline,
                index,
            )
            .await?;
            known.index = Arc::new(index);
            known.instants = completed;
            known.is_index_current = true;
        }
        Ok((table, timeline))
    }
}

#[cfg(test)]
impl TableWriter {
    /// Asserts the index's invariant: each key of each group lies in the range of its group.
    pub(crate) async fn check_ranges(&self, storage: &crate::storage::Storage) {
        let known = self.state.known.lock().await;
        assert!(known.is_index_current);
        let table = WritableTable::load(storage, &self.state.options.properties)
            .await
            .unwrap();
        let timeline = ActiveTimeline::load(storage, &table.config).await.unwrap();
        let key_field = table.keys.fields()[0].as_str();
        let nothing = KeyRangeIndex::default();
        let rebuilt = load_index(
            storage,
            &table.config,
            key_field,
            &known.schema,
            &timeline,
            &nothing,
        );
        let rebuilt = rebuilt.await.unwrap();
        assert_eq!(rebuilt.groups().count(), known.index.groups().count());
        for group in rebuilt.groups() {
            let kept = known
                .index
                .find(&group.slice)
                .expect("the index has the newest files");
            assert_eq!(kept.range, group.range, "{}", group.slice.file_id);
        }
    }
}

/// Old rows may hold nulls where the old columns allowed them.
fn check_nullability(old: &SchemaRef, new: &SchemaRef) -> Result<()> {
    for field in new.fields().iter().filter(|field| !field.is_nullable()) {
        if old
            .field_with_name(field.name())
            .is_ok_and(arrow::datatypes::Field::is_nullable)
        {
            let message = format!(
                "column `{}` may hold nulls and cannot become NOT NULL",
                field.name()
            );
            return Err(Error::invalid(message));
        }
    }
    Ok(())
}

fn write_context(
    state: &TableState,
    table: &WritableTable,
    schema: &SchemaRef,
    instant: &Instant,
    timeline: &ActiveTimeline,
) -> Result<WriteContext> {
    let name = table.config.name();
    let with_meta = with_meta_columns(schema);
    let avro_schema = arrow_to_avro(&with_meta, &record_name(name), &record_namespace(name))?;
    Ok(WriteContext {
        storage: state.storage.clone(),
        env: state.env.clone(),
        options: state.options.clone(),
        config: Arc::new(table.config.clone()),
        instant: instant.time.clone(),
        schema: Arc::clone(schema),
        base_format: BaseFileFormat {
            schema: with_meta,
            avro_schema,
            table_name: name.to_owned(),
            record_key: table.keys.fields().to_vec(),
            options: state.options.base_file.clone(),
        },
        keys: table.keys.clone(),
        partitions: table.partitions.clone(),
        ordering: OrderingColumns::try_new(&table.config, schema)?,
        delete_marks: DeleteMarks::try_new(&table.config, schema, &state.options.properties)?,
        visibility: Arc::new(Visibility::new(timeline, Horizon::Latest)),
        is_merge_on_read: table.config.table_type() == TableType::MergeOnRead,
        files: DataFiles::new(state.storage.clone(), instant.time.clone()),
    })
}
