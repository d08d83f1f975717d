//! `TableWriter`: one writer of a table, which begins instants one after the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::sync::Mutex;

use crate::config::TableType;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::{BaseFileFormat, Horizon, Visibility};
use crate::index::bucket::refuse_bucket_files;
use crate::index::groups::FileGroups;
use crate::index::load::load_groups;
#[cfg(test)]
use crate::index::log_keys::LogSource;
use crate::record::delete_mark::DeleteMarks;
use crate::schema::adapt::adapt_batch;
use crate::schema::avro::{arrow_to_avro, record_name, record_namespace};
use crate::schema::evolution::{ColumnChange, WrittenSchema};
use crate::schema::meta::with_meta_columns;
use crate::table::Table;
use crate::timeline::metadata::{CommitMetadata, WriteOperation};
use crate::timeline::{ActiveTimeline, Instant, State};
use crate::transaction::announced::announced;
use crate::transaction::columns::Columns;
use crate::transaction::commit::Transaction;
use crate::transaction::heartbeat::{FailedWritesPolicy, Heartbeat};
use crate::transaction::lock::{LockGuard, TableLock, WriterLease};
use crate::transaction::replace::requested_content;
use crate::transaction::rollback::{roll_back, roll_back_pending};
use crate::transaction::state::{Known, TableState, WritableTable};
use crate::writer::{
    ChangeLogFormat, DataFiles, EarlyDetection, LogNames, OrderingColumns, WriteContext,
    WriterOptions,
};

/// Between two looks at a write that is only announced.
const ANNOUNCED_PAUSE: Duration = Duration::from_millis(50);
/// An instant after all others.
const LATER: &str = "99991231235959999";

/// Writes one table. What others commit in between is taken in. Beside other writers at the same time it works under
/// `OPTIMISTIC_CONCURRENCY_CONTROL` ([`LockSettings`](crate::config::LockSettings)); without, it takes pending writes of
/// others for dead and rolls them back.
#[derive(Debug)]
pub struct TableWriter {
    pub(super) state: Arc<TableState>,
}

impl Table {
    /// A writer of this table. Rolls back what a dead writer left and learns where the keys are.
    ///
    /// # Errors
    /// `Unsupported` for a table that can only be read; `Fenced` while another process holds a [`WriterLease`]; what the
    /// store says.
    pub async fn writer(&self, env: Env, options: WriterOptions) -> Result<TableWriter> {
        if !env.locks.is_optimistic() {
            WriterLease::require_none(self.storage(), &env).await?;
        }
        self.open_writer(env, options, None).await
    }

    /// The same under a lease: the writer completes nothing once the lease is lost.
    ///
    /// # Errors
    /// As [`Table::writer`]; `Invalid` for the lease of another table.
    pub async fn leased_writer(
        &self,
        env: Env,
        options: WriterOptions,
        lease: Arc<WriterLease>,
    ) -> Result<TableWriter> {
        if lease.location() != self.storage().location() {
            let message = format!(
                "a lease of {} for {}",
                lease.location(),
                self.storage().location()
            );
            return Err(Error::invalid(message));
        }
        lease.check().await?;
        self.open_writer(env, options, Some(lease)).await
    }

    async fn open_writer(
        &self,
        env: Env,
        mut options: WriterOptions,
        lease: Option<Arc<WriterLease>>,
    ) -> Result<TableWriter> {
        if env.locks.is_optimistic() {
            options.failed_writes.policy = FailedWritesPolicy::Lazy;
        }
        let known = Known {
            schema: self.schema().await?,
            is_schema_set: false,
            history: None,
            groups: Arc::new(FileGroups::default()),
            instants: BTreeSet::new(),
            are_groups_current: false,
        };
        let storage = self.storage();
        let state = TableState {
            lock: TableLock::try_new(storage, &env)?,
            storage: storage.clone(),
            env,
            options,
            known: Mutex::new(known),
            lease,
            unfinished: std::sync::Mutex::default(),
        };
        let writer = TableWriter {
            state: Arc::new(state),
        };
        refuse_bucket_files(storage).await?;
        let (table, _) = writer.refresh().await?;
        let known = writer.state.known.lock().await;
        let logs = writer.state.logs();
        table.index.check_keys(logs, &known.groups).await?;
        drop(known);
        Ok(writer)
    }
}

impl TableWriter {
    /// The table's columns without the meta columns, as the next instant writes them.
    pub async fn schema(&self) -> SchemaRef {
        Arc::clone(&self.state.known.lock().await.schema)
    }

    /// Changes the columns from the next instant on: columns may be added (nullable), widened or left out. Base files are
    /// rewritten in the new columns when their groups change; readers adapt the others. On tables with schema on read new columns get
    /// ids, and a column that is left out and comes back is another one; see [`TableWriter::alter`] for renames.
    ///
    /// # Errors
    /// `Invalid` when old rows could not be read in the new columns.
    pub async fn set_schema(&mut self, schema: SchemaRef) -> Result<()> {
        let mut known = self.state.known.lock().await;
        adapt_batch(&RecordBatch::new_empty(Arc::clone(&known.schema)), &schema)?;
        check_nullability(&known.schema, &schema)?;
        known.is_schema_set |= known.schema != schema;
        known.schema = schema;
        Ok(())
    }

    /// Begins an instant: rolls back pending writes, takes in what others committed, and announces the write. Waits while
    /// another living writer has announced its own and not yet looked at the table.
    ///
    /// # Errors
    /// `Conflict` when another writer began at the same moment or the timeline is ahead of the clock; `Unsupported` when
    /// the table has become one that can only be read.
    pub async fn begin(&mut self, operation: WriteOperation) -> Result<Transaction> {
        self.start(operation, &[]).await
    }

    pub(super) async fn start(
        &self,
        operation: WriteOperation,
        changes: &[ColumnChange],
    ) -> Result<Transaction> {
        let state = &self.state;
        let (table, timeline, requested) = loop {
            let (table, timeline) = self.refresh().await?;
            // What cannot be is said before there is an instant.
            state
                .known
                .lock()
                .await
                .columns_at(&LATER.parse()?, changes)?;
            let guard = state.lock.acquire().await?;
            let requested = self.request(&table, &guard, operation).await;
            guard.release().await;
            if let Some(requested) = requested? {
                break (table, timeline, requested);
            }
            tokio::time::sleep(ANNOUNCED_PAUSE).await;
        };
        let (requested, log_names, heartbeat) = requested;
        let inflight = Instant {
            state: State::Inflight,
            ..requested
        };
        let plan = CommitMetadata::new(operation).encode_for(table.config.version(), &inflight)?;
        state
            .storage
            .create(&timeline.path_of(&inflight), plan.into())
            .await?;
        let known = state.known.lock().await;
        let context = write_context(
            state,
            &table,
            known.columns_at(&inflight.time, changes)?,
            &inflight,
            operation,
            &timeline,
            log_names,
        )?;
        let groups = known.groups.as_ref().clone();
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
            groups,
            seen,
            heartbeat,
        ))
    }

    /// Chooses the time of an instant and puts it on the timeline, later than all that is there now; `None` while another
    /// write is only announced.
    async fn request(
        &self,
        table: &WritableTable,
        guard: &LockGuard,
        operation: WriteOperation,
    ) -> Result<Option<(Instant, LogNames, Option<Heartbeat>)>> {
        let state = &self.state;
        let (storage, failed_writes) = (&state.storage, &state.options.failed_writes);
        let timeline = ActiveTimeline::load(storage, &table.config).await?;
        let (config, env) = (&table.config, &state.env);
        if env.locks.is_optimistic()
            && let Some(other) = announced(storage, env, config, &timeline, failed_writes).await?
        {
            tracing::debug!(table = config.name(), instant = %other.time, "waiting for another writer to read the table");
            return Ok(None);
        }
        let requested = Instant {
            time: table.next_time(&state.env, &timeline).await?,
            action: table.write_action(operation),
            state: State::Requested,
            completion: None,
        };
        // Under the lock: no compaction is planned meanwhile where log files bear its instant.
        let log_names = LogNames::of(&table.config, &timeline, &requested.time).await?;
        guard.check().await?;
        if let Some(lease) = &state.lease {
            lease.check().await?;
        }
        let heartbeat =
            Heartbeat::start(storage, &state.env, &requested.time, failed_writes).await?;
        state.begun(&requested.time);
        let path = timeline.path_of(&requested);
        let content = requested_content(operation)?;
        match state.storage.create(&path, content.into()).await {
            Ok(()) => Ok(Some((requested, log_names, heartbeat))),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                state.finished(&requested.time);
                let what = "another writer began an instant at the same moment; try again";
                Err(Error::new(ErrorKind::Conflict, what).with_source(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Undoes pending writes that nobody goes on with. Under optimistic concurrency control these are our own, and those
    /// whose heartbeats have expired: another writer may be at work on the others.
    async fn roll_back_dead(
        &self,
        table: &WritableTable,
        timeline: &ActiveTimeline,
    ) -> Result<bool> {
        let state = &self.state;
        let (storage, env, config) = (&state.storage, &state.env, &table.config);
        let failed_writes = &state.options.failed_writes;
        let unfinished = state.unfinished();
        if !env.locks.is_optimistic() || unfinished.is_empty() {
            return roll_back_pending(storage, env, config, timeline, failed_writes).await;
        }
        let ours = timeline
            .pending()
            .filter(|instant| unfinished.contains(&instant.time));
        for instant in ours {
            roll_back(storage, env, config, instant).await?;
        }
        unfinished
            .iter()
            .for_each(|instant| state.finished(instant));
        let timeline = ActiveTimeline::load(storage, config).await?;
        roll_back_pending(storage, env, config, &timeline, failed_writes).await?;
        Ok(true)
    }

    /// Reads the table's settings and timeline anew, rolls back dead writes, and brings up to date what is known of the file groups.
    async fn refresh(&self) -> Result<(WritableTable, ActiveTimeline)> {
        let state = &self.state;
        if let Some(lease) = &state.lease {
            // Whoever took over may be at work on what looks dead from here.
            lease.check().await?;
        }
        let table = WritableTable::load(&state.storage, &state.options.properties).await?;
        let mut timeline = ActiveTimeline::load(&state.storage, &table.config).await?;
        let is_rolled_back = self.roll_back_dead(&table, &timeline).await?;
        if is_rolled_back {
            timeline = ActiveTimeline::load(&state.storage, &table.config).await?;
        }
        let mut known = state.known.lock().await;
        // Command blocks have taken versions of log files.
        known.are_groups_current &= !(is_rolled_back && table.config.version().shares_logs());
        let completed: BTreeSet<Instant> = timeline.completed_writes().cloned().collect();
        if !known.are_groups_current || known.instants != completed {
            self.take_in_columns(&mut known, &table, &timeline).await?;
            let (schema, groups) = (&known.schema, &known.groups);
            let groups = load_groups(
                state.logs(),
                &table.config,
                table.range_field(),
                schema,
                &timeline,
                groups,
            )
            .await?;
            let checked = table.index.check(&groups);
            checked.map_err(|error| error.context(format!("table {}", table.config.name())))?;
            known.groups = Arc::new(groups);
            known.instants = completed;
            known.are_groups_current = true;
        }
        Ok((table, timeline))
    }
}

#[cfg(test)]
impl TableWriter {
    /// Asserts the index's invariant: each key of each group lies in the range of its group.
    pub(crate) async fn check_ranges(&self, storage: &crate::storage::Storage) {
        let known = self.state.known.lock().await;
        assert!(known.are_groups_current);
        let table = WritableTable::load(storage, &self.state.options.properties)
            .await
            .unwrap();
        let timeline = ActiveTimeline::load(storage, &table.config).await.unwrap();
        let nothing = FileGroups::default();
        let rebuilt = load_groups(
            LogSource {
                storage,
                memory: &self.state.env.memory,
            },
            &table.config,
            table.range_field(),
            &known.schema,
            &timeline,
            &nothing,
        );
        let rebuilt = rebuilt.await.unwrap();
        assert_eq!(rebuilt.groups().count(), known.groups.groups().count());
        for group in rebuilt.groups() {
            let kept = known
                .groups
                .find(&group.slice)
                .expect("the index has the newest files");
            if table.index.reads_ranges() {
                assert_eq!(kept.range, group.range, "{}", group.slice.file_id);
            }
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
    columns: Columns,
    instant: &Instant,
    operation: WriteOperation,
    timeline: &ActiveTimeline,
    log_names: LogNames,
) -> Result<WriteContext> {
    let name = table.config.name();
    let Columns { schema, written } = columns;
    let schema = &schema;
    let (storage, env, options) = (&state.storage, &state.env, &state.options);
    let early = EarlyDetection::of(storage, env, &table.config, options, &instant.time);
    let with_meta = with_meta_columns(schema);
    let avro_schema = arrow_to_avro(&with_meta, &record_name(name), &record_namespace(name))?;
    let mut visibility = Visibility::new(timeline, Horizon::Latest);
    if table.config.version().shares_logs() {
        visibility = visibility.with_own(&instant.time);
    }
    Ok(WriteContext {
        storage: state.storage.clone(),
        env: state.env.clone(),
        options: state.options.clone(),
        config: Arc::new(table.config.clone()),
        instant: instant.time.clone(),
        operation,
        index: Arc::clone(&table.index),
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
        visibility: Arc::new(visibility),
        is_merge_on_read: table.config.table_type() == TableType::MergeOnRead,
        change_log: ChangeLogFormat::of_table(&table.config, schema)?.map(Arc::new),
        files: DataFiles::new(state.storage.clone(), instant.time.clone())
            .with_early_detection(early),
        log_names,
        evolution: written
            .as_deref()
            .map(WrittenSchema::evolution)
            .transpose()?,
        written,
    })
}
