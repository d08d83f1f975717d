//! Checks by doing: looking at the log, dumping it, finding the start position.

use super::{Finding, Level, PreflightRequest, of_error};
use crate::position::BinlogPosition;
use crate::source::mysql::connection::{Connection, MySqlOptions};
use crate::source::mysql::dump::BinlogStream;
use crate::source::mysql::result_set::TextRow;
use crate::source::mysql::safe_position::{current_position, settle_delay};
use crate::source::mysql::server::ServerInfo;
use crate::source::mysql::server_error::server_error_code;
use crate::source::mysql::sql::quote_text;
use crate::{Error, Result};

/// A probe must not take the place of a pipeline that is running under its own id.
const PROBE_ID_BIT: u32 = 1 << 30;
const ACCESS_DENIED: u16 = 1045;
const PRIVILEGE_MISSING: u16 = 1227;

pub(super) async fn check(
    options: &MySqlOptions,
    connection: &mut Connection,
    server: &ServerInfo,
    request: &PreflightRequest<'_>,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    if !server.is_on("log_bin") {
        return Ok(());
    }
    let account = account(connection).await?;
    replica_without_log(connection, server, findings).await?;
    start_precision(connection, server, &account, findings).await?;
    let here = match connection.query(server.binlog_status_statement()).await {
        Ok(rows) => {
            findings.extend(rows.first().and_then(|row| filters(row, request)));
            Some(current_position(connection).await?)
        }
        Err(error) if is_denied(&error) => {
            let privilege = if server.is_mariadb() {
                "BINLOG MONITOR"
            } else {
                "REPLICATION CLIENT"
            };
            findings.push(missing(
                privilege,
                &account,
                "the end of the binary log cannot be looked up",
            ));
            None
        }
        Err(error) => return Err(error),
    };
    if let Some(here) = &here {
        if let Some(start) = request.start.filter(|start| start.is_same_server(here)) {
            findings.extend(purged(connection, start).await?);
        }
        findings.extend(dump(options, here, request, &account).await);
    } else {
        // Without a position the dump is tried from a file that does not exist: rights come first.
        let nowhere = BinlogPosition {
            file: "lakebed-probe".to_owned(),
            pos: 4,
            gtid: None,
            server: server.identity(),
        };
        let finding = dump(options, &nowhere, request, &account).await;
        findings.extend(finding.filter(|finding| finding.remedy.is_some()));
    }
    Ok(())
}

/// The account as GRANT wants it: `'user'@'host'`.
pub(super) async fn account(connection: &mut Connection) -> Result<String> {
    let me = connection
        .query_value("SELECT CURRENT_USER()")
        .await?
        .unwrap_or_default();
    let (user, host) = me.rsplit_once('@').unwrap_or((&me, "%"));
    Ok(format!("{}@{}", quote_text(user), quote_text(host)))
}

pub(super) fn is_denied(error: &Error) -> bool {
    matches!(
        server_error_code(error),
        Some(ACCESS_DENIED | PRIVILEGE_MISSING | 1044 | 1142 | 1143 | 1370)
    )
}

fn missing(privilege: &str, account: &str, consequence: &str) -> Finding {
    Finding::new(
        Level::Error,
        format!("account {account}"),
        format!("lacks {privilege}: {consequence}"),
    )
    .mend(format!("GRANT {privilege} ON *.* TO {account}"))
}

/// Reads the log up to its end, as the pipeline will, under another id.
async fn dump(
    options: &MySqlOptions,
    position: &BinlogPosition,
    request: &PreflightRequest<'_>,
    account: &str,
) -> Option<Finding> {
    let attempt = async {
        let id = request.server_id ^ PROBE_ID_BIT;
        let mut stream = BinlogStream::open_to_end(options, id, position).await?;
        while stream.next_before_end().await?.is_some() {}
        Ok::<_, Error>(())
    };
    match attempt.await {
        Ok(()) => None,
        Err(error) if is_denied(&error) => Some(missing(
            "REPLICATION SLAVE",
            account,
            "the binary log cannot be read",
        )),
        Err(error) => Some(of_error("binary log", &error)),
    }
}

/// Whether the file that the pipeline goes on from is still there.
async fn purged(connection: &mut Connection, start: &BinlogPosition) -> Result<Option<Finding>> {
    let rows = connection.query("SHOW BINARY LOGS").await?;
    if rows
        .iter()
        .any(|row| row.get(0) == Some(start.file.as_str()))
    {
        return Ok(None);
    }
    let oldest = rows.first().and_then(|row| row.get(0)).unwrap_or("none");
    Ok(Some(
        Finding::new(
            Level::Error,
            "position",
            format!("{start} is gone: {} was purged, the oldest log is {oldest}", start.file),
        )
        .mend("take a new snapshot into a new lake path, and keep logs longer (binlog_expire_logs_seconds)"),
    ))
}

/// Databases that the server keeps out of its log.
fn filters(status: &TextRow, request: &PreflightRequest<'_>) -> Option<Finding> {
    let pattern = request.tables.as_str();
    ["Binlog_Do_DB", "Binlog_Ignore_DB"].iter().find_map(|name| {
        let list = status.get_by_name(name).filter(|list| !list.is_empty())?;
        Some(
            Finding::new(
                Level::Warning,
                name.to_lowercase(),
                format!("is `{list}`: changes that it keeps out of the log never reach the lake; compare with tables `{pattern}`"),
            )
            .mend(format!("remove {} from my.cnf and restart the server", name.to_lowercase())),
        )
    })
}

/// A replica only logs what it replicates when told to.
async fn replica_without_log(
    connection: &mut Connection,
    server: &ServerInfo,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    if server.is_on("log_slave_updates") || server.is_on("log_replica_updates") {
        return Ok(());
    }
    match connection.query(server.replication_statement()).await {
        Ok(rows) if rows.is_empty() => {}
        Ok(_) => findings.push(
            Finding::new(
                Level::Error,
                "log_slave_updates",
                "this server is a replica that does not log what it replicates: those changes would be missed",
            )
            .mend("[mysqld] log_slave_updates = ON; then restart the server"),
        ),
        // Not allowed to look: nothing is known, and the pipeline does not need the right.
        Err(error) if is_denied(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Whether the snapshot's start can be exact on this server.
async fn start_precision(
    connection: &mut Connection,
    server: &ServerInfo,
    account: &str,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let exact = !connection
        .query("SHOW STATUS LIKE 'binlog_snapshot_%'")
        .await?
        .is_empty();
    if exact || server.has_gtid() {
        return Ok(());
    }
    let grants = connection.query("SHOW GRANTS").await?;
    let may_lock = grants.iter().filter_map(|row| row.get(0)).any(|grant| {
        grant.contains(" ON *.*") && (grant.contains("RELOAD") || grant.contains("ALL PRIVILEGES"))
    });
    if !may_lock {
        let delay = settle_delay(server);
        findings.push(
            Finding::new(
                Level::Warning,
                "snapshot",
                format!(
                    "without GTIDs and RELOAD the start of the log is not exact: the pipeline waits {delay:?} for \
                     transactions to become visible, and one that takes longer is missed"
                ),
            )
            .mend(format!("GRANT RELOAD ON *.* TO {account}")),
        );
    }
    Ok(())
}
