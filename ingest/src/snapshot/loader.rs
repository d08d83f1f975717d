//! Reads one table with several connections and commits what has been read, again and again until nothing remains.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use table_format::timeline::Instant as CommittedInstant;
use table_format::writer::{BulkInsertWriter, WriteOperation};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::assigner::SplitAssigner;
use crate::batch::BatchBuilder;
use crate::checkpoint::{SnapshotProgress, TableCheckpoint};
use crate::error::{Error, Result};
use crate::pipeline::memory::MemoryPlan;
use crate::pipeline::progress::{Phase, TableProgress};
use crate::schema::SourceTable;
use crate::sink::LakeTable;
use crate::source::mysql::chunk::{Chunk, KeyRange, read_chunk};
use crate::source::mysql::connection::{Connection, MySqlOptions};
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
            match self.fill(&load, &assigner).await {
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
            let instant = load.lake.commit(&load.checkpoint).await?;
            load.progress
                .commits
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if finished || self.shutdown.is_cancelled() {
                return Ok((Some(instant), load.checkpoint));
            }
        }
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

    /// Reads until everything has been handed out or a commit is due; returns the rows read and the files written.
    async fn fill(
        &self,
        load: &TableLoad<'_>,
        assigner: &Arc<Mutex<SplitAssigner>>,
    ) -> Result<(u64, Stats)> {
        let due = Instant::now() + self.commit_interval * COMMITS_PER_INTERVAL;
        let mut readers = JoinSet::new();
        for _ in 0..self.plan.snapshot_workers {
            let reader = Reader {
                connection: None,
                options: self.options.clone(),
                assigner: Arc::clone(assigner),
                builder: BatchBuilder::new(Arc::clone(&load.source))?,
                batch_bytes: self.plan.batch_bytes,
                progress: Arc::clone(&load.progress),
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
    shutdown: CancellationToken,
    due: Instant,
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
        self.shutdown.is_cancelled() || Instant::now() >= self.due
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
        let mut rows = read_chunk(connection, &table, chunk).await?;
        while let Some(row) = rows.next_row().await? {
            self.builder.append_binary_row(row, RowKind::Insert)?;
            if self.builder.bytes() >= self.batch_bytes {
                self.rows += flush(&mut self.builder, writer, &self.progress).await?;
            }
        }
        self.rows += flush(&mut self.builder, writer, &self.progress).await?;
        self.progress.chunks.fetch_add(1, Relaxed);
        Ok(())
    }
}

async fn flush(
    builder: &mut BatchBuilder,
    writer: &mut BulkInsertWriter,
    progress: &TableProgress,
) -> Result<u64> {
    let batch = builder.finish()?;
    let rows = batch.records.num_rows() as u64;
    if rows > 0 {
        writer.write(&batch.records).await?;
        progress
            .snapshot_rows
            .fetch_add(rows, std::sync::atomic::Ordering::Relaxed);
    }
    Ok(rows)
}
