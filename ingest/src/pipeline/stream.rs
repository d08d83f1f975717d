//! Follows the binary log: events to row batches, batches to the lake tables, commits at source transaction boundaries.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use table_format::env::Reservation;
use table_format::writer::WriteOperation;
use tokio::time::Instant;

use super::Pipeline;
use super::progress::{Phase, TableProgress};
use super::schema_change::{self, SchemaChange};
use super::table_map::TableMaps;
use crate::batch::BatchBuilder;
use crate::checkpoint::{PipelineCheckpoint, TableCheckpoint};
use crate::error::Result;
use crate::position::{BinlogPosition, GtidSet};
use crate::schema::SourceTable;
use crate::sink::LakeTable;
use crate::source::mysql::binlog::{
    BinlogDecoder, BinlogEvent, EventHeader, QueryEvent, RowsEvent,
};
use crate::source::mysql::dump::BinlogStream;

/// A table that follows the log.
#[derive(Debug)]
pub(crate) struct StreamTable {
    pub(crate) source: Arc<SourceTable>,
    pub(crate) lake: LakeTable,
    /// Up to here the table holds everything.
    pub(crate) held: BinlogPosition,
    /// Begin time of the newest commit of this pipeline in the table.
    pub(crate) newest_commit: Option<String>,
    pub(crate) progress: Arc<TableProgress>,
    builder: BatchBuilder,
    /// Whether a commit is due although no row changed, to note a position.
    touched: bool,
}

impl StreamTable {
    pub(crate) fn new(
        source: Arc<SourceTable>,
        lake: LakeTable,
        held: BinlogPosition,
        newest_commit: Option<String>,
        progress: Arc<TableProgress>,
    ) -> Result<Self> {
        progress.set_phase(Phase::Stream);
        let builder = BatchBuilder::new(Arc::clone(&source))?;
        Ok(Self {
            source,
            lake,
            held,
            newest_commit,
            progress,
            builder,
            touched: false,
        })
    }

    /// Whether the table holds everything up to offset `read_to` of the file of `position`.
    fn holds(&self, position: &BinlogPosition, read_to: u64) -> bool {
        self.held.is_in_later_file_than(position)
            || (self.held.file == position.file && self.held.pos >= read_to)
    }

    fn is_dirty(&self) -> bool {
        self.touched || self.builder.rows() > 0 || self.lake.is_open()
    }

    async fn commit(&mut self, pipeline: &str, position: &BinlogPosition) -> Result<()> {
        self.flush().await?;
        if !self.lake.is_open() {
            self.lake.begin(WriteOperation::Upsert).await?;
        }
        let source = self.source.to_string();
        let checkpoint = TableCheckpoint::new(pipeline, &source, position.clone(), None);
        let instant = self.lake.commit(&checkpoint).await?;
        self.progress.commits.fetch_add(1, Relaxed);
        self.newest_commit = Some(instant.time.to_string());
        self.held = position.clone();
        self.touched = false;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        if self.builder.rows() == 0 {
            return Ok(());
        }
        let batch = self.builder.finish()?;
        self.lake.upsert(batch).await
    }
}

/// Why following the log ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// The wanted position is committed.
    CaughtUp,
    /// A shutdown was asked for and what had been read is committed.
    ShutDown,
    /// Tables changed their columns, appeared or went; what came before is committed.
    TablesChanged,
}

/// Follows one binlog stream for all tables of a pipeline.
pub(crate) struct Streamer<'a> {
    pipeline: &'a Pipeline,
    /// Stop once this position is committed.
    until: Option<BinlogPosition>,
    tables: Vec<StreamTable>,
    by_name: HashMap<(String, String), usize>,
    maps: TableMaps,
    decoder: BinlogDecoder,
    /// End of the last source transaction that was read whole.
    position: BinlogPosition,
    /// End of the last event.
    read_to: u64,
    in_transaction: bool,
    /// GTID of the source transaction that is being read.
    gtid: Option<String>,
    /// Those that were read whole.
    gtids: GtidSet,
    buffered: Reservation,
    pending_rows: u64,
    pending_bytes: u64,
    pending_since: Option<Instant>,
    /// The position of the pipeline checkpoint.
    noted: Option<BinlogPosition>,
    /// Whether a statement changed tables.
    changed: bool,
}

impl<'a> Streamer<'a> {
    pub(super) fn new(
        pipeline: &'a Pipeline,
        until: Option<BinlogPosition>,
        tables: Vec<StreamTable>,
        start: BinlogPosition,
    ) -> Result<Self> {
        let gtids = start.gtid.as_deref().unwrap_or_default().parse()?;
        let name = |table: &StreamTable| (table.source.database.clone(), table.source.name.clone());
        let by_name = tables
            .iter()
            .enumerate()
            .map(|(index, table)| (name(table), index))
            .collect();
        Ok(Self {
            pipeline,
            until,
            tables,
            by_name,
            maps: TableMaps::default(),
            decoder: BinlogDecoder::default(),
            read_to: start.pos,
            gtid: None,
            gtids,
            position: start,
            in_transaction: false,
            buffered: pipeline.env.memory.book(0),
            pending_rows: 0,
            pending_bytes: 0,
            pending_since: None,
            noted: None,
            changed: false,
        })
    }

    /// Reads until the wanted position is committed or a shutdown is asked for.
    pub(crate) async fn run(&mut self, mut stream: BinlogStream) -> Result<StreamEnd> {
        let end = self.follow(&mut stream).await;
        if end.is_err() {
            for table in &mut self.tables {
                if let Err(error) = table.lake.abort().await {
                    tracing::warn!(table = table.lake.name(), %error, "could not undo the open instant; the next start does");
                }
            }
        }
        end
    }

    async fn follow(&mut self, stream: &mut BinlogStream) -> Result<StreamEnd> {
        loop {
            if !self.in_transaction {
                if self.reached_target() {
                    self.commit().await?;
                    self.pipeline.progress.set_caught_up();
                    for table in &mut self.tables {
                        table.lake.finish_services().await;
                    }
                    return Ok(StreamEnd::CaughtUp);
                }
                if self.pipeline.shutdown.is_cancelled() {
                    self.commit().await?;
                    return Ok(StreamEnd::ShutDown);
                }
                if self.changed {
                    self.commit().await?;
                    return Ok(StreamEnd::TablesChanged);
                }
                if self.is_commit_due() {
                    self.commit().await?;
                }
            }
            let due = self
                .pending_since
                .map(|since| since + self.pipeline.config.sink.commit_interval);
            let wait_for_timer = async {
                match due {
                    Some(due) if !self.in_transaction => tokio::time::sleep_until(due).await,
                    _ => std::future::pending().await,
                }
            };
            let shutdown = self.pipeline.shutdown.clone();
            let interrupted = async {
                if self.in_transaction {
                    std::future::pending().await
                } else {
                    shutdown.cancelled().await
                }
            };
            tokio::select! {
                biased;
                event = stream.next_event() => self.handle(event?).await?,
                () = wait_for_timer => {}
                () = interrupted => {}
            }
        }
    }

    fn reached_target(&self) -> bool {
        self.until.as_ref().is_some_and(|until| {
            let mut here = self.position.clone();
            here.pos = here.pos.max(self.read_to);
            here >= *until
        })
    }

    fn is_commit_due(&self) -> bool {
        let sink = &self.pipeline.config.sink;
        self.pending_rows >= sink.commit_rows_max
            || self.pending_bytes >= sink.commit_bytes_max
            || self
                .pending_since
                .is_some_and(|since| since.elapsed() >= sink.commit_interval)
    }

    async fn handle(&mut self, raw: &[u8]) -> Result<()> {
        // Borrowing the decoder's scratch space while tables are written to would tie all of `self` up.
        let mut decoder = std::mem::take(&mut self.decoder);
        let outcome = self.handle_with(&mut decoder, raw).await;
        self.decoder = decoder;
        let at = || format!("binary log {} before {}", self.position.file, self.read_to);
        outcome.map_err(|error| error.context(at()))
    }

    async fn handle_with(&mut self, decoder: &mut BinlogDecoder, raw: &[u8]) -> Result<()> {
        let (header, event) = decoder.decode(raw)?;
        if !header.is_artificial() {
            self.read_to = match header.next_position {
                0 => self.read_to + u64::from(header.event_size),
                next => self.read_to.max(u64::from(next)),
            };
            self.note_lag(&header);
        }
        match event {
            BinlogEvent::Rotate { file, position } => {
                self.rotate(&file, position, header.is_artificial());
                Ok(())
            }
            BinlogEvent::Heartbeat { file, position } => {
                self.heartbeat(&file, position);
                Ok(())
            }
            BinlogEvent::TransactionPayload(payload) => {
                let mut events = payload.events()?;
                // A payload brings its own table maps.
                let mut inner = BinlogDecoder::default();
                while let Some(raw) = events.next_event()? {
                    let (_, event) = inner.decode_inner(raw)?;
                    self.take(event).await?;
                }
                Ok(())
            }
            event => self.take(event).await,
        }
    }

    async fn take(&mut self, event: BinlogEvent<'_>) -> Result<()> {
        match event {
            BinlogEvent::Gtid(gtid) => {
                self.in_transaction = !gtid.is_standalone();
                self.gtid = Some(gtid.text());
                Ok(())
            }
            BinlogEvent::TableMap(map) => {
                self.maps
                    .learn(map, &self.by_name, &self.tables, &self.pipeline.config)
            }
            BinlogEvent::Rows(rows) => self.take_rows(&rows).await,
            BinlogEvent::Xid => self.end_transaction(),
            BinlogEvent::Query(query) => self.take_query(&query),
            _ => Ok(()),
        }
    }

    /// The server has sent everything up to here.
    fn heartbeat(&mut self, file: &str, position: u64) {
        if !self.in_transaction && file == self.position.file {
            self.read_to = self.read_to.max(position);
            self.position.pos = self.read_to;
        }
        self.pipeline.progress.set_caught_up();
    }

    fn note_lag(&self, header: &EventHeader) {
        if header.timestamp > 0 {
            let now = self.pipeline.env.clock.now().timestamp_millis();
            self.pipeline
                .progress
                .set_lag_millis((now - i64::from(header.timestamp) * 1000).max(0));
        }
    }

    fn rotate(&mut self, file: &str, position: u64, artificial: bool) {
        // The fake rotate that opens a stream names the file asked for, on MariaDB with junk behind the name.
        if artificial && file.starts_with(&self.position.file) {
            return;
        }
        self.maps = TableMaps::default();
        self.position.file = file.to_owned();
        self.position.pos = position;
        self.read_to = position;
    }

    fn end_transaction(&mut self) -> Result<()> {
        self.in_transaction = false;
        self.position.pos = self.read_to;
        if let Some(gtid) = self.gtid.take() {
            self.gtids.add(&gtid)?;
        }
        Ok(())
    }

    async fn take_rows(&mut self, rows: &RowsEvent<'_>) -> Result<()> {
        self.in_transaction = true;
        let Some((index, decoder)) = self.maps.get(rows.table_id)? else {
            return Ok(());
        };
        let table = &mut self.tables[index];
        if table.holds(&self.position, self.read_to) {
            return Ok(());
        }
        let before = table.builder.bytes();
        let changes = decoder.append(rows, &mut table.builder)? as u64;
        let grown = table.builder.bytes().saturating_sub(before);
        table.progress.changes.fetch_add(changes, Relaxed);
        self.pending_rows += changes;
        self.pending_bytes += grown;
        self.pending_since.get_or_insert_with(Instant::now);
        self.buffered.resize(self.buffered.bytes() + grown);
        if self.buffered.bytes() >= self.pipeline.plan.stream_bytes {
            self.flush_all().await?;
        }
        Ok(())
    }

    /// Writes out what is buffered; it becomes visible with the commit.
    async fn flush_all(&mut self) -> Result<()> {
        for table in &mut self.tables {
            table.flush().await?;
        }
        self.buffered.resize(0);
        Ok(())
    }

    fn take_query(&mut self, query: &QueryEvent<'_>) -> Result<()> {
        match query.sql.as_ref() {
            "BEGIN" => self.in_transaction = true,
            // A rolled back transaction is only logged when it changed tables without transactions: those rows stand.
            "COMMIT" | "ROLLBACK" => self.end_transaction()?,
            _ => {
                let change = schema_change::of_statement(
                    query,
                    &self.pipeline.config,
                    &self.by_name,
                    |index| self.tables[index].holds(&self.position, self.read_to),
                )?;
                // Every statement but a savepoint inside a transaction commits on its own.
                if !self.in_transaction || change != SchemaChange::None {
                    self.end_transaction()?;
                }
                if let SchemaChange::Tables(names) = change {
                    self.changed = true;
                    for name in names {
                        self.touch(&name);
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes the next commit carry a position for a table even if no row of it changed.
    fn touch(&mut self, name: &(String, String)) {
        if let Some(index) = self.by_name.get(name) {
            self.tables[*index].touched = true;
        }
    }

    /// Commits every table that changed at the last source transaction boundary, then notes the position for the others.
    async fn commit(&mut self) -> Result<()> {
        let gtids = self.gtids.to_string();
        self.position.gtid = (!gtids.is_empty()).then_some(gtids);
        self.pipeline
            .progress
            .set_position(self.position.to_string());
        let (position, pipeline) = (&self.position, &self.pipeline.config.name);
        let dirty = self.tables.iter_mut().filter(|table| table.is_dirty());
        let commits = dirty.map(|table| table.commit(pipeline, position));
        let committed = futures::future::try_join_all(commits).await?.len();
        self.buffered.resize(0);
        (self.pending_rows, self.pending_bytes, self.pending_since) = (0, 0, None);
        if committed > 0 || self.noted.as_ref() != Some(&self.position) {
            self.note_position().await?;
        }
        Ok(())
    }

    async fn note_position(&mut self) -> Result<()> {
        let newest = |table: &StreamTable| {
            table
                .newest_commit
                .clone()
                .map(|instant| (table.lake.name().to_owned(), instant))
        };
        let tables: BTreeMap<_, _> = self.tables.iter().filter_map(newest).collect();
        let checkpoint = PipelineCheckpoint {
            position: self.position.clone(),
            tables,
        };
        checkpoint
            .store(&self.pipeline.lake, &self.pipeline.config.name)
            .await?;
        self.noted = Some(checkpoint.position);
        Ok(())
    }
}
