//! Reading by queries: snapshot first, then round after round of what is new or has changed, up to a horizon below which nothing
//! can appear any more. The position rides in the commits, as that of the log does.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use table_format::record::RowKind;
use tokio::time::Instant;

use super::retry::Backoff;
use super::signal::Resnapshot;
use super::start::{StartLake, StartTable, take_requests};
use super::stream::StreamEnd;
use super::{Pipeline, RunMode};
use crate::batch::BatchBuilder;
use crate::checkpoint::{TableCheckpoint, TableSchema};
use crate::config::{QueryScan, StartupMode, record_key};
use crate::error::{Error, Result};
use crate::pipeline::progress::Phase;
use crate::position::QueryPosition;
use crate::schema::{SourceTable, TableChange};
use crate::source::mysql::binlog::RowsKind;
use crate::source::mysql::connection::{Connection, MySqlOptions};
use crate::source::mysql::discovery::discover;
use crate::source::mysql::polling::{
    Horizon, HorizonWatch, PollChunk, PollKey, next_chunk, read_chunk,
};

impl Pipeline {
    /// Reads until a round is complete, a shutdown is asked for, or other tables match.
    pub(super) async fn poll(
        &self,
        scan: &QueryScan,
        mode: RunMode,
        backoff: &mut Backoff,
    ) -> Result<StreamEnd> {
        let (options, mut control) = self.connect().await?;
        let mut lakes = StartLake::open_all(self, &mut control).await?;
        backoff.reset();
        self.progress.set_connected();
        take_requests(self, &mut lakes).await?;
        let mut poller = Poller {
            pipeline: self,
            scan,
            options,
            control,
            lakes,
            watch: HorizonWatch::new(scan.delay, scan.time_zone.clone()),
        };
        poller.begin_new_tables().await?;
        self.load_snapshots(&poller.options, &mut poller.lakes)
            .await?;
        if self.shutdown.is_cancelled() {
            return Ok(StreamEnd::ShutDown);
        }
        if matches!(self.config.source.startup_mode, StartupMode::Snapshot) {
            return Ok(StreamEnd::CaughtUp);
        }
        let end = poller.rounds(mode).await;
        if end.is_err() {
            for lake in &mut poller.lakes {
                if let Err(error) = lake.lake.abort().await {
                    tracing::warn!(table = lake.lake.name(), %error, "could not undo the open instant; the next start does");
                }
            }
        }
        end
    }
}

struct Poller<'a> {
    pipeline: &'a Pipeline,
    scan: &'a QueryScan,
    options: MySqlOptions,
    control: Connection,
    lakes: Vec<StartLake<QueryPosition>>,
    watch: HorizonWatch,
}

impl Poller<'_> {
    /// The orders in which the tables are read.
    fn keys(&self) -> Result<Vec<PollKey>> {
        let tables = self.lakes.iter().flat_map(|lake| &lake.tables);
        let keys = tables.map(|table| PollKey::of(self.scan, &table.discovered.table));
        keys.collect()
    }

    /// The next horizon. `None` when it is not to be waited for, and transactions are open that may come below it.
    async fn horizon(&mut self, is_waited_for: bool) -> Result<Option<Horizon>> {
        let keys = self.keys()?;
        let tables = self.lakes.iter().flat_map(|lake| &lake.tables);
        let sources = tables.map(|table| &table.discovered.table);
        let tables: Vec<_> = sources.zip(&keys).collect();
        match is_waited_for {
            true => self.watch.reach(&mut self.control, &tables).await.map(Some),
            false => self.watch.advance(&mut self.control, &tables).await,
        }
    }

    /// Tables that no commit speaks of, and those that are to be loaded anew, begin at a horizon: what is below is in the
    /// snapshot that is read afterwards.
    async fn begin_new_tables(&mut self) -> Result<()> {
        let config = &self.pipeline.config;
        let is_new = |lake: &StartLake<_>| lake.tables.iter().any(|table| lake.is_new(table));
        if self.lakes.iter().any(is_new)
            && let Some(horizon) = self.horizon(true).await?
        {
            for lake in &mut self.lakes {
                let is_loaded = config.source.startup_mode.loads() || lake.is_replaced();
                let position =
                    |table: &SourceTable| Ok(PollKey::of(self.scan, table)?.at(table, &horizon));
                lake.begin_tables(&mut self.control, config, position, is_loaded)
                    .await?;
            }
        }
        let tables = self.lakes.iter().flat_map(|lake| &lake.tables);
        for table in tables {
            require_same_order(self.scan, table)?;
        }
        Ok(())
    }

    async fn rounds(&mut self, mode: RunMode) -> Result<StreamEnd> {
        let shutdown = &self.pipeline.shutdown.clone();
        loop {
            let began = Instant::now();
            if self.tables_changed().await? {
                return Ok(StreamEnd::TablesChanged);
            }
            let horizon = tokio::select! {
                horizon = self.horizon(false) => horizon?,
                () = shutdown.cancelled() => return Ok(StreamEnd::ShutDown),
            };
            let mut round = Round {
                pipeline: self.pipeline,
                scan: self.scan,
                control: &mut self.control,
                horizon: horizon.as_ref(),
                rows: 0,
            };
            for lake in &mut self.lakes {
                round.read_lake(lake).await?;
            }
            if shutdown.is_cancelled() {
                return Ok(StreamEnd::ShutDown);
            }
            self.pipeline.progress.set_caught_up();
            tracing::debug!(elapsed = ?began.elapsed(), "a round is complete");
            if mode == RunMode::UntilCurrent {
                for lake in &mut self.lakes {
                    lake.lake.finish_services().await;
                }
                return Ok(StreamEnd::CaughtUp);
            }
            tokio::select! {
                () = tokio::time::sleep(self.scan.interval) => {}
                () = shutdown.cancelled() => return Ok(StreamEnd::ShutDown),
            }
        }
    }

    /// Follows changes of columns. Says whether tables have come, or are to be loaded anew.
    async fn tables_changed(&mut self) -> Result<bool> {
        let config = &self.pipeline.config;
        if Resnapshot::any(&self.pipeline.lake, &config.name).await? {
            return Ok(true);
        }
        let found = discover(&mut self.control, config.source.tables.regex()).await?;
        let mut known = 0;
        for lake in &mut self.lakes {
            for number in 0..lake.tables.len() {
                let name = lake.tables[number].discovered.table.to_string();
                let now = found.iter().find(|found| found.table.to_string() == name);
                let Some(now) = now else {
                    return Ok(true);
                };
                known += 1;
                follow(self.pipeline, lake, number, &now.table).await?;
            }
        }
        Ok(found.len() > known)
    }
}

/// Reading of what is new in all tables.
struct Round<'a> {
    pipeline: &'a Pipeline,
    scan: &'a QueryScan,
    control: &'a mut Connection,
    /// Up to where the positions may move on, if they may.
    horizon: Option<&'a Horizon>,
    /// Rows that are read and not committed.
    rows: u64,
}

impl Round<'_> {
    /// Reads what is new in the source tables of a lake table, and commits it.
    async fn read_lake(&mut self, lake: &mut StartLake<QueryPosition>) -> Result<()> {
        for number in 0..lake.tables.len() {
            self.read_table(lake, number).await?;
        }
        self.commit(lake).await
    }

    /// Reads what is complete, and moves the position on behind it chunk by chunk; then what is newer, which leaves the position
    /// where it is. Nothing more once a shutdown is asked for.
    async fn read_table(
        &mut self,
        lake: &mut StartLake<QueryPosition>,
        number: usize,
    ) -> Result<()> {
        let table = &lake.tables[number];
        table.progress.set_phase(Phase::Stream);
        let source = Arc::new(table.discovered.table.clone());
        let key = PollKey::of(self.scan, &source)?;
        let mut position = held(&mut lake.tables[number])?.position.clone();
        if let Some(horizon) = self.horizon {
            let horizon = key.at(&source, horizon);
            position = key.resumed(position, &horizon);
            let limit = Some(&horizon);
            while let Some(end) = self
                .read_next(lake, number, &source, &position, limit)
                .await?
            {
                held(&mut lake.tables[number])?.position = end.clone();
                position = end;
                if self.rows >= self.pipeline.config.sink.commit_rows_max {
                    self.commit(lake).await?;
                }
            }
            if self.pipeline.shutdown.is_cancelled() {
                return Ok(());
            }
            held(&mut lake.tables[number])?.position = horizon.clone();
            position = horizon;
        }
        while let Some(end) = self
            .read_next(lake, number, &source, &position, None)
            .await?
        {
            position = end;
        }
        Ok(())
    }

    /// Reads the next chunk; the position behind it, unless it was the last one or a shutdown is asked for.
    async fn read_next(
        &mut self,
        lake: &mut StartLake<QueryPosition>,
        number: usize,
        source: &Arc<SourceTable>,
        position: &QueryPosition,
        limit: Option<&QueryPosition>,
    ) -> Result<Option<QueryPosition>> {
        if self.pipeline.shutdown.is_cancelled() {
            return Ok(None);
        }
        let key = PollKey::of(self.scan, source)?;
        let row_bytes = lake.tables[number].discovered.row_bytes_average.max(16);
        let rows_max = (self.pipeline.plan.chunk_bytes / row_bytes)
            .clamp(1, self.pipeline.config.source.chunk_rows_max);
        let control = &mut *self.control;
        let chunk = next_chunk(control, source, &key, position, limit, rows_max).await?;
        self.read_chunk(lake, number, source, &chunk).await?;
        Ok(chunk.end)
    }

    /// Writes the rows of a chunk over those that are there.
    async fn read_chunk(
        &mut self,
        lake: &mut StartLake<QueryPosition>,
        number: usize,
        source: &Arc<SourceTable>,
        chunk: &PollChunk,
    ) -> Result<()> {
        let table = &mut lake.tables[number];
        let builder = BatchBuilder::new(Arc::clone(source))?;
        let mut builder = builder.with_origins(table.feed.needs_origin());
        let mut rows = read_chunk(self.control, source, chunk).await?;
        builder.check_result(rows.columns())?;
        loop {
            let row = rows.next_row().await?;
            let is_end = row.is_none();
            if let Some(row) = row {
                builder.append_binary_row(row, RowKind::UpdateAfter)?;
            }
            let is_full = builder.bytes() >= self.pipeline.plan.batch_bytes;
            if is_full || (is_end && builder.rows() > 0) {
                let (count, bytes) = (builder.rows() as u64, builder.bytes());
                table.progress.add_changes(RowsKind::Update, count, bytes);
                self.pipeline.progress.set_pending(true);
                let batch = builder.finish()?;
                lake.lake.upsert(&mut table.feed, batch).await?;
                self.rows += count;
            }
            if is_end {
                return Ok(());
            }
        }
    }

    /// Commits what was read, if anything, with the positions that it reaches.
    async fn commit(&mut self, lake: &mut StartLake<QueryPosition>) -> Result<()> {
        self.rows = 0;
        if !lake.lake.is_open() {
            return Ok(());
        }
        let counters = &self.pipeline.progress;
        let checkpoint = lake.checkpoint(&self.pipeline.config.name);
        let began = Instant::now();
        lake.lake.commit(&checkpoint).await?;
        counters.commit_duration.observe(began.elapsed());
        for table in &lake.tables {
            table.progress.set_committed(counters.now_millis());
        }
        counters.set_committed();
        Ok(())
    }
}

fn held(table: &mut StartTable<QueryPosition>) -> Result<&mut TableCheckpoint<QueryPosition>> {
    let name = &table.discovered.table;
    let missing = || Error::internal(format!("{name} has no checkpoint"));
    table.checkpoint.as_mut().ok_or_else(missing)
}

/// A position in another order than that of the pipeline file says nothing.
fn require_same_order(scan: &QueryScan, table: &StartTable<QueryPosition>) -> Result<()> {
    let source = &table.discovered.table;
    let key = PollKey::of(scan, source)?;
    match &table.checkpoint {
        Some(held) if held.position.columns != key.names() => Err(Error::invalid(format!(
            "{source} was read in the order of {}, and the pipeline file says {}: leave scan.query.* as it was, or ask for the \
             table to be loaded anew with `lakebed resnapshot`",
            held.position.columns.join(", "),
            key.names().join(", ")
        ))),
        _ => Ok(()),
    }
}

/// Gives a source table, and the lake, the columns that it has now.
async fn follow(
    pipeline: &Pipeline,
    lake: &mut StartLake<QueryPosition>,
    number: usize,
    now: &SourceTable,
) -> Result<()> {
    let columns = |table: &StartTable<QueryPosition>| {
        let held = table.checkpoint.as_ref();
        let schema = held.and_then(|held| held.schema.as_ref());
        let table = schema.map_or(&table.discovered.table, |schema| &schema.table);
        table.clone()
    };
    let known = columns(&lake.tables[number]);
    if known == *now {
        return Ok(());
    }
    let transforms = &pipeline.config.transforms;
    let (old, new) = (record_key(transforms, &known), record_key(transforms, now));
    if old != new {
        return Err(Error::invalid(format!(
            "{now} was keyed by {}, and is by {} now: remove the lake table {} and start again to load it anew",
            old.join(", "),
            new.join(", "),
            lake.lake.name()
        )));
    }
    let others = lake.tables.iter().enumerate();
    let others = others.filter(|(other, _)| *other != number);
    let others = others.map(|(_, table)| table.feed.schema(&columns(table)));
    let others = others.collect::<Result<Vec<_>>>()?;
    let change = TableChange::between(&known, now.clone());
    let table = &mut lake.tables[number];
    lake.lake
        .follow(&table.feed, &known, &change, &others)
        .await?;
    for column in &change.columns {
        tracing::info!(table = %now, %column, "the source changed");
    }
    table.progress.schema_changes.fetch_add(1, Relaxed);
    table.discovered.table = now.clone();
    held(table)?.schema = Some(TableSchema::new(now.clone()));
    Ok(())
}
