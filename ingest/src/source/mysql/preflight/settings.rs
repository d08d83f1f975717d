//! Checks of global variables: those that shape the binary log, and those that limit us.

use super::{Finding, Level, PreflightRequest};
use crate::source::mysql::server::ServerInfo;

const DAY_SECONDS: f64 = 86_400.0;
/// Logs that are kept for less than this do not outlast a weekend.
const RETENTION_MIN: f64 = 3.0 * DAY_SECONDS;
/// Connections beside the snapshot's workers: control, chunk cutting, dump.
const CONNECTIONS_BESIDE: u64 = 3;

pub(super) fn check(
    server: &ServerInfo,
    request: &PreflightRequest<'_>,
    findings: &mut Vec<Finding>,
) {
    findings.extend(version(server));
    findings.extend(ids(server, request.server_id));
    findings.extend(connections(server, request.workers));
    if !server.is_on("log_bin") {
        findings.push(
            Finding::new(
                Level::Error,
                "log_bin",
                "the binary log is off: there is nothing to follow (managed services: turn automated backups on)",
            )
            .mend("[mysqld] log_bin = mysql-bin, binlog_format = ROW; then restart the server"),
        );
        return;
    }
    findings.extend(row_format(server));
    findings.extend(retention(server));
    if !server.has_gtid() {
        let mode = server.variable("gtid_mode").unwrap_or("absent");
        findings.push(Finding::new(
            Level::Info,
            "gtid_mode",
            format!(
                "is {mode}: after a failover to another server the pipeline needs a new snapshot"
            ),
        ));
    }
}

fn version(server: &ServerInfo) -> Option<Finding> {
    let oldest = if server.is_mariadb() {
        (10, 3, 0)
    } else {
        (5, 6, 0)
    };
    (server.version < oldest).then(|| {
        let (major, minor, _) = oldest;
        Finding::new(
            Level::Error,
            "version",
            format!("{server} is older than {major}.{minor}, the oldest that is supported"),
        )
    })
}

fn ids(server: &ServerInfo, ours: u32) -> Option<Finding> {
    let theirs = server.number("server_id").unwrap_or(0);
    let finding = match () {
        () if theirs == 0 => Finding::new(
            Level::Error,
            "server_id",
            "is 0: the server refuses every replica",
        )
        .mend("SET GLOBAL server_id = 1"),
        () if ours == 0 => Finding::new(Level::Error, "server-id", "0 is no id for a replica")
            .mend("source: server-id: 5400"),
        () if u64::from(ours) == theirs => Finding::new(
            Level::Error,
            "server-id",
            format!("{ours} is the server's own id"),
        )
        .mend(format!(
            "source: server-id: {}",
            ours.wrapping_add(1).max(5400)
        )),
        () => return None,
    };
    Some(finding)
}

fn row_format(server: &ServerInfo) -> Vec<Finding> {
    let mut findings = Vec::new();
    let format = server.variable("binlog_format").unwrap_or("ROW");
    if format != "ROW" {
        findings.push(
            Finding::new(
                Level::Error,
                "binlog_format",
                format!(
                    "is {format}: the log holds statements instead of rows; sessions that are open keep the \
                     old format until they connect again"
                ),
            )
            .mend(set_global(server, "binlog_format", "'ROW'")),
        );
    }
    let image = server.variable("binlog_row_image").unwrap_or("FULL");
    if image != "FULL" {
        findings.push(
            Finding::new(
                Level::Error,
                "binlog_row_image",
                format!("is {image}: updates and deletes would lack columns"),
            )
            .mend(set_global(server, "binlog_row_image", "'FULL'")),
        );
    }
    let options = server
        .variable("binlog_row_value_options")
        .unwrap_or_default();
    if !options.is_empty() {
        findings.push(
            Finding::new(
                Level::Error,
                "binlog_row_value_options",
                format!("is {options}: updates of JSON columns are logged as differences"),
            )
            .mend(set_global(server, "binlog_row_value_options", "''")),
        );
    }
    if server
        .variable("binlog_row_metadata")
        .is_some_and(|metadata| metadata != "FULL")
    {
        findings.push(
            Finding::new(
                Level::Info,
                "binlog_row_metadata",
                "is not FULL: column names are not in the log, so that rows older than an ALTER TABLE cannot be checked",
            )
            .mend(set_global(server, "binlog_row_metadata", "'FULL'")),
        );
    }
    findings
}

fn retention(server: &ServerInfo) -> Option<Finding> {
    let number = |name: &str| {
        server
            .variable(name)
            .and_then(|text| text.parse::<f64>().ok())
    };
    let seconds = number("binlog_expire_logs_seconds").filter(|seconds| *seconds > 0.0);
    let days = number("expire_logs_days").filter(|days| *days > 0.0);
    let kept = seconds.or(days.map(|days| days * DAY_SECONDS))?;
    let name = if server.variable("binlog_expire_logs_seconds").is_some() {
        "binlog_expire_logs_seconds"
    } else {
        "expire_logs_days"
    };
    let wanted = if name == "expire_logs_days" {
        "7"
    } else {
        "604800"
    };
    (kept < RETENTION_MIN).then(|| {
        Finding::new(
            Level::Warning,
            name,
            format!(
                "binary logs are kept for {:.1} hours only: a snapshot or an outage that lasts longer loses the position",
                kept / 3600.0
            ),
        )
        .mend(set_global(server, name, wanted))
    })
}

fn connections(server: &ServerInfo, workers: usize) -> Option<Finding> {
    let needed = workers as u64 + CONNECTIONS_BESIDE;
    let limits = ["max_connections", "max_user_connections"];
    let name = *limits.iter().find(|name| {
        server
            .number(name)
            .is_some_and(|limit| limit > 0 && limit < needed)
    })?;
    Some(
        Finding::new(
            Level::Warning,
            name,
            format!(
                "is {}, and the pipeline opens up to {needed}",
                server.number(name).unwrap_or(0)
            ),
        )
        .mend(set_global(server, name, &needed.max(100).to_string())),
    )
}

/// The statement that changes a variable now and, where the server can, for its next start.
fn set_global(server: &ServerInfo, name: &str, value: &str) -> String {
    if !server.is_mariadb() && server.version >= (8, 0, 0) {
        format!("SET PERSIST {name} = {value}")
    } else {
        let plain = value.trim_matches('\'');
        format!("SET GLOBAL {name} = {value} (and in my.cnf, [mysqld]: {name} = {plain})")
    }
}
