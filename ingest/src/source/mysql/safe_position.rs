//! Where the log has to be read from so that, together with chunks read afterwards, no change is lost.
//!
//! A server writes a transaction to its binary log *before* the rows are visible to others. The end of the log is therefore
//! no safe start: a transaction before it may be missing from a chunk that is read later. The start must cover visible
//! transactions only; how to get such a position depends on the server, see [`safe_position`].

use std::time::Duration;

use super::connection::{Connection, MySqlOptions};
use super::result_set::TextRow;
use super::server::ServerInfo;
use super::server_error::server_error_code;
use super::sql::quote_text;
use crate::position::BinlogPosition;
use crate::{Error, ErrorKind, Result};

/// Seconds that a global read lock may wait behind running statements, and how often it is tried.
const LOCK_WAIT_SECONDS: u32 = 3;
const LOCK_ATTEMPTS: u32 = 3;
/// How long transactions that are being committed are waited for.
const COMMIT_WAIT: Duration = Duration::from_secs(300);
const COMMIT_POLL: Duration = Duration::from_millis(5);
/// Without any exact method: transactions are assumed to be visible this long after they are in the log.
const SETTLE: Duration = Duration::from_secs(2);

/// A position up to which every transaction is visible to any read that begins after this call.
///
/// MariaDB and Percona Server tell the position of a consistent snapshot, without a lock. MySQL with GTIDs: the end of the
/// log, once all transactions that were committing have become visible. MySQL without: under a short global read lock, if
/// RELOAD is granted. Else the end of the log and a delay, with a warning.
///
/// # Errors
/// `Invalid` when the binary log is off or may not be looked at; `Unavailable` when the server does not answer.
pub async fn safe_position(options: &MySqlOptions) -> Result<BinlogPosition> {
    let mut connection = Connection::connect(options).await?;
    let server = ServerInfo::read(&mut connection).await?;
    let position = match of_consistent_snapshot(&mut connection, &server).await? {
        Some(position) => {
            connection.execute("COMMIT").await?;
            position
        }
        None if server.has_gtid() => after_committing(&mut connection, &server).await?,
        None => match under_read_lock(&mut connection, &server, "DO 0").await? {
            Some(position) => position,
            None => after_settling(&mut connection, &server).await?,
        },
    };
    connection.close().await?;
    Ok(position)
}

/// Opens a transaction whose reads show the rows of one moment, and gives the position of that moment: what is before it in the
/// log is in the rows, what is behind it is not.
///
/// # Errors
/// `Invalid` when the server tells none and the account may not lock: MySQL without RELOAD.
pub async fn exact_view(connection: &mut Connection) -> Result<BinlogPosition> {
    let server = ServerInfo::read(connection).await?;
    if let Some(position) = of_consistent_snapshot(connection, &server).await? {
        return Ok(position);
    }
    let view = "START TRANSACTION WITH CONSISTENT SNAPSHOT";
    under_read_lock(connection, &server, view).await?.ok_or_else(|| {
        Error::invalid(format!(
            "{}: rows without a key can only be appended to the lake from a view whose position in the log is exact, which takes \
             a lock of some milliseconds here: GRANT RELOAD ON *.* TO the account, or give the table a key",
            connection.endpoint()
        ))
    })
}

/// The end of the binary log: at or after everything that is visible now.
///
/// # Errors
/// As [`safe_position`].
pub async fn current_position(connection: &mut Connection) -> Result<BinlogPosition> {
    let server = ServerInfo::read(connection).await?;
    log_end(connection, &server).await
}

async fn log_end(connection: &mut Connection, server: &ServerInfo) -> Result<BinlogPosition> {
    let rows = connection.query(server.binlog_status_statement()).await?;
    let Some(row) = rows.first() else {
        return Err(binlog_is_off(connection));
    };
    let file = row.require(0)?.to_owned();
    let pos = row.parse_at(1)?;
    let gtid = if server.is_mariadb() {
        mariadb_gtid(connection, &file, pos).await?
    } else {
        row.get_by_name("Executed_Gtid_Set").and_then(tidy_gtid)
    };
    Ok(BinlogPosition {
        file,
        pos,
        gtid,
        server: server.identity(),
    })
}

fn binlog_is_off(connection: &Connection) -> Error {
    Error::invalid(format!(
        "server {} writes no binary log: set log_bin = mysql-bin in [mysqld] and restart it",
        connection.endpoint()
    ))
}

pub(super) async fn mariadb_gtid(
    connection: &mut Connection,
    file: &str,
    pos: u64,
) -> Result<Option<String>> {
    let sql = format!("SELECT BINLOG_GTID_POS({}, {pos})", quote_text(file));
    let gtid = connection.query_value(&sql).await?;
    Ok(gtid.as_deref().and_then(tidy_gtid))
}

/// Without line breaks; `None` if nothing is left.
fn tidy_gtid(text: &str) -> Option<String> {
    let text: String = text.split_whitespace().collect();
    (!text.is_empty()).then_some(text)
}

/// Opens a read view where the server tells its exact position, and gives that.
async fn of_consistent_snapshot(
    connection: &mut Connection,
    server: &ServerInfo,
) -> Result<Option<BinlogPosition>> {
    let shown = connection
        .query("SHOW STATUS LIKE 'binlog_snapshot_%'")
        .await?;
    if shown.is_empty() {
        return Ok(None);
    }
    connection
        .execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        .await?;
    connection
        .execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        .await?;
    let rows = connection
        .query("SHOW STATUS LIKE 'binlog_snapshot_%'")
        .await?;
    let status = |name: &str| {
        let named = |row: &&TextRow| row.get(0).is_some_and(|n| n.eq_ignore_ascii_case(name));
        rows.iter()
            .find(named)
            .and_then(|row| row.get(1))
            .filter(|value| !value.is_empty())
    };
    let (Some(file), Some(pos)) = (
        status("binlog_snapshot_file"),
        status("binlog_snapshot_position").and_then(|pos| pos.parse().ok()),
    ) else {
        return Err(binlog_is_off(connection));
    };
    let gtid = if server.is_mariadb() {
        mariadb_gtid(connection, file, pos).await?
    } else {
        status("binlog_snapshot_gtid_executed").and_then(tidy_gtid)
    };
    Ok(Some(BinlogPosition {
        file: file.to_owned(),
        pos,
        gtid,
        server: server.identity(),
    }))
}

/// The end of the log, returned once every transaction before it is visible.
///
/// A transaction in the log owns its GTID until it is visible; then the GTID is executed. The set is read before the log's
/// end, so that it holds nothing beyond.
async fn after_committing(
    connection: &mut Connection,
    server: &ServerInfo,
) -> Result<BinlogPosition> {
    let executed = global(connection, "gtid_executed").await?;
    let mut position = log_end(connection, server).await?;
    let owned = without_owners(&global(connection, "gtid_owned").await?);
    position.gtid = tidy_gtid(&executed);
    let deadline = tokio::time::Instant::now() + COMMIT_WAIT;
    while !owned.is_empty() && is_committing(connection, &owned).await? {
        if tokio::time::Instant::now() >= deadline {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "server {}: transactions {owned} have been committing for {COMMIT_WAIT:?}; see SHOW PROCESSLIST",
                    connection.endpoint()
                ),
            ));
        }
        tokio::time::sleep(COMMIT_POLL).await;
    }
    Ok(position)
}

async fn global(connection: &mut Connection, name: &str) -> Result<String> {
    let value = connection
        .query_value(&format!("SELECT @@GLOBAL.{name}"))
        .await?;
    Ok(value.unwrap_or_default())
}

/// Whether one of `gtids` is still owned, that is neither executed nor rolled back.
async fn is_committing(connection: &mut Connection, gtids: &str) -> Result<bool> {
    let still = without_owners(&global(connection, "gtid_owned").await?);
    if still.is_empty() {
        return Ok(false);
    }
    let (gtids, still) = (quote_text(gtids), quote_text(&still));
    // What was owned then and is not owned now is done.
    let sql = format!("SELECT GTID_SUBTRACT({gtids}, GTID_SUBTRACT({gtids}, {still}))");
    Ok(connection
        .query_value(&sql)
        .await?
        .is_some_and(|both| !both.is_empty()))
}

/// `uuid:5#36,…` with the owning threads taken out.
fn without_owners(owned: &str) -> String {
    let mut text = String::with_capacity(owned.len());
    let mut in_owner = false;
    for c in owned.chars().filter(|c| !c.is_whitespace()) {
        in_owner = c == '#' || (in_owner && c.is_ascii_digit());
        if !in_owner {
            text.push(c);
        }
    }
    text
}

/// The end of the log while nobody can commit, and what `then` does at that moment; `None` when the lock is not granted or not to be had.
async fn under_read_lock(
    connection: &mut Connection,
    server: &ServerInfo,
    then: &str,
) -> Result<Option<BinlogPosition>> {
    connection
        .execute(&format!(
            "SET SESSION lock_wait_timeout = {LOCK_WAIT_SECONDS}"
        ))
        .await?;
    for _ in 0..LOCK_ATTEMPTS {
        match connection.execute("FLUSH TABLES WITH READ LOCK").await {
            Ok(()) => {
                let done = connection.execute(then).await;
                let position = log_end(connection, server).await;
                connection.execute("UNLOCK TABLES").await?;
                return done.and(position).map(Some);
            }
            Err(error) if server_error_code(&error) == Some(1205) => {}
            Err(error) if server_error_code(&error).is_some() => {
                tracing::debug!(%error, "no global read lock");
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The end of the log, returned after a delay in which its transactions should have become visible.
async fn after_settling(
    connection: &mut Connection,
    server: &ServerInfo,
) -> Result<BinlogPosition> {
    let position = log_end(connection, server).await?;
    let delay = settle_delay(server);
    tracing::warn!(
        server = connection.endpoint(),
        ?delay,
        "no exact start position is to be had: waiting instead; grant RELOAD, or set gtid_mode = ON"
    );
    tokio::time::sleep(delay).await;
    Ok(position)
}

/// With semi-synchronous replication a transaction in the log stays invisible until a replica has answered, or the time-out.
pub(super) fn settle_delay(server: &ServerInfo) -> Duration {
    let names = [
        (
            "rpl_semi_sync_master_enabled",
            "rpl_semi_sync_master_timeout",
        ),
        (
            "rpl_semi_sync_source_enabled",
            "rpl_semi_sync_source_timeout",
        ),
    ];
    let semi_sync = names.iter().find(|(enabled, _)| server.is_on(enabled));
    let wait = semi_sync
        .and_then(|(_, timeout)| server.number(timeout))
        .unwrap_or(0);
    SETTLE + Duration::from_millis(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_the_threads_that_own_gtids() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        assert_eq!(
            without_owners(&format!("{uuid}:5#36:7#2,\n{uuid}:9#1")),
            format!("{uuid}:5:7,{uuid}:9")
        );
        assert_eq!(without_owners(""), "");
    }
}
