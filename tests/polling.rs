//! Reading by queries, from a server that writes no log: what is new and what has changed arrives, whenever it was committed.

use std::time::Duration;

use rstest::rstest;

use crate::support::{
    Daemon, Database, Flavour, Pipeline, assert_same_rows, lake_rows, lakebed, pause, query_rows,
    run_until_current, source_rows, wait_until,
};

const TABLE: &str = "shop.orders";

/// A server without a binary log, and a table whose rows bear the time of their last change.
fn database() -> Database {
    database_of(Flavour::MariaDb)
}

fn database_of(flavour: Flavour) -> Database {
    let database = Database::start(flavour, &["--skip-log-bin"]);
    database.sql(
        "CREATE TABLE shop.orders (id BIGINT PRIMARY KEY AUTO_INCREMENT, customer INT NOT NULL, total DECIMAL(10,2), note VARCHAR(40),
           changed TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3), KEY (changed, id));
         INSERT INTO shop.orders (customer, total, note) VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, NULL), (4, 4, 'd'), (5, 5, 'e');",
    );
    for _ in 0..10 {
        database.sql("INSERT INTO shop.orders (customer, total, note) SELECT customer + 1, total * 1.5, note FROM shop.orders");
    }
    database
}

fn pipeline(database: &Database, table_type: &str) -> Pipeline {
    Pipeline::new(database, table_type, r"shop\.orders")
        .with("pipeline", "schema.change.behavior", "evolve")
        .with("source", "scan.mode", "query")
        .with("source", "scan.query.timestamp.column", "changed")
        .with("source", "scan.query.interval", "100ms")
        .with("source", "scan.query.delay", "200ms")
}

fn grant_process(database: &Database) {
    database.sql("GRANT PROCESS ON *.* TO 'lakebed'@'%'");
}

fn assert_is_equal(database: &Database, pipeline: &Pipeline) {
    let lake = lake_rows(database, TABLE, &pipeline.table(TABLE));
    assert_same_rows(TABLE, &source_rows(database, TABLE), &lake);
}

#[rstest]
#[case("cow")]
#[case("mor")]
fn new_and_changed_rows_arrive_without_a_log(#[case] table_type: &str) {
    let database = database();
    let pipeline = pipeline(&database, table_type);
    run_until_current(&pipeline);
    assert_is_equal(&database, &pipeline);
    // More than a chunk that bear one time, and some that differ.
    database.sql(
        "UPDATE shop.orders SET total = total + 1 WHERE id % 2 = 0;
         UPDATE shop.orders SET note = NULL WHERE id < 30;
         INSERT INTO shop.orders (customer, total) SELECT 7, id FROM shop.orders WHERE id <= 300;",
    );
    run_until_current(&pipeline);
    assert_is_equal(&database, &pipeline);
    // Columns that come and go are looked for in each round.
    database.sql(
        "ALTER TABLE shop.orders ADD COLUMN channel VARCHAR(9), DROP COLUMN note;
         UPDATE shop.orders SET channel = 'web' WHERE id % 5 = 0;",
    );
    run_until_current(&pipeline);
    assert_is_equal(&database, &pipeline);
    let status = lakebed(&["status", pipeline.file().to_str().unwrap(), "--json"]).success();
    assert!(status.contains("\"position\":\"changed="), "{status}");
    // A deleted row stays until the table is loaded anew.
    database.sql("DELETE FROM shop.orders WHERE id = 3");
    run_until_current(&pipeline);
    let count = || {
        query_rows(
            &pipeline.table(TABLE),
            "SELECT count(*) AS n FROM t WHERE id = 3",
        )
    };
    assert_eq!(count()[0]["n"], 1);
    lakebed(&["resnapshot", pipeline.file().to_str().unwrap(), TABLE]).success();
    run_until_current(&pipeline);
    assert_is_equal(&database, &pipeline);
}

/// A transaction that sets its rows' times at once, and commits when many a round has passed these.
const LATE: &str = "START TRANSACTION;
    INSERT INTO shop.orders (customer, note) VALUES (1, 'late');
    UPDATE shop.orders SET note = 'late' WHERE id % 100 = 3;
    DO SLEEP(4); COMMIT;";

#[rstest]
#[case::mariadb(Flavour::MariaDb)]
#[ignore = "needs MySQL: make test-interop"]
#[case::mysql_8_0(Flavour::MySql80)]
#[ignore = "needs MySQL: make test-interop"]
#[case::mysql_5_7(Flavour::MySql57)]
fn what_is_committed_late_is_not_passed_over(#[case] flavour: Flavour) {
    let database = database_of(flavour);
    grant_process(&database);
    let pipeline = pipeline(&database, "mor");
    run_until_current(&pipeline);
    let mut daemon = Daemon::start(&pipeline);
    daemon.wait_until("a change to arrive", || {
        database.sql("UPDATE shop.orders SET total = total + 1 WHERE id = 1");
        let sql = "SELECT count(*) AS n FROM t WHERE id = 1 AND total > 1";
        query_rows(&pipeline.table(TABLE), sql)[0]["n"] == 1
    });
    std::thread::scope(|scope| {
        scope.spawn(|| database.sql(LATE));
        for _ in 0..12 {
            pause(Duration::from_millis(400));
            database.sql("INSERT INTO shop.orders (customer, note) VALUES (2, 'soon')");
        }
    });
    wait_until("all rows", Duration::from_secs(60), || {
        lake_rows(&database, TABLE, &pipeline.table(TABLE)) == source_rows(&database, TABLE)
    });
    daemon.stop();
}

#[test]
fn a_killed_daemon_goes_on_where_its_commits_end() {
    let database = database();
    grant_process(&database);
    let pipeline = pipeline(&database, "mor");
    for round in 0..15_u64 {
        let daemon = Daemon::start(&pipeline);
        for step in 0..4 {
            database.sql(&format!(
                "UPDATE shop.orders SET total = total + 1 WHERE id % 41 = {};
                 INSERT INTO shop.orders (customer, total) SELECT {step}, id FROM shop.orders WHERE id <= 50;",
                round * 4 % 41 + step
            ));
            pause(Duration::from_millis(30 + 40 * round));
        }
        daemon.kill();
    }
    run_until_current(&pipeline);
    assert_is_equal(&database, &pipeline);
}

#[test]
fn new_rows_are_found_by_a_number_that_grows() {
    let database = database();
    let pipeline = pipeline(&database, "cow")
        .with("source", "scan.query.timestamp.column", "")
        .with(
            "source",
            "scan.query.incrementing.column",
            "'shop\\.orders:id'",
        )
        .with("source", "scan.startup.mode", "latest-offset");
    run_until_current(&pipeline);
    database.sql(
        "INSERT INTO shop.orders (customer, note) SELECT 1, 'new' FROM shop.orders LIMIT 2500;
         UPDATE shop.orders SET note = 'unseen' WHERE id = 4000;",
    );
    run_until_current(&pipeline);
    let rows = query_rows(
        &pipeline.table(TABLE),
        "SELECT count(*) AS n, min(id) AS low FROM t",
    );
    assert_eq!(rows[0]["n"], 2500);
    assert!(rows[0]["low"].as_u64().unwrap() > 5000, "{rows:?}");
    run_until_current(&pipeline);
    // The order cannot be changed under a position, nor can the mode.
    let other = pipeline.with("source", "scan.query.timestamp.column", "changed");
    let file = other.file();
    let run = || lakebed(&["run", file.to_str().unwrap(), "--until-current"]).expect_code(78);
    let said = run().stderr;
    assert!(
        said.contains("in the order of id") && said.contains("resnapshot"),
        "{said}"
    );
}

#[test]
fn the_check_says_what_queries_cannot_see() {
    let database = database();
    database.sql("CREATE TABLE shop.other (id INT PRIMARY KEY, at DATETIME NULL, v INT); CREATE TABLE shop.bare (id INT PRIMARY KEY)");
    let pipeline = Pipeline::new(&database, "cow", r"shop\.(orders|other|bare)")
        .with("source", "scan.mode", "query")
        .with(
            "source",
            "scan.query.timestamp.column",
            "'shop\\.orders:changed; shop\\.other:at'",
        );
    let file = pipeline.file();
    let said = lakebed(&["check", file.to_str().unwrap()])
        .expect_code(78)
        .stderr;
    for part in [
        "does not see deletes",
        "GRANT PROCESS ON *.* TO",
        "shop.bare has no column by which changes are found",
        "rows whose at is NULL",
        "at is a DATETIME",
        "CREATE INDEX lakebed_order ON `shop`.`other` (`at`, `id`)",
    ] {
        assert!(said.contains(part), "`{part}` in {said}");
    }
    assert!(!said.contains("binary log"), "{said}");
    let wrong = pipeline.with("source", "scan.startup.mode", "earliest-offset");
    let said = lakebed(&["check", wrong.file().to_str().unwrap()])
        .expect_code(78)
        .stderr;
    assert!(said.contains("scan.mode query does not read"), "{said}");
}
