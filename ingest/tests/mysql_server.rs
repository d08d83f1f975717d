//! The same against MySQL itself, 8.0 and 5.7, each test on a server of its own.

use std::sync::Arc;

use ingest::position::{BinlogPosition, GtidSet};
use ingest::source::mysql::chunk::{ChunkSplitter, initial_range, read_chunk};
use ingest::source::mysql::connection::{Connection, MySqlOptions, SslMode};
use ingest::source::mysql::discovery::discover;
use ingest::source::mysql::dump::BinlogStream;
use ingest::source::mysql::preflight::{Level, PreflightRequest, preflight};
use ingest::source::mysql::safe_position::{current_position, safe_position};
use ingest::source::mysql::server::ServerInfo;
use regex::Regex;
use rstest::rstest;

use crate::support::MySql;

#[rstest]
#[case::mysql_8_0("8.0")]
#[case::mysql_5_7("5.7")]
#[tokio::test]
#[ignore = "needs MySQL 8.0 and 5.7: make test-interop"]
async fn logs_in_by_every_plugin_in_clear_and_under_tls(#[case] version: &str) {
    let server = MySql::start(version).await;
    let mut root = Connection::connect(&server.options("root", ""))
        .await
        .unwrap();
    let rows = root.query(
        "SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_TYPE = 'AUTHENTICATION'",
    );
    let plugins: Vec<String> = rows
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0).unwrap().to_owned())
        .collect();
    let tls = root
        .query_value("SELECT @@have_ssl")
        .await
        .unwrap()
        .as_deref()
        == Some("YES");
    let rsa = !root
        .query("SHOW STATUS LIKE '%rsa_public_key'")
        .await
        .unwrap()
        .is_empty();
    let mut tried = 0;
    for plugin in [
        "mysql_native_password",
        "caching_sha2_password",
        "sha256_password",
    ] {
        // Without TLS and without a key pair, a server cannot use the SHA-2 plugins at all.
        let usable = tls || rsa || plugin == "mysql_native_password";
        if !usable || !plugins.iter().any(|name| name == plugin) {
            continue;
        }
        for (password, modes) in [
            (
                "s3cret ü",
                [SslMode::Disabled, SslMode::Preferred, SslMode::Disabled],
            ),
            (
                "",
                [SslMode::Preferred, SslMode::Disabled, SslMode::Preferred],
            ),
        ] {
            for mode in modes {
                let user = format!("u_{plugin}").replace("_password", "");
                server
                    .run(&[
                        &format!("DROP USER IF EXISTS {user}@'%'"),
                        &format!("CREATE USER {user}@'%' IDENTIFIED WITH {plugin} BY '{password}'"),
                    ])
                    .await;
                // The second login takes the short way of a cached password.
                for _ in 0..2 {
                    let options = MySqlOptions {
                        ssl_mode: mode,
                        ..server.options(&user, password)
                    };
                    let connected = Connection::connect(&options).await;
                    let connection =
                        connected.unwrap_or_else(|e| panic!("{plugin} {mode:?} `{password}`: {e}"));
                    assert!(!connection.is_encrypted() || mode != SslMode::Disabled);
                    tried += 1;
                }
                let wrong = Connection::connect(&server.options(&user, "wrong")).await;
                assert!(wrong.is_err(), "{plugin} lets everybody in");
            }
        }
    }
    assert!(tried >= 12, "tried {tried} logins; TLS: {tls}");
}

#[rstest]
#[case::mysql_8_0("8.0")]
#[case::mysql_5_7("5.7")]
#[tokio::test]
#[ignore = "needs MySQL 8.0 and 5.7: make test-interop"]
async fn snapshot_and_log_meet_without_a_gap(#[case] version: &str) {
    let server = MySql::start(version).await;
    server
        .run(&[
            "DROP DATABASE IF EXISTS meet",
            "CREATE DATABASE meet",
            "CREATE TABLE meet.t (id BIGINT AUTO_INCREMENT PRIMARY KEY, v INT)",
            "FLUSH BINARY LOGS",
        ])
        .await;
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let root = server.options("root", "");
            tokio::spawn(async move {
                let mut root = Connection::connect(&root).await.unwrap();
                for _ in 0..400 {
                    root.execute("INSERT INTO meet.t (v) VALUES (1)")
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    let mut reader = Connection::connect(&server.options("lake", "lakepw"))
        .await
        .unwrap();
    for _ in 0..15 {
        let start = safe_position(&server.options("lake", "lakepw"))
            .await
            .unwrap();
        // Every transaction of the log before `start` inserts one row: all of them must be visible now.
        let visible = reader
            .query_value("SELECT COUNT(*) FROM meet.t")
            .await
            .unwrap()
            .unwrap();
        let sql = format!("SHOW BINLOG EVENTS IN '{}' LIMIT 1000000", start.file);
        let mut root = Connection::connect(&server.options("root", ""))
            .await
            .unwrap();
        let events = root.query(&sql).await.unwrap();
        let before = |row: &&ingest::source::mysql::result_set::TextRow| {
            row.parse_at::<u64>(4).unwrap() <= start.pos && row.get(2) == Some("Write_rows")
        };
        let meet_maps: Vec<u64> = events
            .iter()
            .filter(|row| row.get(5).is_some_and(|info| info.contains("(meet.t)")))
            .map(|row| row.parse_at(4).unwrap())
            .collect();
        let logged = events
            .iter()
            .filter(before)
            .filter(|row| meet_maps.contains(&row.parse_at(1).unwrap()))
            .count();
        assert!(
            visible.parse::<usize>().unwrap() >= logged,
            "{visible} of {logged} rows are visible"
        );
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

#[rstest]
#[case::mysql_8_0("8.0")]
#[case::mysql_5_7("5.7")]
#[tokio::test]
#[ignore = "needs MySQL 8.0 and 5.7: make test-interop"]
async fn resumes_by_file_and_by_gtid(#[case] version: &str) {
    let server = MySql::start(version).await;
    server
        .run(&[
            "DROP DATABASE IF EXISTS resume",
            "CREATE DATABASE resume",
            "CREATE TABLE resume.t (id INT PRIMARY KEY)",
        ])
        .await;
    let mut control = Connection::connect(&server.options("lake", "lakepw"))
        .await
        .unwrap();
    let info = ServerInfo::read(&mut control).await.unwrap();
    let start = current_position(&mut control).await.unwrap();
    server.run(&["INSERT INTO resume.t VALUES (1)"]).await;
    let mut positions = vec![start.clone()];
    if info.has_gtid() {
        positions.push(BinlogPosition {
            server: "another".to_owned(),
            file: "x.9".to_owned(),
            ..start
        });
    }
    for position in positions {
        let mut stream = BinlogStream::open(&server.options("lake", "lakepw"), 7200, &position)
            .await
            .unwrap();
        let (mut rows, mut commits) = (0, 0);
        while commits == 0 {
            let event = stream.next_event().await.unwrap();
            rows += usize::from(event[4] == 30);
            commits += usize::from(event[4] == 16);
        }
        assert_eq!(rows, 1, "{position}");
    }
    let gtid = current_position(&mut control).await.unwrap().gtid;
    assert_eq!(gtid.is_some(), info.has_gtid());
    if let Some(gtid) = gtid {
        assert!(matches!(gtid.parse().unwrap(), GtidSet::MySql(_)));
    }
}

#[rstest]
#[case::mysql_8_0("8.0")]
#[case::mysql_5_7("5.7")]
#[tokio::test]
#[ignore = "needs MySQL 8.0 and 5.7: make test-interop"]
async fn tables_are_found_checked_and_cut(#[case] version: &str) {
    let server = MySql::start(version).await;
    server.run(&[
        "DROP DATABASE IF EXISTS cut",
        "CREATE DATABASE cut",
        "CREATE TABLE cut.numbers (n INT PRIMARY KEY)",
        "INSERT INTO cut.numbers SELECT @n := @n + 1 FROM information_schema.COLUMNS a, (SELECT @n := 0) z LIMIT 2000",
        "CREATE TABLE cut.texts (k VARCHAR(20) CHARACTER SET utf8 PRIMARY KEY)",
        "INSERT INTO cut.texts SELECT CONCAT(IF(n % 2, 'key', 'KEY'), n) FROM cut.numbers",
        "CREATE TABLE cut.pairs (b VARBINARY(9), e ENUM('z','a'), PRIMARY KEY (e, b))",
        "INSERT INTO cut.pairs SELECT UNHEX(LPAD(HEX(n), 6, '0')), n % 2 + 1 FROM cut.numbers",
        "CREATE TABLE cut.docs (b BIT(33) PRIMARY KEY, doc JSON)",
        "INSERT INTO cut.docs SELECT n * 1000003, '{\"a\": 1}' FROM cut.numbers",
        "CREATE TABLE cut.times (at TIMESTAMP(3) PRIMARY KEY)",
        "INSERT INTO cut.times SELECT TIMESTAMP '2024-01-01 00:00:00' + INTERVAL n SECOND FROM cut.numbers",
    ])
    .await;
    let pattern = Regex::new(r"cut\..*").unwrap();
    let mut connection = Connection::connect_snapshot(&server.options("lake", "lakepw"))
        .await
        .unwrap();
    let found = discover(&mut connection, &pattern).await.unwrap();
    assert_eq!(found.len(), 5);
    for found in found {
        let table = Arc::new(found.table);
        let range = initial_range(&mut connection, &table)
            .await
            .unwrap()
            .unwrap();
        let mut splitter = ChunkSplitter::new(Arc::clone(&table), range, 300);
        let (mut rows, mut chunks) = (std::collections::BTreeSet::new(), 0);
        while let Some(chunk) = splitter.next_chunk(&mut connection).await.unwrap() {
            let mut stream = read_chunk(&mut connection, &table, &chunk).await.unwrap();
            while let Some(row) = stream.next_row().await.unwrap() {
                assert!(rows.insert(row.to_vec()), "{table}: a row came twice");
            }
            chunks += 1;
        }
        assert!(
            rows.len() == 2000 && chunks > 3,
            "{table}: {} rows in {chunks} chunks",
            rows.len()
        );
    }
    let request = PreflightRequest {
        tables: &pattern,
        scan_mode: &ingest::config::ScanMode::Log,
        server_id: 7300,
        workers: 2,
        transforms: &[],
        routes: &[],
        compiler: None,
        start: None,
    };
    let findings = preflight(&server.options("lake", "lakepw"), &request).await;
    assert!(
        findings.iter().all(|finding| finding.level != Level::Error),
        "{findings:#?}"
    );
}
