//! The block `source` of the pipeline file.

use ingest::config::{
    PositionLost, QueryScan, ScanMode, Secret, SourceConfig, StartupMode, TablePattern,
};

use super::error::ConfigError;
use super::section::Section;
use super::startup;

/// The id under which the log is read unless the file says another.
const SERVER_ID: u32 = 5400;
const CHUNK_ROWS: u64 = 65_536;

pub(super) fn parse(mut source: Section<'_>) -> Result<SourceConfig, ConfigError> {
    source
        .choice("type", &[("mysql", ())])?
        .ok_or_else(|| source.error("type", "is required"))?;
    let server_id = |text: &str| {
        let first = text.split('-').next().unwrap_or(text);
        first.trim().parse::<u32>().ok().filter(|id| *id > 0)
    };
    let server_id = source.parsed(
        "server-id",
        "a number or range such as 5400-5403",
        server_id,
    )?;
    let rows = |text: &str| text.parse::<u64>().ok().filter(|rows| *rows > 0);
    let chunk_rows = source.parsed(
        "scan.incremental.snapshot.chunk.size",
        "a number of rows",
        rows,
    )?;
    let scan_mode = scan_mode(&mut source)?;
    let startup_mode = startup::parse(&mut source)?;
    if matches!(scan_mode, ScanMode::Query(_))
        && !startup_mode.loads()
        && startup_mode != StartupMode::LatestOffset
    {
        let message = "names a place in the log, which scan.mode query does not read: use initial, snapshot or latest-offset";
        return Err(source.error("scan.startup.mode", message));
    }
    let config = SourceConfig {
        hostname: source.required("hostname")?,
        port: source
            .parsed("port", "a port", |text| text.parse().ok())?
            .unwrap_or(3306),
        username: source.required("username")?,
        password: Secret::new(source.text("password")?.unwrap_or_default()),
        tables: source.pattern("tables")?,
        server_id: server_id.unwrap_or(SERVER_ID),
        scan_mode,
        startup_mode,
        position_lost: source
            .choice(
                "scan.position-lost",
                &[
                    ("fail", PositionLost::Fail),
                    ("snapshot", PositionLost::Snapshot),
                ],
            )?
            .unwrap_or(PositionLost::Fail),
        chunk_rows_max: chunk_rows.unwrap_or(CHUNK_ROWS),
        chunk_columns: chunk_columns(&mut source)?,
        snapshot_rows_per_second: source.parsed(
            "scan.snapshot.rows-per-second",
            "a number of rows",
            rows,
        )?,
        ssl_mode: ssl_mode(&mut source)?.to_owned(),
        ssl_ca: source.text("ssl-ca")?,
        ssl_cert: source.text("ssl-cert")?,
        ssl_key: source.text("ssl-key")?,
    };
    source.finish()?;
    Ok(config)
}

fn ssl_mode(source: &mut Section<'_>) -> Result<&'static str, ConfigError> {
    const MODES: [(&str, &str); 5] = [
        ("disabled", "disabled"),
        ("preferred", "preferred"),
        ("required", "required"),
        ("verify-ca", "verify-ca"),
        ("verify-identity", "verify-identity"),
    ];
    Ok(source.choice("ssl-mode", &MODES)?.unwrap_or("preferred"))
}

/// `scan.mode`, and how it is done by queries.
fn scan_mode(source: &mut Section<'_>) -> Result<ScanMode, ConfigError> {
    let is_query = source.choice("scan.mode", &[("log", false), ("query", true)])?;
    let default = QueryScan::default();
    let (incrementing, timestamp, interval) = (
        columns(source, "scan.query.incrementing.column")?,
        columns(source, "scan.query.timestamp.column")?,
        source.duration("scan.query.interval")?,
    );
    let (delay, time_zone) = (
        source.duration("scan.query.delay")?,
        source.text("scan.query.time-zone")?,
    );
    if is_query != Some(true) {
        let is_set = interval.is_some() || delay.is_some() || time_zone.is_some();
        if is_set || !incrementing.is_empty() || !timestamp.is_empty() {
            return Err(source.error(
                "scan.mode",
                "has to be `query` for scan.query.* to mean something",
            ));
        }
        return Ok(ScanMode::Log);
    }
    Ok(ScanMode::Query(QueryScan {
        interval: interval.unwrap_or(default.interval),
        delay: delay.unwrap_or(default.delay),
        time_zone,
        incrementing,
        timestamp,
    }))
}

fn chunk_columns(source: &mut Section<'_>) -> Result<Vec<(TablePattern, String)>, ConfigError> {
    columns(source, "scan.incremental.snapshot.chunk.key-column")
}

/// `DATABASE.TABLE:COLUMN`, several of them separated by `;`, or a column that all tables have.
fn columns(
    source: &mut Section<'_>,
    key: &'static str,
) -> Result<Vec<(TablePattern, String)>, ConfigError> {
    let item = |item: &str| {
        let (table, column) = item.rsplit_once(':').unwrap_or((".*", item));
        Some((
            table.trim().parse::<TablePattern>().ok()?,
            column.trim().to_owned(),
        ))
    };
    let items = |text: &str| {
        let items = text
            .split(';')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        items
            .map(item)
            .collect::<Option<Vec<(TablePattern, String)>>>()
    };
    let chosen = source.parsed(
        key,
        "a column, or a list such as shop.orders:created",
        items,
    )?;
    Ok(chosen.unwrap_or_default())
}
