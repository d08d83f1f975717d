//! Where reading begins for a table that is new to a pipeline, by the mode that the pipeline file chooses.

use chrono::{DateTime, Utc};

use super::backlog::log_files;
use super::binlog::{BinlogDecoder, BinlogEvent};
use super::connection::{Connection, MySqlOptions};
use super::dump::BinlogStream;
use super::safe_position::{current_position, mariadb_gtid, safe_position};
use super::server::ServerInfo;
use crate::config::StartupMode;
use crate::position::{BinlogPosition, GtidSet};
use crate::{Error, Result};

/// A look into the log must not take the place of a daemon that reads it under its own id.
const PROBE_ID_BIT: u32 = 1 << 28;
/// The first event of a file lies behind the magic number.
const FILE_START: u64 = 4;

/// The position that `mode` means on this server.
///
/// # Errors
/// `Invalid` for a position that the log does not hold any more, or never did; what the server reports.
pub async fn start_position(
    options: &MySqlOptions,
    connection: &mut Connection,
    server_id: u32,
    mode: &StartupMode,
) -> Result<BinlogPosition> {
    match mode {
        StartupMode::Initial | StartupMode::Snapshot => safe_position(options).await,
        StartupMode::LatestOffset => current_position(connection).await,
        StartupMode::EarliestOffset => {
            let files = log_files(connection).await?;
            let first = files.into_iter().next().ok_or_else(|| no_log(options))?;
            of_file(connection, first.0, FILE_START).await
        }
        StartupMode::SpecificOffset { file, pos } => {
            let files = log_files(connection).await?;
            let held = files.iter().find(|(name, _)| name == file);
            match held {
                Some((_, size)) if (FILE_START..=*size).contains(pos) => {
                    of_file(connection, file.clone(), *pos).await
                }
                Some((_, size)) => Err(Error::invalid(format!(
                    "{file} of {} ends at {size}: there is no {file}:{pos}",
                    options.endpoint()
                ))),
                None => Err(Error::invalid(format!(
                    "{} has no log file {file}; it holds {}",
                    options.endpoint(),
                    span(&files)
                ))),
            }
        }
        StartupMode::Gtid(set) => {
            let set: GtidSet = set.parse().map_err(|error: Error| {
                Error::invalid(format!("scan.startup.specific-offset.gtid-set: {error}"))
            })?;
            let server = ServerInfo::read(connection).await?;
            if !server.has_gtid() {
                return Err(Error::invalid(format!(
                    "{} has no GTIDs",
                    options.endpoint()
                )));
            }
            Ok(BinlogPosition::of_gtid(set.to_string(), server.identity()))
        }
        StartupMode::Timestamp(time) => at_time(options, connection, server_id, *time).await,
    }
}

fn no_log(options: &MySqlOptions) -> Error {
    Error::invalid(format!("server {} has no binary log", options.endpoint()))
}

fn span(files: &[(String, u64)]) -> String {
    match (files.first(), files.last()) {
        (Some((first, _)), Some((last, _))) => format!("{first} to {last}"),
        _ => "none".to_owned(),
    }
}

/// A place in a file, with MariaDB's GTID position there. MySQL does not tell the set of transactions up to a place.
async fn of_file(connection: &mut Connection, file: String, pos: u64) -> Result<BinlogPosition> {
    let server = ServerInfo::read(connection).await?;
    let gtid = match server.is_mariadb() {
        true => mariadb_gtid(connection, &file, pos).await?,
        false => None,
    };
    Ok(BinlogPosition {
        file,
        pos,
        gtid,
        server: server.identity(),
    })
}

/// The begin of the first source transaction that was written at `time` or later; the end of the log if there is none.
async fn at_time(
    options: &MySqlOptions,
    connection: &mut Connection,
    server_id: u32,
    time: DateTime<Utc>,
) -> Result<BinlogPosition> {
    let wanted = u32::try_from(time.timestamp().max(0)).unwrap_or(u32::MAX);
    let files = log_files(connection).await?;
    let server = ServerInfo::read(connection).await?.identity();
    let probe = Probe {
        options,
        server_id: server_id ^ PROBE_ID_BIT,
        server,
    };
    // The last file that was begun before the time, by bisection.
    let (mut low, mut high) = (0, files.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let Some((file, _)) = files.get(middle) else {
            break;
        };
        match probe.begun(file).await? < wanted {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    let Some(before) = low.checked_sub(1).and_then(|at| files.get(at)) else {
        return Err(Error::invalid(format!(
            "the log of {} holds {} and begins after {time}: changes since then are not all there; choose a later \
             scan.startup.timestamp, or earliest-offset",
            options.endpoint(),
            span(&files)
        )));
    };
    let (file, pos) = probe.boundary(&before.0, wanted).await?;
    of_file(connection, file, pos).await
}

/// Looks into the log of a server.
struct Probe<'a> {
    options: &'a MySqlOptions,
    server_id: u32,
    server: String,
}

impl Probe<'_> {
    async fn open(&self, file: &str) -> Result<BinlogStream> {
        let start = BinlogPosition {
            file: file.to_owned(),
            pos: FILE_START,
            gtid: None,
            server: self.server.clone(),
        };
        BinlogStream::open_to_end(self.options, self.server_id, &start).await
    }

    /// When a file was begun.
    async fn begun(&self, file: &str) -> Result<u32> {
        let mut stream = self.open(file).await?;
        let mut decoder = BinlogDecoder::default();
        while let Some(raw) = stream.next_before_end().await? {
            let (header, event) = decoder.decode(raw)?;
            if matches!(event, BinlogEvent::FormatDescription) && header.timestamp > 0 {
                return Ok(header.timestamp);
            }
        }
        Ok(0)
    }

    /// The end of the last source transaction from the start of `file` on before the first that was written at `wanted`.
    async fn boundary(&self, file: &str, wanted: u32) -> Result<(String, u64)> {
        let mut stream = self.open(file).await?;
        let mut decoder = BinlogDecoder::default();
        let (mut file, mut read_to) = (file.to_owned(), FILE_START);
        let mut boundary = (file.clone(), read_to);
        let mut is_inside = false;
        while let Some(raw) = stream.next_before_end().await? {
            let (header, event) = decoder.decode(raw)?;
            let is_artificial = header.is_artificial();
            let is_change = !is_artificial && !matches!(event, BinlogEvent::FormatDescription);
            if is_change && !is_inside && header.timestamp >= wanted {
                return Ok(boundary);
            }
            if !is_artificial {
                read_to = match header.next_position {
                    0 => read_to + u64::from(header.event_size),
                    next => read_to.max(u64::from(next)),
                };
            }
            let ends = match event {
                BinlogEvent::Rotate {
                    file: next,
                    position,
                } if !is_artificial => {
                    (file, read_to) = (next, position);
                    true
                }
                BinlogEvent::Gtid(gtid) => {
                    is_inside = !gtid.is_standalone();
                    false
                }
                BinlogEvent::Query(query) if query.sql == "BEGIN" => {
                    is_inside = true;
                    false
                }
                BinlogEvent::Query(query) => {
                    is_inside &= !matches!(query.sql.as_ref(), "COMMIT" | "ROLLBACK");
                    !is_inside
                }
                BinlogEvent::Xid | BinlogEvent::TransactionPayload(_) => {
                    is_inside = false;
                    true
                }
                _ => false,
            };
            if ends {
                boundary = (file.clone(), read_to);
            }
        }
        Ok(boundary)
    }
}
