//! Reading the binary log as a replica.

use std::time::Duration;

use ingest::ErrorKind;
use ingest::position::BinlogPosition;
use ingest::source::mysql::dump::BinlogStream;
use ingest::source::mysql::safe_position::{current_position, safe_position};
use ingest::source::mysql::server_error::server_error_code;

use crate::support::MariaDb;

const GTID: u8 = 162;
const XID: u8 = 16;

/// Type codes of events up to the `count`-th commit.
async fn types_until_commits(stream: &mut BinlogStream, mut count: usize) -> Vec<u8> {
    let mut types = Vec::new();
    while count > 0 {
        let event = stream.next_event().await.unwrap();
        let size = u32::from_le_bytes(event[9..13].try_into().unwrap());
        assert_eq!(
            size as usize,
            event.len(),
            "the header tells the size of the whole event"
        );
        types.push(event[4]);
        count -= usize::from(event[4] == XID);
    }
    types
}

#[tokio::test]
async fn follows_the_log_from_a_position() {
    let server = MariaDb::shared().await;
    server
        .run(&[
            "CREATE DATABASE dump1",
            "CREATE TABLE dump1.t (id INT PRIMARY KEY, v LONGBLOB)",
        ])
        .await;
    let start = safe_position(&server.lake()).await.unwrap();
    let mut stream = BinlogStream::open(&server.lake(), 7001, &start)
        .await
        .unwrap();
    server.run(&["INSERT INTO dump1.t VALUES (1, 'a')"]).await;
    // A fake rotate and the format description come first.
    let first = stream.next_event().await.unwrap();
    assert_eq!(first[4], 4);
    let types = types_until_commits(&mut stream, 1).await;
    assert!(
        types.contains(&GTID) && types.contains(&19) && types.contains(&23),
        "{types:?}"
    );

    // A row image of 40 MB comes as one event, although it takes three packets.
    server
        .run(&["INSERT INTO dump1.t VALUES (2, REPEAT('x', 40000000))"])
        .await;
    loop {
        let event = stream.next_event().await.unwrap();
        if event[4] == 23 && event.len() > 40_000_000 {
            break;
        }
    }
}

#[tokio::test]
async fn another_server_is_asked_by_gtid() {
    let server = MariaDb::start(&[]).await;
    server
        .run(&[
            "CREATE DATABASE dump2",
            "CREATE TABLE dump2.t (id INT PRIMARY KEY)",
        ])
        .await;
    let end = current_position(&mut server.connect().await).await.unwrap();
    server.run(&["INSERT INTO dump2.t VALUES (1)"]).await;
    let moved = BinlogPosition {
        server: "another".to_owned(),
        file: "other.000009".to_owned(),
        pos: 999,
        ..end.clone()
    };
    let mut stream = BinlogStream::open(&server.lake(), 7002, &moved)
        .await
        .unwrap();
    let types = types_until_commits(&mut stream, 1).await;
    assert_eq!(
        types.iter().filter(|code| **code == GTID).count(),
        1,
        "{types:?}"
    );

    let blind = BinlogPosition {
        gtid: None,
        ..moved
    };
    let error = BinlogStream::open(&server.lake(), 7002, &blind)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("another"), "{error}");
}

/// Purges older files; the server keeps one until recovery needs it no more, and says nothing.
async fn purge_up_to(server: &MariaDb, file: &str) {
    let mut connection = server.connect().await;
    for _ in 0..600 {
        server
            .run(&[&format!("PURGE BINARY LOGS TO '{file}'")])
            .await;
        let logs = connection.query("SHOW BINARY LOGS").await.unwrap();
        if logs[0].get(0) == Some(file) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the server does not purge its logs");
}

#[tokio::test]
async fn a_lost_position_says_what_to_do() {
    let server = MariaDb::start(&[]).await;
    let start = safe_position(&server.lake()).await.unwrap();
    server
        .run(&["FLUSH BINARY LOGS", "FLUSH BINARY LOGS"])
        .await;
    let newest = current_position(&mut server.connect().await).await.unwrap();
    purge_up_to(&server, &newest.file).await;
    for (position, hint) in [
        (start.clone(), "purged"),
        (
            BinlogPosition {
                pos: 77_777_777,
                ..newest.clone()
            },
            "RESET MASTER",
        ),
        (
            BinlogPosition {
                server: "moved".to_owned(),
                gtid: Some("0-1-99999".to_owned()),
                ..newest.clone()
            },
            "snapshot",
        ),
    ] {
        let mut stream = BinlogStream::open(&server.lake(), 7003, &position)
            .await
            .unwrap();
        let limit = Duration::from_secs(20);
        let error = loop {
            match tokio::time::timeout(limit, stream.next_event()).await {
                Ok(Ok(event)) => assert_ne!(event[4], GTID, "{position}"),
                Ok(Err(error)) => break error,
                Err(_) => panic!("{position} is taken for a place in the log"),
            }
        };
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[tokio::test]
async fn a_second_client_of_the_same_id_is_told_apart_from_a_failure() {
    let server = MariaDb::shared().await;
    let start = safe_position(&server.lake()).await.unwrap();
    let mut first = BinlogStream::open(&server.lake(), 7004, &start)
        .await
        .unwrap();
    first.next_event().await.unwrap();
    let _second = BinlogStream::open(&server.lake(), 7004, &start)
        .await
        .unwrap();
    let error = loop {
        match tokio::time::timeout(Duration::from_secs(20), first.next_event())
            .await
            .unwrap()
        {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains("server-id"), "{error}");
}

#[tokio::test]
async fn a_missing_privilege_is_not_taken_for_a_wrong_password() {
    let server = MariaDb::shared().await;
    server
        .run(&[
            "CREATE USER norepl@'%' IDENTIFIED BY 'pw'",
            "GRANT BINLOG MONITOR ON *.* TO norepl@'%'",
        ])
        .await;
    let start = safe_position(&server.lake()).await.unwrap();
    let error = BinlogStream::open(&server.options("norepl", "pw"), 7005, &start)
        .await
        .unwrap_err();
    assert_eq!(server_error_code(&error), Some(1045));
    assert!(error.to_string().contains("REPLICATION SLAVE"), "{error}");
}
