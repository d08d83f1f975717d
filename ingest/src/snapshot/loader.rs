//! Reads one table with several connections and commits what has been read, again and again until nothing remains.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arrow::array::RecordBatch;
use table_format::timeline::Instant as CommittedInstant;
use table_format::writer::{BulkInsertWriter, WriteOperation};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::assigner::SplitAssigner;
use super::throttle::Throttle;
use crate::batch::BatchBuilder;
use crate::checkpoint::{LakeCheckpoint, SnapshotProgress};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::memory::MemoryPlan;
use crate::pipeline::progress::{Phase, Progress, TableProgress};
use crate::position::SourcePosition;
use crate::schema::SourceTable;
use crate::sink::{Feed, LakeTable};
use crate::source::mysql::chunk::{Chunk, KeyRange, read_chunk, read_where};
use crate::source::mysql::connection::{Connection, MySqlOptions};
use crate::source::mysql::result_set::RowStream;
use table_format::record::RowKind;

/// A snapshot is committed at most this often, so that base files can reach their size.
const COMMITS_PER_INTERVAL: u32 = 6;

/// Loads tables one after the other, each with several connections.
#[derive(Debug)]
pub(crate) struct SnapshotLoader {
    pub(crate) options: MySqlOptions,
    pub(crate) plan: MemoryPlan,
    pub(crate) chunk_rows_max: u64,
    pub(crate) commit_interval: Duration,
    pub(crate) throttle: Throttle,
    pub(crate) counters: Arc<Progress>,
    pub(crate) shutdown: CancellationToken,
}

/// One source table to load.
#[derive(Debug)]
pub(crate) struct TableLoad<'a, P> {
    pub(crate) source: Arc<SourceTable>,
    pub(crate) feed: &'a mut Feed,
    pub(crate) lake: &'a mut LakeTable,
    /// What the lake table holds: each commit sets what it says of this source table.
    pub(crate) checkpoint: &'a mut LakeCheckpoint<P>,
    /// The number of this source table in the checkpoint.
    pub(crate) number: usize,
    /// Whether no rows of other source tables are in the lake table, so that all keys are new.
    pub(crate) is_first: bool,
    pub(crate) row_bytes_average: u64,
    pub(crate) rows_estimated: u64,
    pub(crate) progress: Arc<TableProgress>,
}

impl<P> TableLoad<'_, P> {
    pub(super) fn snapshot_mut(&mut self) -> &mut Option<SnapshotProgress> {
        &mut self.checkpoint.tables[self.number].snapshot
    }

    pub(super) fn begin(&self, rows: u64) {
        self.progress.set_phase(Phase::Snapshot);
        self.progress
            .rows_estimated
            .store(self.rows_estimated, Relaxed);
        self.progress.snapshot_rows.store(rows, Relaxed);
    }

    pub(super) fn new_builder(&self) -> Result<BatchBuilder> {
        let builder = BatchBuilder::new(Arc::clone(&self.source))?;
        Ok(builder.with_origins(self.feed.needs_origin()))
    }
}

impl SnapshotLoader {
    /// Reads what the checkpoint says remains, up to the commit that finishes the snapshot, unless a shutdown is asked for.
    pub(crate) async fn load<P: SourcePosition>(
        &self,
        mut load: TableLoad<'_, P>,
    ) -> Result<Option<CommittedInstant>> {
        let Some(snapshot) = load.snapshot_mut().clone() else {
            return Ok(None);
        };
        if load.feed.appends() {
            load.lake.begin(WriteOperation::BulkInsert).await?;
            return self.load_view(load).await;
        }
        load.begin(snapshot.rows);
        let assigner = self.assigner(&load, snapshot.remaining).await?;
        let mut rows = snapshot.rows;
        loop {
            let due = Instant::now() + self.commit_interval * COMMITS_PER_INTERVAL;
            let operation = match load.is_first {
                true => WriteOperation::BulkInsert,
                false => WriteOperation::Upsert,
            };
            load.lake.begin(operation).await?;
            let filled = match load.is_first {
                true => self.fill(&load, &assigner, Some(due)).await,
                false => self.merge(&mut load, &assigner, due).await,
            };
            match filled {
                Ok((read, stats)) => {
                    rows += read;
                    load.lake.add(stats)?;
                }
                Err(error) => {
                    load.lake.abort().await?;
                    return Err(error);
                }
            }
            let remaining = assigner.lock().await.remaining();
            let finished = remaining.is_empty();
            *load.snapshot_mut() = (!finished).then_some(SnapshotProgress { remaining, rows });
            let instant = self.commit(&mut load).await?;
            if finished || self.shutdown.is_cancelled() {
                return Ok(Some(instant));
            }
        }
    }

    /// Reads all of a table and puts it in the place of what the lake table holds, in one commit. Until then readers see the
    /// old rows; what was read is lost when the process ends before.
    pub(crate) async fn replace<P: SourcePosition>(
        &self,
        mut load: TableLoad<'_, P>,
    ) -> Result<Option<CommittedInstant>> {
        if load.feed.appends() {
            load.lake.finish_services().await;
            load.lake
                .begin(WriteOperation::InsertOverwriteTable)
                .await?;
            return self.load_view(load).await;
        }
        let remaining = load.snapshot_mut().take();
        let remaining = remaining.map_or_else(Vec::new, |snapshot| snapshot.remaining);
        load.begin(0);
        let assigner = self.assigner(&load, remaining).await?;
        load.lake.finish_services().await;
        load.lake
            .begin(WriteOperation::InsertOverwriteTable)
            .await?;
        let filled = self.fill(&load, &assigner, None).await;
        let is_whole = assigner.lock().await.remaining().is_empty();
        let stats = match filled {
            Ok((_, stats)) if is_whole => stats,
            outcome => {
                load.lake.abort().await?;
                outcome?;
                let message = format!("stopped while {} was being loaded anew", load.source);
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
        };
        load.lake.add(stats)?;
        Ok(Some(self.commit(&mut load).await?))
    }

    /// Reads the rows that meet `condition` and writes them over those that are there, in one commit that reaches no further
    /// than the table did: the log is replayed over them from there.
    pub(crate) async fn reload<P: SourcePosition>(
        &self,
        mut load: TableLoad<'_, P>,
        condition: &str,
    ) -> Result<Option<CommittedInstant>> {
        if load.feed.appends() {
            return Err(Error::invalid(format!(
                "rows of {} are appended: those of a condition would be there twice; delete the request, and ask for the whole \
                 table with `lakebed resnapshot`",
                load.source
            )));
        }
        let mut connection = Connection::connect_snapshot(&self.options).await?;
        let mut builder = load.new_builder()?;
        let rows = read_where(&mut connection, &load.source, condition).await?;
        builder.check_result(rows.columns())?;
        let read = self
            .write_over(&mut load, rows, &mut builder, RowKind::UpdateAfter)
            .await?;
        tracing::info!(table = %load.source, condition, rows = read, "read again");
        Ok(Some(self.commit(&mut load).await?))
    }

    /// Reads until everything has been handed out or a commit is due, and writes the rows over those that are there; returns
    /// how many.
    async fn merge<P: SourcePosition>(
        &self,
        load: &mut TableLoad<'_, P>,
        assigner: &Mutex<SplitAssigner>,
        due: Instant,
    ) -> Result<(u64, Stats)> {
        let mut connection = Connection::connect_snapshot(&self.options).await?;
        let mut builder = load.new_builder()?;
        let is_due = || self.shutdown.is_cancelled() || Instant::now() >= due;
        let mut read = 0;
        while !is_due() {
            let mut run = assigner.lock().await.next_run().await?;
            if run.is_empty() {
                break;
            }
            while let Some(chunk) = run.pop_front() {
                let rows = read_chunk(&mut connection, &load.source, &chunk).await?;
                builder.check_result(rows.columns())?;
                read += self
                    .write_over(load, rows, &mut builder, RowKind::Insert)
                    .await?;
                load.progress.chunks.fetch_add(1, Relaxed);
                if is_due() {
                    break;
                }
            }
            assigner.lock().await.give_back(run);
        }
        Ok((read, Stats::new()))
    }

    /// Writes rows of the server over those that are there, batch by batch; returns how many.
    async fn write_over<P: SourcePosition>(
        &self,
        load: &mut TableLoad<'_, P>,
        mut rows: RowStream<'_>,
        builder: &mut BatchBuilder,
        kind: RowKind,
    ) -> Result<u64> {
        let mut read = 0;
        loop {
            let row = rows.next_row().await?;
            let is_last = row.is_none();
            if let Some(row) = row {
                builder.append_binary_row(row, kind)?;
            }
            if builder.bytes() >= self.plan.batch_bytes || (is_last && builder.rows() > 0) {
                let count = builder.rows() as u64;
                self.throttle.take(count).await;
                load.lake.upsert(load.feed, builder.finish()?).await?;
                load.progress.snapshot_rows.fetch_add(count, Relaxed);
                read += count;
            }
            if is_last {
                return Ok(read);
            }
        }
    }

    pub(super) async fn commit<P: SourcePosition>(
        &self,
        load: &mut TableLoad<'_, P>,
    ) -> Result<CommittedInstant> {
        let began = Instant::now();
        let instant = load.lake.commit(load.checkpoint).await?;
        self.counters.commit_duration.observe(began.elapsed());
        load.progress.set_committed(self.counters.now_millis());
        Ok(instant)
    }

    async fn assigner<P: SourcePosition>(
        &self,
        load: &TableLoad<'_, P>,
        remaining: Vec<KeyRange>,
    ) -> Result<Arc<Mutex<SplitAssigner>>> {
        let row_bytes = load.row_bytes_average.max(16);
        let chunk_rows =
            (self.plan.chunk_bytes / row_bytes).clamp(1_000, self.chunk_rows_max.max(1_000));
        let chunk_rows = chunk_rows.min(self.chunk_rows_max);
        let chunks = load.rows_estimated / chunk_rows + 1;
        let per_file = self.plan.file_source_bytes / (chunk_rows * row_bytes) + 1;
        let fair = chunks / (2 * self.plan.snapshot_workers as u64) + 1;
        let per_run = usize::try_from(per_file.min(fair)).unwrap_or(1);
        let connection = Connection::connect_snapshot(&self.options).await?;
        let table = Arc::clone(&load.source);
        let assigner = SplitAssigner::new(connection, table, remaining, chunk_rows, per_run);
        Ok(Arc::new(Mutex::new(assigner)))
    }

    /// Reads until everything has been handed out or a commit is due (never if `None`); returns the rows read and the files
    /// written.
    async fn fill<P: SourcePosition>(
        &self,
        load: &TableLoad<'_, P>,
        assigner: &Arc<Mutex<SplitAssigner>>,
        due: Option<Instant>,
    ) -> Result<(u64, Stats)> {
        let mut readers = JoinSet::new();
        for _ in 0..self.plan.snapshot_workers {
            let reader = Reader {
                connection: None,
                options: self.options.clone(),
                assigner: Arc::clone(assigner),
                builder: load.new_builder()?,
                batch_bytes: self.plan.batch_bytes,
                progress: Arc::clone(&load.progress),
                conform: Box::new(load.lake.conform(load.feed, &load.source)?),
                throttle: self.throttle.clone(),
                shutdown: self.shutdown.clone(),
                due,
                rows: 0,
            };
            readers.spawn(reader.read(load.lake.bulk_inserts()?));
        }
        let (mut rows, mut files) = (0, Stats::new());
        while let Some(reader) = readers.join_next().await {
            let reader = reader.map_err(|error| {
                Error::internal(format!(
                    "a snapshot reader of {} died: {error}",
                    load.source
                ))
            })?;
            let (read, stats) = reader.map_err(|error| error.context(load.source.to_string()))?;
            rows += read;
            files.extend(stats);
        }
        Ok((rows, files))
    }
}

/// Reads runs of chunks, each into file groups of its own.
struct Reader {
    connection: Option<Connection>,
    options: MySqlOptions,
    assigner: Arc<Mutex<SplitAssigner>>,
    builder: BatchBuilder,
    batch_bytes: u64,
    progress: Arc<TableProgress>,
    conform: Box<dyn Fn(RecordBatch) -> Result<RecordBatch> + Send>,
    throttle: Throttle,
    shutdown: CancellationToken,
    due: Option<Instant>,
    rows: u64,
}

type Stats = Vec<table_format::timeline::metadata::WriteStat>;

impl Reader {
    async fn read(
        mut self,
        new_writer: impl Fn() -> BulkInsertWriter + Send,
    ) -> Result<(u64, Stats)> {
        let mut stats = Stats::new();
        while !self.is_due() {
            let run = self.assigner.lock().await.next_run().await?;
            if run.is_empty() {
                break;
            }
            let mut writer = new_writer();
            self.read_run(run, &mut writer).await?;
            stats.extend(writer.finish().await?);
        }
        Ok((self.rows, stats))
    }

    fn is_due(&self) -> bool {
        self.shutdown.is_cancelled() || self.due.is_some_and(|due| Instant::now() >= due)
    }

    /// Reads at least one chunk of a run and gives back what it does not come to.
    async fn read_run(
        &mut self,
        mut run: VecDeque<Chunk>,
        writer: &mut BulkInsertWriter,
    ) -> Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::connect_snapshot(&self.options).await?,
        };
        while let Some(chunk) = run.pop_front() {
            self.read_chunk(&mut connection, &chunk, writer).await?;
            if self.is_due() {
                break;
            }
        }
        self.connection = Some(connection);
        self.assigner.lock().await.give_back(run);
        Ok(())
    }

    async fn read_chunk(
        &mut self,
        connection: &mut Connection,
        chunk: &Chunk,
        writer: &mut BulkInsertWriter,
    ) -> Result<()> {
        let table = Arc::clone(self.builder.table());
        let mut rows = read_chunk(connection, &table, chunk).await?;
        self.builder.check_result(rows.columns())?;
        while let Some(row) = rows.next_row().await? {
            self.builder.append_binary_row(row, RowKind::Insert)?;
            if self.builder.bytes() >= self.batch_bytes {
                self.flush(writer).await?;
            }
        }
        self.flush(writer).await?;
        self.progress.chunks.fetch_add(1, Relaxed);
        Ok(())
    }

    async fn flush(&mut self, writer: &mut BulkInsertWriter) -> Result<()> {
        let batch = self.builder.finish()?;
        let rows = batch.records.num_rows() as u64;
        if rows > 0 {
            self.throttle.take(rows).await;
            writer.write(&(self.conform)(batch.records)?).await?;
            self.rows += rows;
            self.progress.snapshot_rows.fetch_add(rows, Relaxed);
        }
        Ok(())
    }
}
