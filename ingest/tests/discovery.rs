//! What information_schema says of tables, and where the log starts.

use ingest::ErrorKind;
use ingest::source::mysql::discovery::{DiscoveredTable, discover};
use ingest::source::mysql::safe_position::{current_position, safe_position};
use regex::Regex;

use crate::support::MariaDb;

async fn find(server: &MariaDb, pattern: &str) -> Vec<DiscoveredTable> {
    let mut connection = server.connect().await;
    discover(&mut connection, &Regex::new(pattern).unwrap())
        .await
        .unwrap()
}

fn key_names(found: &DiscoveredTable) -> Vec<&str> {
    let table = &found.table;
    table
        .primary_key
        .iter()
        .map(|at| table.columns[*at].name.as_str())
        .collect()
}

#[tokio::test]
async fn patterns_match_whole_names() {
    let server = MariaDb::shared().await;
    server
        .run(&[
            "CREATE DATABASE disco1",
            "CREATE TABLE disco1.orders (id INT PRIMARY KEY)",
            "CREATE TABLE disco1.orders_old (id INT PRIMARY KEY)",
            "CREATE TABLE disco1.items (id INT PRIMARY KEY)",
            "CREATE VIEW disco1.orders_view AS SELECT 1",
        ])
        .await;
    let names = |found: Vec<DiscoveredTable>| -> Vec<String> {
        found.iter().map(|found| found.table.to_string()).collect()
    };
    assert_eq!(
        names(find(&server, r"disco1\.order|disco1\.orders").await),
        ["disco1.orders"]
    );
    let both = find(&server, r"disco1\.(orders|items)").await;
    assert_eq!(names(both), ["disco1.items", "disco1.orders"]);
    assert_eq!(
        names(find(&server, r"disco1\.orders_.*").await),
        ["disco1.orders_old"]
    );
    assert!(find(&server, "disco1.order").await.is_empty());
    assert!(find(&server, ".*nothing.*").await.is_empty());
}

#[tokio::test]
async fn describes_columns_of_all_kinds_in_order() {
    let server = MariaDb::shared().await;
    server
        .run(&[
            "CREATE DATABASE disco2",
            "USE disco2",
            "CREATE TABLE disco2.kinds (
                id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
                name VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_german1_ci,
                state ENUM('a''b','c,d') NOT NULL,
                price DECIMAL(10,2) UNSIGNED,
                doc JSON,
                plain LONGTEXT,
                twice INT AS (id * 2) VIRTUAL,
                hidden INT INVISIBLE DEFAULT 3,
                `we``ird name` UUID,
                at TIMESTAMP(6) NULL)",
            "INSERT INTO disco2.kinds (id, price) SELECT seq, 1 FROM seq_1_to_1000",
            "ANALYZE TABLE disco2.kinds",
        ])
        .await;
    let found = &find(&server, r"disco2\.kinds").await[0];
    let column = |name: &str| found.table.columns.iter().find(|c| c.name == name).unwrap();
    let names: Vec<_> = found
        .table
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "id",
            "name",
            "state",
            "price",
            "doc",
            "plain",
            "twice",
            "hidden",
            "we`ird name",
            "at"
        ]
    );
    assert_eq!(column("id").column_type, "bigint(20) unsigned");
    assert_eq!(column("name").charset.as_deref(), Some("latin1"));
    assert_eq!(
        column("name").collation.as_deref(),
        Some("latin1_german1_ci")
    );
    assert_eq!(column("state").column_type, "enum('a''b','c,d')");
    assert!(!column("state").nullable && column("price").nullable);
    assert!(column("doc").is_json_alias && !column("plain").is_json_alias);
    assert!(
        found.rows_estimated > 500 && found.row_bytes_average > 0,
        "{found:?}"
    );
    assert_eq!(found.engine, "InnoDB");
}

#[tokio::test]
async fn keys_follow_the_index_not_the_columns() {
    let server = MariaDb::shared().await;
    server
        .run(&[
            "CREATE DATABASE disco3",
            "CREATE TABLE disco3.composite (a INT, b INT, c INT, PRIMARY KEY (c, a))",
            "CREATE TABLE disco3.unique_only (a INT NULL UNIQUE, b INT NOT NULL, c INT NOT NULL, UNIQUE z (c, b))",
            "CREATE TABLE disco3.none (a INT, UNIQUE (a), KEY (a))",
            "CREATE TABLE disco3.prefix (a VARCHAR(50) NOT NULL, UNIQUE (a(5)))",
        ])
        .await;
    let found = find(&server, r"disco3\..*").await;
    let keys: Vec<_> = found
        .iter()
        .map(|f| (f.table.name.as_str(), key_names(f)))
        .collect();
    assert_eq!(keys[0], ("composite", vec!["c", "a"]));
    assert_eq!(keys[1], ("none", vec![]));
    assert_eq!(keys[2], ("prefix", vec![]));
    assert_eq!(keys[3], ("unique_only", vec!["c", "b"]));
}

#[tokio::test]
async fn the_start_position_is_never_beyond_the_end_of_the_log() {
    let server = MariaDb::shared().await;
    server
        .run(&[
            "CREATE DATABASE start1",
            "CREATE TABLE start1.t (id INT PRIMARY KEY)",
        ])
        .await;
    let start = safe_position(&server.lake()).await.unwrap();
    server.run(&["INSERT INTO start1.t VALUES (1)"]).await;
    let end = current_position(&mut server.connect().await).await.unwrap();
    assert!(start < end, "{start} {end}");
    assert!(start.is_same_server(&end));
    assert!(
        start.file.starts_with("binlog.0") && start.pos > 4,
        "{start}"
    );
    assert!(start.gtid.is_some_and(|gtid| gtid.starts_with("0-1-")));
}

#[tokio::test]
async fn a_server_without_binlog_has_no_position() {
    let server = MariaDb::start_without_binlog().await;
    let error = safe_position(&server.lake()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("log_bin"), "{error}");
}
