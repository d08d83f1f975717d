//! The block `source` of the pipeline file.

use ingest::config::{PositionLost, Secret, SourceConfig, TablePattern};

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
    let config = SourceConfig {
        hostname: source.required("hostname")?,
        port: source
            .parsed("port", "a port", |text| text.parse().ok())?
            .unwrap_or(3306),
        username: source.required("username")?,
        password: Secret::new(source.text("password")?.unwrap_or_default()),
        tables: source.pattern("tables")?,
        server_id: server_id.unwrap_or(SERVER_ID),
        startup_mode: startup::parse(&mut source)?,
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

/// `DATABASE.TABLE:COLUMN`, several of them separated by `;`.
fn chunk_columns(source: &mut Section<'_>) -> Result<Vec<(TablePattern, String)>, ConfigError> {
    let item = |item: &str| {
        let (table, column) = item.rsplit_once(':')?;
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
    let key = "scan.incremental.snapshot.chunk.key-column";
    let chosen = source.parsed(key, "a list such as shop.orders:created", items)?;
    Ok(chosen.unwrap_or_default())
}
