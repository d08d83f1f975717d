//! Every obstacle is found before anything is read, with what mends it.

use ingest::config::Secret;
use ingest::position::BinlogPosition;
use ingest::source::mysql::connection::MySqlOptions;
use ingest::source::mysql::preflight::{Finding, Level, PreflightRequest, preflight};
use ingest::source::mysql::safe_position::current_position;
use regex::Regex;

use crate::support::MariaDb;

async fn look(
    options: &MySqlOptions,
    pattern: &str,
    start: Option<&BinlogPosition>,
) -> Vec<Finding> {
    let tables = Regex::new(pattern).unwrap();
    let request = PreflightRequest {
        tables: &tables,
        scan_mode: &ingest::config::ScanMode::Log,
        server_id: 7100,
        workers: 2,
        transforms: &[],
        routes: &[],
        compiler: None,
        start,
    };
    preflight(options, &request).await
}

fn errors(findings: &[Finding]) -> Vec<&Finding> {
    findings
        .iter()
        .filter(|finding| finding.level == Level::Error)
        .collect()
}

#[track_caller]
fn expect<'a>(findings: &'a [Finding], level: Level, subject: &str) -> &'a Finding {
    let found = findings
        .iter()
        .find(|finding| finding.level == level && finding.subject == subject);
    found.unwrap_or_else(|| panic!("no {level:?} about {subject} in {findings:#?}"))
}

#[tokio::test]
async fn a_sound_server_has_no_errors() {
    let server = MariaDb::shared().await;
    server
        .run(&[
            "CREATE DATABASE pre1",
            "CREATE TABLE pre1.t (id INT PRIMARY KEY)",
        ])
        .await;
    let here = current_position(&mut server.connect().await).await.unwrap();
    let findings = look(&server.lake(), r"pre1\.t", Some(&here)).await;
    assert!(
        findings.iter().all(|finding| finding.level == Level::Info),
        "{findings:#?}"
    );
}

#[tokio::test]
async fn an_unreachable_server_is_a_finding() {
    let options = MySqlOptions::new("127.0.0.1", "u", Secret::new(""));
    let findings = look(&MySqlOptions { port: 1, ..options }, "x", None).await;
    assert!(
        expect(&findings, Level::Error, "127.0.0.1:1")
            .message
            .contains("bind_address")
    );
}

#[tokio::test]
async fn a_server_without_binlog_is_refused_and_its_tables_are_still_checked() {
    let server = MariaDb::start_without_binlog().await;
    server
        .run(&["CREATE DATABASE pre2", "CREATE TABLE pre2.t (a INT)"])
        .await;
    let findings = look(&server.lake(), r"pre2\.t", None).await;
    let remedy = expect(&findings, Level::Error, "log_bin")
        .remedy
        .as_deref()
        .unwrap();
    assert!(remedy.contains("log_bin = mysql-bin"), "{remedy}");
    expect(&findings, Level::Error, "pre2.t");
}

#[tokio::test]
async fn settings_that_spoil_the_log_are_all_found() {
    let options = [
        "--binlog-format=STATEMENT",
        "--binlog-row-image=MINIMAL",
        "--server-id=7100",
        "--expire-logs-days=1",
        "--max-connections=4",
        "--binlog-ignore-db=pre3",
    ];
    let server = MariaDb::start(&options).await;
    server
        .run(&[
            "CREATE DATABASE pre3",
            "CREATE TABLE pre3.t (a INT PRIMARY KEY)",
        ])
        .await;
    let findings = look(&server.lake(), r"pre3\.t", None).await;
    for (subject, remedy) in [
        ("binlog_format", "SET GLOBAL binlog_format = 'ROW'"),
        ("binlog_row_image", "SET GLOBAL binlog_row_image = 'FULL'"),
        ("server-id", "server-id: 7101"),
    ] {
        let finding = expect(&findings, Level::Error, subject);
        assert!(
            finding
                .remedy
                .as_ref()
                .is_some_and(|text| text.contains(remedy)),
            "{finding}"
        );
    }
    expect(&findings, Level::Warning, "binlog_expire_logs_seconds");
    let filter = expect(&findings, Level::Warning, "binlog_ignore_db");
    assert!(filter.message.contains("pre3"));
}

#[tokio::test]
async fn missing_rights_are_named_with_the_grant_that_mends_them() {
    let server = MariaDb::shared().await;
    server
        .run(&[
            "CREATE DATABASE pre4",
            "CREATE TABLE pre4.t (id INT PRIMARY KEY, secret INT)",
            "CREATE USER weak@'%' IDENTIFIED BY 'pw'",
            "GRANT SELECT (id) ON pre4.t TO weak@'%'",
            "CREATE USER blind@'%' IDENTIFIED BY 'pw'",
        ])
        .await;
    let weak = server.options("weak", "pw");
    let findings = look(&weak, r"pre4\.t", None).await;
    let remedies: Vec<_> = errors(&findings)
        .iter()
        .filter_map(|f| f.remedy.clone())
        .collect();
    assert!(
        remedies.contains(&"GRANT BINLOG MONITOR ON *.* TO 'weak'@'%'".to_owned()),
        "{findings:#?}"
    );
    assert!(
        remedies.contains(&"GRANT REPLICATION SLAVE ON *.* TO 'weak'@'%'".to_owned()),
        "{findings:#?}"
    );
    // The remedies are statements: carrying them out mends it. Columns without a right did not show.
    let statements: Vec<&str> = remedies.iter().map(String::as_str).collect();
    server.run(&statements).await;
    assert!(errors(&look(&weak, r"pre4\.t", None).await).is_empty());
    let blind = look(&server.options("blind", "pw"), r"pre4\.t", None).await;
    assert!(
        expect(&blind, Level::Error, "tables")
            .message
            .contains("SELECT")
    );
}

#[tokio::test]
async fn tables_that_cannot_be_followed_are_listed() {
    let server = MariaDb::shared().await;
    server
        .run(&[
            "CREATE DATABASE pre5",
            "CREATE TABLE pre5.keyless (id INT, v INT)",
            "CREATE TABLE pre5.parent (id INT PRIMARY KEY)",
            "CREATE TABLE pre5.child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)",
            "CREATE TABLE pre5.old (id INT PRIMARY KEY) ENGINE = MyISAM",
            "CREATE VIEW pre5.seen AS SELECT 1",
        ])
        .await;
    let findings = look(&server.lake(), r"pre5\..*", None).await;
    let keyless = expect(&findings, Level::Error, "pre5.keyless");
    server.run(&[keyless.remedy.as_deref().unwrap()]).await;
    assert!(
        expect(&findings, Level::Warning, "pre5.child")
            .message
            .contains("CASCADE")
    );
    assert!(
        expect(&findings, Level::Warning, "pre5.old")
            .message
            .contains("MyISAM")
    );
    assert!(
        expect(&findings, Level::Warning, "pre5.seen")
            .message
            .contains("VIEW")
    );
    assert!(errors(&look(&server.lake(), r"pre5\..*", None).await).is_empty());
}

#[tokio::test]
async fn a_purged_start_is_found() {
    let server = MariaDb::shared().await;
    server
        .run(&[
            "CREATE DATABASE pre6",
            "CREATE TABLE pre6.t (id INT PRIMARY KEY)",
        ])
        .await;
    let here = current_position(&mut server.connect().await).await.unwrap();
    let start = BinlogPosition {
        file: "binlog.000000".to_owned(),
        ..here
    };
    let findings = look(&server.lake(), r"pre6\.t", Some(&start)).await;
    assert!(
        expect(&findings, Level::Error, "position")
            .message
            .contains("oldest log is binlog.000001")
    );
}
