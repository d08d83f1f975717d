//! Where the tables of a pipeline stand, asked of lake and source: for looking at from outside, whether the daemon runs or not.

use std::collections::BTreeMap;

use serde::Serialize;
use table_format::env::Clock;
use table_format::storage::Storage;
use table_format::table::Table;

use super::services::pending_services;
use crate::checkpoint::{CHECKPOINT_KEY, LakeCheckpoint, PipelineCheckpoint, TableCheckpoint};
use crate::config::{PipelineConfig, ScanMode};
use crate::error::{Error, Result};
use crate::position::{BinlogPosition, QueryPosition, SourcePosition};
use crate::sink::lake_location;
use crate::source::mysql::backlog::{bytes_behind, log_files, next_event_time};
use crate::source::mysql::connection::MySqlOptions;
use crate::source::mysql::discovery::{DiscoveredTable, discover};
use crate::source::mysql::hosts::Hosts;
use crate::source::mysql::safe_position::current_position;

/// Where a pipeline stands.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineStatus {
    /// Its name.
    pub pipeline: String,
    /// Address of the source.
    pub source: String,
    /// Why the source could not be asked, if it could not; lags are missing then.
    pub source_error: Option<String>,
    /// The end of the source's log.
    pub source_position: Option<String>,
    /// The tables, by their names at the source.
    pub tables: Vec<TableStatus>,
}

/// Where a table stands.
#[derive(Debug, Clone, Serialize)]
pub struct TableStatus {
    /// `database.table` of the source.
    pub table: String,
    /// `database.table` in the lake.
    pub lake_table: String,
    /// `new`, `snapshot`, `stream`, `dropped`.
    pub phase: &'static str,
    /// Up to where the table holds the source's changes, as `file:offset`.
    pub position: Option<String>,
    /// The same as a GTID set.
    pub gtid: Option<String>,
    /// Bytes of the source's log behind the position, those of other tables included.
    pub lag_bytes: Option<u64>,
    /// How old the first event behind the position is; 0 at the end of the log.
    pub lag_seconds: Option<i64>,
    /// The source's estimate of its rows.
    pub rows_estimated: Option<u64>,
    /// Rows that an unfinished snapshot has committed.
    pub snapshot_rows: Option<u64>,
    /// Instant of the table's newest commit, by whoever.
    pub last_commit: Option<String>,
    /// Plans of compactions and clusterings that wait for their execution.
    pub pending_services: u64,
    /// Where the table lies.
    pub location: String,
}

/// Asks lake and source. What the source does not answer is left out.
///
/// # Errors
/// `Unavailable` when the lake does not answer; `Corrupt` for tables and checkpoints that cannot be read.
pub async fn status(config: &PipelineConfig, clock: &dyn Clock) -> Result<PipelineStatus> {
    let hosts = Hosts::from_config(&config.source)?;
    let lake = Storage::open(&config.sink.path)?;
    let noted = PipelineCheckpoint::load(&lake, &config.name).await?;
    let asked = Source::ask(config, &hosts).await;
    let (source, source_error) = match asked {
        Ok(source) => (Some(source), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let mut tables = Vec::new();
    for (lake_table, found) in lake_tables(config, source.as_ref(), noted.as_ref()) {
        let lake = LakeStatus::read(config, &lake_table, noted.as_ref()).await?;
        for (mut table, position) in lake.tables(&found) {
            if let (Some(source), Some(position)) = (&source, &position) {
                (table.lag_bytes, table.lag_seconds) = source.lag(config, position, clock).await;
            }
            tables.push(table);
        }
    }
    tables.sort_by(|a, b| a.table.cmp(&b.table));
    Ok(PipelineStatus {
        pipeline: config.name.clone(),
        source: endpoints(&hosts),
        source_error,
        source_position: source.and_then(|source| Some(source.end?.to_string())),
        tables,
    })
}

fn endpoints(hosts: &Hosts) -> String {
    let all: Vec<_> = hosts.all().iter().map(MySqlOptions::endpoint).collect();
    all.join(", ")
}

/// The lake tables of a pipeline, those of the source and those that were fed before, with their source tables of today.
fn lake_tables<'a>(
    config: &PipelineConfig,
    source: Option<&'a Source>,
    noted: Option<&PipelineCheckpoint>,
) -> BTreeMap<String, Vec<&'a DiscoveredTable>> {
    let fed = noted.into_iter().flat_map(|noted| noted.tables.keys());
    let mut tables: BTreeMap<_, _> = fed.map(|name| (name.clone(), Vec::new())).collect();
    for found in source.into_iter().flat_map(|source| &source.tables) {
        let name = config.sink_table(&found.table.database, &found.table.name);
        tables.entry(name).or_default().push(found);
    }
    tables
}

/// What the source says.
struct Source {
    options: MySqlOptions,
    /// The end of its log, where that is read.
    end: Option<BinlogPosition>,
    files: Vec<(String, u64)>,
    tables: Vec<DiscoveredTable>,
}

impl Source {
    async fn ask(config: &PipelineConfig, hosts: &Hosts) -> Result<Self> {
        let (options, mut connection) = hosts.connect().await?;
        let tables = discover(&mut connection, config.source.tables.regex()).await?;
        let (mut end, mut files) = (None, Vec::new());
        if let ScanMode::Log = config.source.scan_mode {
            end = Some(current_position(&mut connection).await?);
            files = log_files(&mut connection).await?;
        }
        connection.close().await?;
        Ok(Self {
            options,
            end,
            files,
            tables,
        })
    }

    async fn lag(
        &self,
        config: &PipelineConfig,
        position: &BinlogPosition,
        clock: &dyn Clock,
    ) -> (Option<u64>, Option<i64>) {
        let end = self.end.as_ref().filter(|end| position.is_same_server(end));
        let Some(end) = end else {
            return (None, None);
        };
        let bytes = bytes_behind(&self.files, &position.file, position.pos);
        if position >= end {
            return (bytes, Some(0));
        }
        let seconds = match next_event_time(&self.options, config.source.server_id, position).await
        {
            Ok(Some(written)) => Some((clock.now().timestamp() - i64::from(written)).max(0)),
            Ok(None) => Some(0),
            Err(error) => {
                tracing::debug!(%error, "the lag in seconds is not known");
                None
            }
        };
        (bytes, seconds)
    }
}

/// What a lake table says.
struct LakeStatus {
    /// Names and what all its source tables have in common.
    common: TableStatus,
    held: Vec<HeldTable>,
    /// Up to where it holds everything although no commit says so.
    noted: Option<BinlogPosition>,
}

impl LakeStatus {
    async fn read(
        config: &PipelineConfig,
        lake_table: &str,
        noted: Option<&PipelineCheckpoint>,
    ) -> Result<Self> {
        let location = lake_location(config, lake_table);
        let mut status = Self {
            common: TableStatus::new(lake_table, &location),
            held: Vec::new(),
            noted: None,
        };
        let table = match Table::open(&location).await {
            Ok(table) => table,
            Err(error) if error.kind() == table_format::ErrorKind::NotFound => {
                return Ok(status);
            }
            Err(error) => return Err(error.into()),
        };
        let named = |error: Error| error.context(lake_table.to_owned());
        status.common.pending_services = pending_services(&table).await.map_err(named)?;
        let timeline = table
            .timeline()
            .await
            .map_err(|error| named(error.into()))?;
        let newest = timeline.completed_writes_by_completion().pop();
        status.common.last_commit = newest.map(|instant| instant.time.to_string());
        let carried = table.last_extra_metadata(CHECKPOINT_KEY).await;
        if let Some((instant, extra)) = carried.map_err(|error| named(error.into()))? {
            status.held = match config.source.scan_mode {
                ScanMode::Log => held(lake_table, &extra, |position: BinlogPosition| {
                    HeldPosition::Log(position)
                })?,
                ScanMode::Query(_) => held(lake_table, &extra, |position: QueryPosition| {
                    HeldPosition::Query(position.to_string())
                })?,
            };
            let noted = noted.filter(|noted| noted.covers(lake_table, &instant));
            status.noted = noted.map(|noted| noted.position.clone());
        }
        Ok(status)
    }

    /// The source tables, those of today and those that it was fed from, with their positions.
    fn tables(&self, found: &[&DiscoveredTable]) -> Vec<(TableStatus, Option<BinlogPosition>)> {
        let held = self.held.iter();
        let held = held.map(|held| (held.source_table.clone(), Some(held)));
        let mut tables: BTreeMap<_, _> = held.collect();
        for found in found {
            tables.entry(found.table.to_string()).or_insert(None);
        }
        if tables.is_empty() {
            return vec![(self.common.clone(), None)];
        }
        let status = |(name, held): (String, Option<&HeldTable>)| {
            let found = found.iter().find(|found| found.table.to_string() == name);
            let mut status = TableStatus {
                table: name,
                rows_estimated: found.map(|found| found.rows_estimated),
                ..self.common.clone()
            };
            let position = held.and_then(|held| status.take(held, self.noted.as_ref()));
            (status, position)
        };
        tables.into_iter().map(status).collect()
    }
}

impl TableStatus {
    /// A table of which the lake knows nothing.
    fn new(lake_table: &str, location: &str) -> Self {
        Self {
            table: lake_table.to_owned(),
            lake_table: lake_table.to_owned(),
            phase: "new",
            position: None,
            gtid: None,
            lag_bytes: None,
            lag_seconds: None,
            rows_estimated: None,
            snapshot_rows: None,
            last_commit: None,
            pending_services: 0,
            location: location.to_owned(),
        }
    }

    /// Takes in what the lake holds of it, and gives its position in the log.
    fn take(&mut self, held: &HeldTable, noted: Option<&BinlogPosition>) -> Option<BinlogPosition> {
        self.phase = held.phase;
        self.snapshot_rows = held.snapshot_rows;
        let mut position = match &held.position {
            HeldPosition::Log(position) => position,
            HeldPosition::Query(position) => {
                self.position = Some(position.clone());
                return None;
            }
        };
        if let Some(noted) = noted
            && held.snapshot_rows.is_none()
            && noted.is_same_server(position)
            && noted > position
        {
            position = noted;
        }
        self.position = Some(format!("{}:{}", position.file, position.pos));
        self.gtid.clone_from(&position.gtid);
        Some(position.clone())
    }
}

/// What a checkpoint says of a source table.
struct HeldTable {
    source_table: String,
    phase: &'static str,
    snapshot_rows: Option<u64>,
    position: HeldPosition,
}

enum HeldPosition {
    Log(BinlogPosition),
    /// As it is shown.
    Query(String),
}

fn held<P: SourcePosition>(
    lake_table: &str,
    extra: &BTreeMap<String, String>,
    position: impl Fn(P) -> HeldPosition,
) -> Result<Vec<HeldTable>> {
    let checkpoint = LakeCheckpoint::<P>::from_extra_metadata(lake_table, extra)?;
    let table = |table: TableCheckpoint<P>| HeldTable {
        phase: match (&table.snapshot, &table.schema) {
            (Some(_), _) => "snapshot",
            (None, Some(schema)) if schema.dropped => "dropped",
            (None, _) => "stream",
        },
        source_table: table.source_table,
        snapshot_rows: table.snapshot.map(|snapshot| snapshot.rows),
        position: position(table.position),
    };
    Ok(checkpoint.tables.into_iter().map(table).collect())
}
