//! Where reading begins and goes on: start modes, a purged log, tables loaded anew.

use std::time::Duration;

use rstest::rstest;

use crate::support::{
    Daemon, Database, Pipeline, assert_same_rows, lake_rows, lakebed, query_rows,
    run_until_current, source_rows, wait_until,
};

const TABLE: &str = "shop.t";

/// A table whose rows 2 and 3 were written after `before`, and row 3 at `time` or later.
struct History {
    database: Database,
    file: String,
    pos: String,
    gtid: String,
    time: String,
}

impl History {
    fn write() -> Self {
        let database = Database::mariadb();
        database.sql(
            "CREATE TABLE shop.t (id INT PRIMARY KEY, a VARCHAR(9)); INSERT INTO shop.t VALUES (1, 'one');
             ALTER TABLE shop.t ADD b INT; FLUSH BINARY LOGS;
             INSERT INTO shop.t VALUES (10, 'ten', 1); DELETE FROM shop.t WHERE id = 10;",
        );
        let status = database.sql("SHOW MASTER STATUS");
        let mut words = status.split_whitespace();
        let (file, pos) = (
            words.next().unwrap().to_owned(),
            words.next().unwrap().to_owned(),
        );
        let gtid = database.sql("SELECT @@gtid_binlog_pos").trim().to_owned();
        database.sql("INSERT INTO shop.t VALUES (2, 'two', 2)");
        crate::support::pause(Duration::from_millis(2100));
        let time = database.sql("SELECT DATE_FORMAT(UTC_TIMESTAMP(), '%Y-%m-%dT%H:%i:%sZ')");
        database.sql("FLUSH BINARY LOGS; INSERT INTO shop.t VALUES (3, 'three', 3)");
        Self {
            database,
            file,
            pos,
            gtid,
            time: time.trim().to_owned(),
        }
    }
}

fn ids(pipeline: &Pipeline) -> Vec<i64> {
    let rows = query_rows(&pipeline.table(TABLE), "SELECT id FROM t ORDER BY id");
    rows.iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

#[rstest]
#[case::initial("initial", &[1, 2, 3])]
#[case::latest("latest-offset", &[])]
#[case::specific("specific-offset", &[2, 3])]
#[case::gtid("gtid", &[2, 3])]
#[case::timestamp("timestamp", &[3])]
fn reading_begins_where_the_mode_says(#[case] mode: &str, #[case] expected: &[i64]) {
    let history = History::write();
    let offset = "scan.startup.specific-offset";
    let pipeline = Pipeline::new(&history.database, "cow", r"shop\.t").with(
        "source",
        "scan.startup.mode",
        mode,
    );
    let pipeline = match mode {
        "specific-offset" => pipeline
            .with("source", "scan.startup.specific-offset.file", &history.file)
            .with("source", "scan.startup.specific-offset.pos", &history.pos),
        "gtid" => pipeline.with(
            "source",
            "scan.startup.specific-offset.gtid-set",
            &history.gtid,
        ),
        "timestamp" => pipeline.with("source", "scan.startup.timestamp", &history.time),
        _ => pipeline,
    };
    run_until_current(&pipeline);
    assert_eq!(ids(&pipeline), expected, "{mode}, {offset}");
    history
        .database
        .sql("INSERT INTO shop.t VALUES (4, 'four', 4)");
    run_until_current(&pipeline);
    assert_eq!(ids(&pipeline), [expected, &[4]].concat());
}

#[test]
fn a_start_that_cannot_be_is_refused() {
    let history = History::write();
    let pipeline = || Pipeline::new(&history.database, "cow", r"shop\.t");
    let refused = |pipeline: Pipeline, word: &str| {
        let file = pipeline.file();
        let outcome = lakebed(&["run", file.to_str().unwrap(), "--until-current"]).expect_code(78);
        assert!(
            outcome.stderr.contains(word),
            "no `{word}` in {}",
            outcome.stderr
        );
    };
    let mode = |mode: &str| pipeline().with("source", "scan.startup.mode", mode);
    refused(mode("specific-offset"), "scan.startup.specific-offset.file");
    refused(mode("timestamp"), "scan.startup.timestamp");
    let at = |file: &str| {
        mode("specific-offset")
            .with("source", "scan.startup.specific-offset.file", file)
            .with("source", "scan.startup.specific-offset.pos", "99999999")
    };
    refused(at("binlog.009999"), "binlog.000001 to");
    refused(at(&history.file), "ends at");
    let early = mode("timestamp").with("source", "scan.startup.timestamp", "2001-01-01T00:00:00Z");
    refused(early, "earliest-offset");
}

fn hidden_changes(database: &Database) {
    database.sql(
        "SET sql_log_bin = 0; UPDATE shop.t SET a = 7 WHERE id <= 20; DELETE FROM shop.t WHERE id > 2990;
         INSERT INTO shop.t VALUES (5000, 5)",
    );
}

fn table_of(rows: u32) -> Database {
    let database = Database::mariadb();
    database.sql(&format!(
        "CREATE TABLE shop.t (id INT PRIMARY KEY, a INT); INSERT INTO shop.t SELECT seq, seq FROM shop.seq_1_to_{rows};"
    ));
    database
}

fn assert_same(database: &Database, pipeline: &Pipeline) {
    let (source, lake) = (
        source_rows(database, TABLE),
        lake_rows(database, TABLE, &pipeline.table(TABLE)),
    );
    assert_same_rows(TABLE, &source, &lake);
}

#[test]
fn a_table_is_loaded_anew_on_request() {
    let database = table_of(3000);
    let pipeline = Pipeline::new(&database, "mor", r"shop\.t");
    run_until_current(&pipeline);
    hidden_changes(&database);
    database.sql("UPDATE shop.t SET a = 8 WHERE id = 50");
    let file = pipeline.file();
    let file = file.to_str().unwrap();
    lakebed(&["resnapshot", file, "shop.nothing"]).expect_code(78);
    lakebed(&["resnapshot", file, TABLE, "--where", "id <= 20"]).success();
    run_until_current(&pipeline);
    let count = |condition: &str| {
        let sql = format!("SELECT count(*) AS n FROM t WHERE {condition}");
        query_rows(&pipeline.table(TABLE), &sql)[0]["n"].clone()
    };
    assert_eq!(
        (
            count("a = 7 AND id <= 20"),
            count("id > 2990"),
            count("a = 8")
        ),
        (20.into(), 10.into(), 1.into())
    );
    let mut daemon = Daemon::start(&pipeline);
    daemon.wait_until_said("following the binary log");
    lakebed(&["resnapshot", file, TABLE]).success();
    daemon.wait_until("the new rows", || count("id > 2990") == 1);
    database.sql("INSERT INTO shop.t VALUES (6000, 6)");
    daemon.wait_until("a change behind them", || count("id = 6000") == 1);
    daemon.stop();
    run_until_current(&pipeline);
    assert_same(&database, &pipeline);
}

#[test]
fn a_purged_log_is_made_up_for_if_wanted() {
    let database = table_of(1000);
    let pipeline = Pipeline::new(&database, "cow", r"shop\.t").with(
        "source",
        "scan.position-lost",
        "snapshot",
    );
    run_until_current(&pipeline);
    database.sql("DELETE FROM shop.t WHERE id < 500; UPDATE shop.t SET a = 3; FLUSH BINARY LOGS; FLUSH BINARY LOGS");
    wait_until("the purge", Duration::from_secs(60), || {
        database.sql("PURGE BINARY LOGS TO 'binlog.000003'");
        database
            .sql("SHOW BINARY LOGS")
            .starts_with("binlog.000003")
    });
    let outcome = run_until_current(&pipeline);
    assert!(
        outcome.stderr.contains("loading the table anew"),
        "{}",
        outcome.stderr
    );
    assert_same(&database, &pipeline);
}

#[test]
fn a_table_without_a_key_is_followed_by_its_whole_rows_if_wanted() {
    let database = Database::mariadb();
    database.sql(
        "CREATE TABLE shop.log (at DATETIME(3), kind INT, text VARCHAR(20), INDEX (kind));
         INSERT INTO shop.log SELECT '2026-01-01' + INTERVAL seq SECOND, IF(seq % 9, seq DIV 7, NULL), IF(seq % 5, 'x', NULL)
           FROM shop.seq_1_to_3000;",
    );
    let pipeline = Pipeline::new(&database, "mor", r"shop\.log");
    let file = pipeline.file();
    let refused = lakebed(&["check", file.to_str().unwrap()]).expect_code(78);
    assert!(refused.stderr.contains("primary key"), "{}", refused.stderr);
    let pipeline = pipeline
        .with(
            "source",
            "scan.incremental.snapshot.chunk.key-column",
            r"shop\.log:kind",
        )
        .with_blocks("transform:\n  - source-table: shop\\.log\n    primary-keys: \"*\"\n");
    run_until_current(&pipeline);
    let assert_same = || {
        let (source, lake) = (
            source_rows(&database, "shop.log"),
            lake_rows(&database, "shop.log", &pipeline.table("shop.log")),
        );
        assert_same_rows("shop.log", &source, &lake);
    };
    assert_same();
    database.sql(
        "DELETE FROM shop.log WHERE kind < 5; UPDATE shop.log SET text = 'new' WHERE kind IS NULL;
         INSERT INTO shop.log VALUES (NULL, NULL, 'null'), ('2026-02-02', 1, '');",
    );
    run_until_current(&pipeline);
    assert_same();
}
