//! What operators look at: tables of a server, where a pipeline stands, metrics and probes, logs for machines.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Daemon, Database, Pipeline, lakebed, run_until_current, wait_until};

fn database() -> Database {
    let database = Database::mariadb();
    database.sql(
        "CREATE TABLE shop.orders (id INT PRIMARY KEY, note VARCHAR(20));
         INSERT INTO shop.orders SELECT seq, 'old' FROM shop.seq_1_to_3000;
         CREATE TABLE shop.`order lines` (order_id INT, line INT, PRIMARY KEY (order_id, line));
         CREATE TABLE shop.keyless (a INT);
         CREATE VIEW shop.some AS SELECT 1 AS one;",
    );
    database
}

fn status(pipeline: &Pipeline, code: i32) -> Value {
    let file = pipeline.file();
    let finished = lakebed(&["status", file.to_str().unwrap(), "--json"]).expect_code(code);
    serde_json::from_str(&finished.stdout).unwrap()
}

#[test]
fn a_server_is_discovered_and_its_pipeline_file_runs() {
    let database = database();
    let source = format!("mysql://lakebed:s3cret@127.0.0.1:{}/shop", database.port);
    let table = lakebed(&["discover", "--source", &source, "--format", "table"]).success();
    let line = |name: &str| {
        let found = table.lines().find(|line| line.starts_with(name));
        found
            .unwrap_or_else(|| panic!("{name} in {table}"))
            .to_owned()
    };
    assert!(line("shop.orders").contains("  id") && line("shop.orders").contains("yes"));
    assert!(line("shop.order lines").contains("order_id, line"));
    assert!(line("shop.keyless").contains("no") && line("shop.keyless").contains("key"));
    assert!(line("shop.some").contains("VIEW"));
    let json = lakebed(&["discover", "--source", &source, "--format", "json"]).success();
    let tables: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let orders = tables
        .iter()
        .find(|table| table["table"] == "shop.orders")
        .unwrap();
    assert_eq!(
        (&orders["key"][0], &orders["can_be_followed"]),
        (&Value::from("id"), &Value::from(true))
    );

    let directory = tempfile::TempDir::new().unwrap();
    let lake = directory.path().join("lake");
    let yaml = lakebed(&["discover", "--source", &source, "--tables", r"shop\.orders"]).success();
    assert!(
        !yaml.contains("s3cret") && yaml.contains("${MYSQL_PASSWORD}"),
        "{yaml}"
    );
    let yaml = yaml
        .replace("${MYSQL_PASSWORD}", "s3cret")
        .replace("./lake", lake.to_str().unwrap());
    let file = directory.path().join("shop.yaml");
    std::fs::write(&file, yaml).unwrap();
    lakebed(&["run", file.to_str().unwrap(), "--until-current"]).success();
    assert!(lake.join("shop/orders/.hoodie/hoodie.properties").exists());
    assert!(!lake.join("shop/keyless").exists());
    lakebed(&["discover", "--source", "shop.example.com"]).expect_code(78);
}

#[test]
fn status_tells_where_each_table_stands() {
    let mut database = database();
    let pipeline = Pipeline::new(&database, "mor", r"shop\.orders");
    let table = |status: &Value| status["tables"][0].clone();
    let new = table(&status(&pipeline, 0));
    assert_eq!(
        (&new["table"], &new["phase"]),
        (&"shop.orders".into(), &"new".into())
    );
    run_until_current(&pipeline);
    let current = table(&status(&pipeline, 0));
    assert_eq!(current["phase"], "stream");
    assert_eq!(
        (&current["lag_bytes"], &current["lag_seconds"]),
        (&0.into(), &0.into())
    );
    assert!(
        current["last_commit"].is_string() && current["gtid"].is_string(),
        "{current}"
    );
    database.sql("UPDATE shop.orders SET note = 'new'");
    crate::support::pause(Duration::from_secs(2));
    let behind = table(&status(&pipeline, 0));
    assert!(behind["lag_bytes"].as_u64().unwrap() > 1000, "{behind}");
    let seconds = behind["lag_seconds"].as_i64().unwrap();
    assert!((1..60).contains(&seconds), "{behind}");
    let file = pipeline.file();
    let text = lakebed(&["status", file.to_str().unwrap()]).success();
    assert!(text.contains("shop.orders  stream"), "{text}");
    // Without the source the lake's side is told all the same.
    database.stop();
    let alone = status(&pipeline, 1);
    assert!(alone["source_error"].is_string());
    assert_eq!(table(&alone)["position"], behind["position"]);
}

fn get(port: u16, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// The value of a metric whose line begins so.
fn metric(page: &str, begin: &str) -> f64 {
    let line = page.lines().find(|line| line.starts_with(begin));
    let line = line.unwrap_or_else(|| panic!("{begin} in {page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn the_daemon_answers_scrapers_and_probes() {
    let mut database = database();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let pipeline = Pipeline::new(&database, "mor", r"shop\.orders")
        .with_blocks(&format!("metrics:\n  listen: 127.0.0.1:{port}\n"));
    let mut daemon = Daemon::start(&pipeline);
    let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    daemon.wait_until("the page", listens);
    assert_eq!(get(port, "/livez").0, "HTTP/1.1 200 OK");
    daemon.wait_until("readiness", || get(port, "/readyz").0 == "HTTP/1.1 200 OK");
    let page = || get(port, "/metrics").1;
    let orders = r#"{pipeline="shop",table="shop.orders""#;
    let rows = |phase: &str, operation: &str| {
        format!(r#"lakebed_rows_total{orders},phase="{phase}",operation="{operation}"}}"#)
    };
    daemon.wait_until("the snapshot", || {
        metric(&page(), &rows("snapshot", "read")) == 3000.0
    });
    database.sql(
        "INSERT INTO shop.orders VALUES (4000, 'x'), (4001, 'y'); UPDATE shop.orders SET note = 'z' WHERE id < 11;
         DELETE FROM shop.orders WHERE id = 20; ALTER TABLE shop.orders ADD extra INT",
    );
    daemon.wait_until("the changes", || {
        let page = page();
        metric(&page, &rows("stream", "insert")) == 2.0
            && metric(&page, &rows("stream", "update")) == 10.0
            && metric(&page, &rows("stream", "delete")) == 1.0
            && metric(&page, &format!("lakebed_schema_changes_total{orders}")) == 1.0
            && metric(&page, r#"lakebed_pending_changes_seconds{pipeline="shop"}"#) == 0.0
    });
    let shown = page();
    assert!(
        metric(&shown, &format!("lakebed_commits_total{orders}")) >= 2.0,
        "{shown}"
    );
    assert!(
        metric(
            &shown,
            r#"lakebed_commit_duration_seconds_count{pipeline="shop"}"#
        ) >= 2.0
    );
    assert_eq!(
        metric(&shown, r#"lakebed_source_connected{pipeline="shop"}"#),
        1.0
    );
    assert_eq!(
        metric(
            &shown,
            &format!(r#"lakebed_table_phase{orders},phase="stream"}}"#)
        ),
        1.0
    );
    // Without its source it lives, and is not ready.
    database.stop();
    wait_until("unreadiness", Duration::from_secs(60), || {
        get(port, "/readyz").0.contains("503")
    });
    assert_eq!(get(port, "/livez").0, "HTTP/1.1 200 OK");
    assert_eq!(
        metric(&page(), r#"lakebed_source_connected{pipeline="shop"}"#),
        0.0
    );
    daemon.stop();
}

#[test]
fn log_lines_are_json_if_wanted() {
    let database = database();
    let pipeline = Pipeline::new(&database, "cow", r"shop\.orders");
    let file = pipeline.file();
    let words = [
        "--log-format",
        "json",
        "run",
        file.to_str().unwrap(),
        "--until-current",
    ];
    let finished = lakebed(&words).expect_code(0);
    let lines: Vec<Value> = finished
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let committed = lines
        .iter()
        .find(|line| line["message"] == "committed")
        .unwrap();
    assert_eq!(committed["table"], "shop.orders");
    assert!(
        committed["instant"].is_string() && committed["level"] == "INFO",
        "{committed}"
    );
}
