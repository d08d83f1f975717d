//! Follows the binary log: events to row batches, batches to the lake tables, commits at source transaction boundaries.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use table_format::env::Reservation;
use tokio::time::Instant;

use super::Pipeline;
use super::signal::Resnapshot;
use super::stream_lake::{CommitContext, StreamLake};
use super::stream_table::StreamTable;
use super::table_map::TableMaps;
use crate::batch::RowOrigin;
use crate::checkpoint::PipelineCheckpoint;
use crate::error::{Error, Result};
use crate::position::{BinlogPosition, GtidSet};
use crate::source::mysql::binlog::{
    BinlogDecoder, BinlogEvent, EventHeader, QueryEvent, RowsEvent, TableMap,
};
use crate::source::mysql::connection::MySqlOptions;
use crate::source::mysql::dump::BinlogStream;

/// How often the position is noted while no captured table changes.
const NOTE_INTERVAL: Duration = Duration::from_secs(30);

/// How often requests are looked for.
const REQUEST_INTERVAL: Duration = Duration::from_secs(5);

/// Why following the log ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// The wanted position is committed.
    CaughtUp,
    /// A shutdown was asked for and what had been read is committed.
    ShutDown,
    /// Tables appeared; what came before is committed.
    TablesChanged,
}

/// The server that the log comes from, for questions beside it.
#[derive(Debug)]
pub(crate) struct StreamSource {
    pub(crate) options: MySqlOptions,
    pub(crate) is_mariadb: bool,
}

/// Follows one binlog stream for all tables of a pipeline.
pub(crate) struct Streamer<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) source: StreamSource,
    /// Stop once this position is committed.
    until: Option<BinlogPosition>,
    pub(super) lakes: Vec<StreamLake>,
    pub(super) tables: Vec<StreamTable>,
    pub(super) by_name: HashMap<(String, String), usize>,
    pub(super) maps: TableMaps,
    decoder: BinlogDecoder,
    /// End of the last source transaction that was read whole.
    pub(super) position: BinlogPosition,
    /// End of the last event.
    pub(super) read_to: u64,
    in_transaction: bool,
    /// The number of the source transaction that is being read.
    transaction: u64,
    /// How many rows of captured tables it has had so far.
    transaction_rows: u64,
    /// Whose log it is.
    server: Arc<str>,
    /// When the last event was logged, in seconds since the epoch.
    event_ts: u32,
    /// GTID of the source transaction that is being read.
    pub(super) gtid: Option<String>,
    /// Whether those that were read whole make a set.
    tracks_gtids: bool,
    /// Those that were read whole.
    gtids: GtidSet,
    buffered: Reservation,
    pending_rows: u64,
    pending_bytes: u64,
    pending_since: Option<Instant>,
    /// The position of the pipeline checkpoint.
    noted: Option<BinlogPosition>,
    noted_at: Instant,
    /// When requests were last looked for.
    asked_at: Instant,
    /// Whether tables have to be looked for.
    pub(super) changed: bool,
}

impl<'a> Streamer<'a> {
    pub(super) fn new(
        pipeline: &'a Pipeline,
        source: StreamSource,
        until: Option<BinlogPosition>,
        (lakes, mut tables): (Vec<StreamLake>, Vec<StreamTable>),
        start: BinlogPosition,
    ) -> Result<Self> {
        for table in &mut tables {
            table.begin_at(&start)?;
        }
        let server = start.server.as_str().into();
        // MySQL's sets are whole or of no use: one that begins somewhere would ask for all that came before.
        let tracks_gtids = start.gtid.is_some() || source.is_mariadb;
        let gtids = start.gtid.as_deref().unwrap_or_default().parse()?;
        let name = |table: &StreamTable| (table.source.database.clone(), table.source.name.clone());
        let by_name = tables
            .iter()
            .enumerate()
            .map(|(index, table)| (name(table), index))
            .collect();
        Ok(Self {
            pipeline,
            source,
            until,
            lakes,
            tables,
            by_name,
            maps: TableMaps::default(),
            decoder: BinlogDecoder::default(),
            read_to: start.pos,
            event_ts: 0,
            gtid: None,
            tracks_gtids,
            gtids,
            position: start,
            in_transaction: false,
            transaction: 0,
            transaction_rows: 0,
            server,
            buffered: pipeline.env.memory.book(0),
            pending_rows: 0,
            pending_bytes: 0,
            pending_since: None,
            noted: None,
            noted_at: Instant::now(),
            asked_at: Instant::now(),
            changed: false,
        })
    }

    /// Reads until the wanted position is committed or a shutdown is asked for.
    pub(crate) async fn run(&mut self, mut stream: BinlogStream) -> Result<StreamEnd> {
        let end = self.follow(&mut stream).await;
        if end.is_err() {
            for StreamLake { lake, .. } in &mut self.lakes {
                if let Err(error) = lake.abort().await {
                    tracing::warn!(table = lake.name(), %error, "could not undo the open instant; the next start does");
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
                    for lake in &mut self.lakes {
                        lake.lake.finish_services().await;
                    }
                    return Ok(StreamEnd::CaughtUp);
                }
                if self.pipeline.shutdown.is_cancelled() {
                    self.commit().await?;
                    return Ok(StreamEnd::ShutDown);
                }
                if self.changed || self.has_requests().await? {
                    self.commit().await?;
                    return Ok(StreamEnd::TablesChanged);
                }
                if self.is_commit_due() || self.is_note_due() {
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

    /// Whether somebody asks for a table to be loaded anew; looked at now and then.
    async fn has_requests(&mut self) -> Result<bool> {
        if self.asked_at.elapsed() < REQUEST_INTERVAL {
            return Ok(false);
        }
        self.asked_at = Instant::now();
        Resnapshot::any(&self.pipeline.lake, &self.pipeline.config.name).await
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

    /// Tables without changes are not to hold back the log: now and then the position is noted for them.
    fn is_note_due(&self) -> bool {
        self.pending_rows == 0
            && self.noted_at.elapsed() >= NOTE_INTERVAL
            && self.noted.as_ref() != Some(&self.position)
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
        let received = &self.pipeline.progress.received_bytes;
        received.fetch_add(raw.len() as u64, Relaxed);
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
            // Rows that the table holds already may have another shape than those to come.
            BinlogEvent::TableMap(map) if self.is_held(map) => {
                self.maps.ignore(map.table_id);
                Ok(())
            }
            BinlogEvent::TableMap(map) => {
                let (tables, lakes) = (&self.tables, &self.lakes);
                self.maps
                    .learn(map, &self.by_name, tables, lakes, &self.pipeline.config)
            }
            BinlogEvent::Rows(rows) => self.take_rows(&rows).await,
            BinlogEvent::Xid => self.end_transaction(),
            BinlogEvent::XaPrepare if self.transaction_rows == 0 => self.end_transaction(),
            BinlogEvent::XaPrepare => Err(Error::unsupported(
                "an XA transaction that changed captured tables was prepared; its changes cannot be held back until XA COMMIT: \
                 keep XA transactions off the captured tables, or leave the tables out of source.tables",
            )),
            BinlogEvent::Query(query) => self.take_query(&query).await,
            _ => Ok(()),
        }
    }

    /// Whether the table of `map` is captured and holds what comes next.
    fn is_held(&self, map: &TableMap) -> bool {
        let index = self.by_name.get(&(map.database.clone(), map.table.clone()));
        index.is_some_and(|index| {
            self.tables[*index].holds(&self.position, self.read_to, self.gtid.as_deref())
        })
    }

    /// The server has sent everything up to here.
    fn heartbeat(&mut self, file: &str, position: u64) {
        if !self.in_transaction && file == self.position.file {
            self.read_to = self.read_to.max(position);
            self.position.pos = self.read_to;
        }
        if self.pending_rows == 0 {
            self.pipeline.progress.set_position(self.position.clone());
        }
        self.pipeline.progress.set_caught_up();
    }

    fn note_lag(&mut self, header: &EventHeader) {
        if header.timestamp > 0 {
            self.event_ts = header.timestamp;
            self.pipeline
                .progress
                .set_event(i64::from(header.timestamp) * 1000);
        }
    }

    fn rotate(&mut self, file: &str, position: u64, artificial: bool) {
        // The fake rotate that opens a stream names the file asked for, on MariaDB with junk behind the name.
        // A start by GTID learns here where it is.
        if artificial && !self.position.is_by_gtid() && file.starts_with(&self.position.file) {
            return;
        }
        self.maps = TableMaps::default();
        self.position.file = file.to_owned();
        self.position.pos = position;
        self.read_to = position;
    }

    pub(super) fn end_transaction(&mut self) -> Result<()> {
        self.pipeline.progress.transactions.fetch_add(1, Relaxed);
        self.in_transaction = false;
        self.transaction += 1;
        self.transaction_rows = 0;
        self.position.pos = self.read_to;
        if let Some(gtid) = self.gtid.take()
            && self.tracks_gtids
        {
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
        if table.holds(&self.position, self.read_to, self.gtid.as_deref()) {
            return Ok(());
        }
        let (before, rows_before) = (table.builder.bytes(), table.builder.rows());
        let changes = decoder.append(rows, &mut table.builder)? as u64;
        table.builder.note_origin(|| RowOrigin {
            op_ts_seconds: self.event_ts,
            file: self.position.file.clone(),
            position: self.read_to,
            gtid: self.gtid.clone(),
            server: Arc::clone(&self.server),
            rows_before: self.transaction_rows,
        });
        let arrived = table.builder.rows() - rows_before;
        self.transaction_rows += arrived as u64;
        self.lakes[table.lake].note_arrival(index, self.transaction, arrived);
        let grown = table.builder.bytes().saturating_sub(before);
        let bytes = rows.rows.len() as u64;
        table.progress.add_changes(rows.kind, changes, bytes);
        self.pending_rows += changes;
        self.pending_bytes += grown;
        self.pending_since.get_or_insert_with(Instant::now);
        self.pipeline.progress.set_pending(true);
        self.buffered.resize(self.buffered.bytes() + grown);
        if self.buffered.bytes() >= self.pipeline.plan.stream_bytes {
            self.flush_all().await?;
        }
        Ok(())
    }

    /// Writes out what is buffered; it becomes visible with the commit.
    async fn flush_all(&mut self) -> Result<()> {
        for (lake, mut tables) in by_lake(&mut self.lakes, &mut self.tables) {
            lake.flush(&mut tables).await?;
        }
        self.buffered.resize(0);
        Ok(())
    }

    async fn take_query(&mut self, query: &QueryEvent<'_>) -> Result<()> {
        match query.sql.as_ref() {
            "BEGIN" => {
                self.in_transaction = true;
                Ok(())
            }
            // A rolled back transaction is only logged when it changed tables without transactions: those rows stand.
            "COMMIT" | "ROLLBACK" => self.end_transaction(),
            _ => {
                let changes = self.changes_of(query)?;
                // Every statement but a savepoint inside a transaction commits on its own.
                if changes.is_empty() {
                    return if self.in_transaction {
                        Ok(())
                    } else {
                        self.end_transaction()
                    };
                }
                self.change_tables(changes, &query.sql).await
            }
        }
    }

    /// Commits every table that changed at the last source transaction boundary, then notes the position for the others.
    pub(super) async fn commit(&mut self) -> Result<()> {
        self.note_gtids();
        self.pipeline.progress.set_position(self.position.clone());
        let counters = self.pipeline.progress.as_ref();
        let context = CommitContext {
            pipeline: &self.pipeline.config.name,
            position: &self.position,
            counters,
        };
        let lakes = by_lake(&mut self.lakes, &mut self.tables);
        let commits = lakes.map(|(lake, tables)| lake.commit(tables, context));
        let committed = futures::future::try_join_all(commits).await?;
        let committed = committed.into_iter().filter(|committed| *committed).count();
        if committed > 0 {
            counters.set_committed();
        }
        self.buffered.resize(0);
        (self.pending_rows, self.pending_bytes, self.pending_since) = (0, 0, None);
        if committed > 0 || self.noted.as_ref() != Some(&self.position) {
            self.note_position().await?;
        }
        Ok(())
    }

    /// Puts the transactions that were read whole into the position.
    pub(super) fn note_gtids(&mut self) {
        let gtids = self.gtids.to_string();
        self.position.gtid = (!gtids.is_empty()).then_some(gtids);
    }

    async fn note_position(&mut self) -> Result<()> {
        let newest = |lake: &StreamLake| {
            let instant = lake.newest_commit.clone()?;
            Some((lake.lake.name().to_owned(), instant))
        };
        let tables: BTreeMap<_, _> = self.lakes.iter().filter_map(newest).collect();
        let checkpoint = PipelineCheckpoint {
            position: self.position.clone(),
            tables,
        };
        checkpoint
            .store(&self.pipeline.lake, &self.pipeline.config.name)
            .await?;
        self.noted = Some(checkpoint.position);
        self.noted_at = Instant::now();
        Ok(())
    }
}

/// The lake tables, each with the source tables that feed it and their numbers.
pub(super) fn by_lake<'a>(
    lakes: &'a mut [StreamLake],
    tables: &'a mut [StreamTable],
) -> impl Iterator<Item = (&'a mut StreamLake, Vec<(usize, &'a mut StreamTable)>)> {
    let mut fed: Vec<Vec<_>> = lakes.iter().map(|_| Vec::new()).collect();
    for (number, table) in tables.iter_mut().enumerate() {
        fed[table.lake].push((number, table));
    }
    lakes.iter_mut().zip(fed)
}
