//! Reads one table with several connections and commits what has been read, again and again until nothing remains.

use std::collections::VecDeque;
use std::sync::Arc;
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
use crate::checkpoint::{SnapshotProgress, TableCheckpoint};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::memory::MemoryPlan;
use crate::pipeline::progress::{Phase, Progress, TableProgress};
use crate::schema::SourceTable;
use crate::sink::LakeTable;
use crate::source::mysql::chunk::{Chunk, KeyRange, read_chunk, read_where};
use crate::source::mysql::connection::{Connection, MySqlOptions};
use crate::source::mysql::server_error::server_error_code;
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

/// One table to load.
#[derive(Debug)]
pub(crate) struct TableLoad<'a> {
    pub(crate) source: Arc<SourceTable>,
    pub(crate) lake: &'a mut LakeTable,
    pub(crate) checkpoint: TableCheckpoint,
    pub(crate) row_bytes_average: u64,
    pub(crate) rows_estimated: u64,
    pub(crate) progress: Arc<TableProgress>,
}

impl SnapshotLoader {
    /// Reads what `load.checkpoint` says remains and returns the checkpoint of the last commit: finished, unless a
    /// shutdown was asked for.
    pub(crate) async fn load(
        &self,
        mut load: TableLoad<'_>,
    ) -> Result<(Option<CommittedInstant>, TableCheckpoint)> {
        let Some(snapshot) = load.checkpoint.snapshot.clone() else {
            return Ok((None, load.checkpoint));
        };
        load.progress.set_phase(Phase::Snapshot);
        load.progress
            .rows_estimated
            .store(load.rows_estimated, std::sync::atomic::Ordering::Relaxed);
        load.progress
            .snapshot_rows
            .store(snapshot.rows, std::sync::atomic::Ordering::Relaxed);
        let assigner = self.assigner(&load, snapshot.remaining).await?;
        let mut rows = snapshot.rows;
        loop {
            load.lake.begin(WriteOperation::BulkInsert).await?;
            let due = Instant::now() + self.commit_interval * COMMITS_PER_INTERVAL;
            match self.fill(&load, &assigner, Some(due)).await {
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
            load.checkpoint.snapshot = (!finished).then_some(SnapshotProgress { remaining, rows });
            let instant = self.commit(&mut load).await?;
            if finished || self.shutdown.is_cancelled() {
                return Ok((Some(instant), load.checkpoint));
            }
        }
    }

    /// Reads all of a table and puts it in the place of what the lake table holds, in one commit. Until then readers see the
    /// old rows; what was read is lost when the process ends before.
    pub(crate) async fn replace(
        &self,
        mut load: TableLoad<'_>,
    ) -> Result<(Option<CommittedInstant>, TableCheckpoint)> {
        let snapshot = load.checkpoint.snapshot.take().unwrap_or(SnapshotProgress {
            remaining: Vec::new(),
            rows: 0,
        });
        load.progress.set_phase(Phase::Snapshot);
        let relaxed = std::sync::atomic::Ordering::Relaxed;
        load.progress
            .rows_estimated
            .store(load.rows_estimated, relaxed);
        load.progress.snapshot_rows.store(0, relaxed);
        let assigner = self.assigner(&load, snapshot.remaining).await?;
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
        let instant = self.commit(&mut load).await?;
        Ok((Some(instant), load.checkpoint))
    }

    /// Reads the rows that meet `condition` and writes them over those that are there, in one commit that reaches no further
    /// than the table did: the log is replayed over them from there.
    pub(crate) async fn reload(
        &self,
        mut load: TableLoad<'_>,
        condition: &str,
    ) -> Result<(Option<CommittedInstant>, TableCheckpoint)> {
        let mut connection = Connection::connect_snapshot(&self.options).await?;
        let mut builder =
            BatchBuilder::new(Arc::clone(&load.source))?.with_origins(load.lake.needs_origin());
        let mut rows = read_where(&mut connection, &load.source, condition).await?;
        builder.check_result(rows.columns())?;
        let mut read = 0;
        while let Some(row) = rows.next_row().await? {
            builder.append_binary_row(row, RowKind::UpdateAfter)?;
            if builder.bytes() >= self.plan.batch_bytes {
                read += builder.rows() as u64;
                self.throttle.take(builder.rows() as u64).await;
                load.lake.upsert(builder.finish()?).await?;
            }
        }
        read += builder.rows() as u64;
        load.lake.upsert(builder.finish()?).await?;
        tracing::info!(table = %load.source, condition, rows = read, "read again");
        let instant = self.commit(&mut load).await?;
        Ok((Some(instant), load.checkpoint))
    }

    async fn commit(&self, load: &mut TableLoad<'_>) -> Result<CommittedInstant> {
        let began = Instant::now();
        let instant = load.lake.commit(&load.checkpoint).await?;
        self.counters.commit_duration.observe(began.elapsed());
        load.progress.set_committed(self.counters.now_millis());
        Ok(instant)
    }

    async fn assigner(
        &self,
        load: &TableLoad<'_>,
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
    async fn fill(
        &self,
        load: &TableLoad<'_>,
        assigner: &Arc<Mutex<SplitAssigner>>,
        due: Option<Instant>,
    ) -> Result<(u64, Stats)> {
        let mut readers = JoinSet::new();
        for _ in 0..self.plan.snapshot_workers {
            let reader = Reader {
                connection: None,
                options: self.options.clone(),
                assigner: Arc::clone(assigner),
                builder: BatchBuilder::new(Arc::clone(&load.source))?
                    .with_origins(load.lake.needs_origin()),
                batch_bytes: self.plan.batch_bytes,
                progress: Arc::clone(&load.progress),
                conform: Box::new(load.lake.conform(&load.source)?),
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
        use std::sync::atomic::Ordering::Relaxed;
        let table = Arc::clone(self.builder.table());
        let mut rows = read_chunk(connection, &table, chunk)
            .await
            .map_err(altered_meanwhile)?;
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
            self.progress
                .snapshot_rows
                .fetch_add(rows, std::sync::atomic::Ordering::Relaxed);
        }
        Ok(())
    }
}

/// A column or table that is not there was dropped since it was looked for: the next start looks anew.
fn altered_meanwhile(error: Error) -> Error {
    match server_error_code(&error) {
        // Unknown column, no such table, definition has changed.
        Some(1054 | 1146 | 1412) => {
            Error::new(ErrorKind::Conflict, error.to_string()).with_source(error)
        }
        _ => error,
    }
}
