//! Tables whose changes are appended, as those without a key: every row of the source once, however many are alike.

use std::time::Duration;

use rstest::rstest;

use crate::support::{
    Daemon, Database, Flavour, Pipeline, Spark, lakebed, pause, query, query_rows,
    run_until_current,
};

const TABLE: &str = "shop.log";

/// A table without a key, with many rows that are alike.
fn database(flavour: Flavour) -> Database {
    let database = Database::start(flavour, &[]);
    database.sql(
        "CREATE TABLE shop.log (kind INT NOT NULL, message VARCHAR(30));
         INSERT INTO shop.log VALUES (1, 'a'), (1, 'a'), (2, NULL), (3, 'c');",
    );
    for _ in 0..12 {
        database.sql("INSERT INTO shop.log SELECT * FROM shop.log");
    }
    database
}

fn pipeline(database: &Database, table_type: &str, projection: &str) -> Pipeline {
    let transform = "transform:\n  - {source-table: shop.log, mode: append";
    Pipeline::new(database, table_type, r"shop\.log")
        .with_blocks(&format!("{transform}{projection}}}\n"))
}

/// How many rows there are of each kind, as the source and the lake say.
fn assert_counts_are_equal(database: &Database, pipeline: &Pipeline) {
    let counts = "kind, coalesce(message, '-') AS m, count(*) AS n";
    let grouped = "GROUP BY kind, coalesce(message, '-') ORDER BY kind, m";
    let source = database.sql(&format!("SELECT {counts} FROM shop.log {grouped}"));
    let rows = query_rows(
        &pipeline.table(TABLE),
        &format!("SELECT {counts} FROM t {grouped}"),
    );
    let line = |row: &serde_json::Value| {
        format!(
            "{}\t{}\t{}\n",
            row["kind"],
            row["m"].as_str().unwrap(),
            row["n"]
        )
    };
    assert_eq!(rows.iter().map(line).collect::<String>(), source);
}

#[rstest]
#[case::mariadb(Flavour::MariaDb, "cow")]
#[case::mariadb(Flavour::MariaDb, "mor")]
#[ignore = "needs MySQL 8.0: make test-interop"]
#[case::mysql(Flavour::MySql80, "mor")]
#[ignore = "needs MariaDB 11.4: make test-interop"]
#[case::mariadb_11_4(Flavour::MariaDb114, "cow")]
fn rows_without_a_key_arrive_once_each(#[case] flavour: Flavour, #[case] table_type: &str) {
    let database = database(flavour);
    if flavour == Flavour::MySql80 {
        database.sql("GRANT RELOAD ON *.* TO 'lakebed'@'%'");
    }
    let pipeline = pipeline(&database, table_type, "");
    // Rows come while the table is being read, and the daemon is killed where it may hurt.
    for round in 0..12_u64 {
        let daemon = Daemon::start(&pipeline);
        for step in 0..5 {
            database.sql(&format!(
                "INSERT INTO shop.log VALUES ({round}, 'x'), ({round}, 'x'), ({step}, NULL);
                 START TRANSACTION; INSERT INTO shop.log VALUES (1, 'a'); INSERT INTO shop.log VALUES (1, 'a'), (9, 'z'); COMMIT;
                 START TRANSACTION; INSERT INTO shop.log VALUES (77, 'rolled back'); ROLLBACK;"
            ));
            pause(Duration::from_millis(30 + 20 * round));
        }
        daemon.kill();
    }
    run_until_current(&pipeline);
    assert_counts_are_equal(&database, &pipeline);
    // Every row has a place of its own, in the order of the log.
    let distinct = "SELECT count(*) - count(DISTINCT _row_id) AS n FROM t";
    assert_eq!(query_rows(&pipeline.table(TABLE), distinct)[0]["n"], 0);
    // Loaded anew, it is the same.
    lakebed(&["resnapshot", pipeline.file().to_str().unwrap(), TABLE]).success();
    database.sql("INSERT INTO shop.log VALUES (5, 'late'), (5, 'late')");
    run_until_current(&pipeline);
    assert_counts_are_equal(&database, &pipeline);
    // What happens to rows that are there is not appended as if it were new.
    database.sql("DELETE FROM shop.log WHERE kind = 3");
    let file = pipeline.file();
    let refused = lakebed(&["run", file.to_str().unwrap(), "--until-current"]).expect_code(78);
    let said = &refused.stderr;
    assert!(
        said.contains("shop.log") && said.contains("__op_type__ AS op"),
        "{said}"
    );
}

#[test]
fn what_happens_to_rows_is_appended_if_the_projection_tells() {
    let database = Database::mariadb();
    database.sql("CREATE TABLE shop.log (id INT PRIMARY KEY, v INT); INSERT INTO shop.log VALUES (1, 10), (2, 20)");
    let projection = ", projection: '*, __op_type__ AS op', filter: 'v < 100'";
    let pipeline = pipeline(&database, "mor", projection);
    run_until_current(&pipeline);
    database.sql(
        "UPDATE shop.log SET v = v + 1; DELETE FROM shop.log WHERE id = 1; INSERT INTO shop.log VALUES (3, 30), (4, 400);
         UPDATE shop.log SET v = 500 WHERE id = 2; ALTER TABLE shop.log ADD COLUMN w INT; INSERT INTO shop.log VALUES (5, 50, 5);",
    );
    run_until_current(&pipeline);
    let sql = "SELECT op || id || ':' || v || coalesce('/' || w, '') AS r FROM t ORDER BY _row_id";
    let rows = query_rows(&pipeline.table(TABLE), sql);
    let rows: Vec<_> = rows.iter().map(|row| row["r"].as_str().unwrap()).collect();
    assert_eq!(
        rows,
        [
            "r1:10", "r2:20", "u1:11", "u2:21", "d1:11", "c3:30", "c5:50/5"
        ]
    );
}

/// Each shard is loaded from a view of its own moment; the log is read from before the first.
#[test]
fn shards_without_a_key_arrive_once_each() {
    let database = Database::mariadb();
    database.sql(
        "CREATE TABLE shop.log_1 (kind INT NOT NULL, message VARCHAR(30)); CREATE TABLE shop.log_2 LIKE shop.log_1;
         CREATE TABLE shop.log_3 LIKE shop.log_1;
         INSERT INTO shop.log_1 SELECT seq % 3, 'old' FROM shop.seq_1_to_6000; INSERT INTO shop.log_2 SELECT * FROM shop.log_1;
         INSERT INTO shop.log_3 SELECT * FROM shop.log_1;
         CREATE VIEW shop.log AS SELECT * FROM shop.log_1 UNION ALL SELECT * FROM shop.log_2
           UNION ALL SELECT * FROM shop.log_3;",
    );
    let pipeline = Pipeline::new(&database, "mor", r"shop\.log_\d")
        .with("source", "scan.snapshot.rows-per-second", "3000")
        .with("sink", "commit.rows", "5")
        .with_blocks(
            "route: [{source-table: 'shop\\.log_\\d', sink-table: shop.log}]
transform: [{source-table: 'shop\\.log_\\d', mode: append}]
",
        );
    let daemon = Daemon::start(&pipeline);
    for step in 0..80 {
        database.sql(&format!(
            "INSERT INTO shop.log_1 VALUES ({step}, 'new'); INSERT INTO shop.log_2 VALUES ({step}, 'new'), ({step}, 'new'); INSERT INTO shop.log_3 VALUES ({step}, 'third')"
        ));
        pause(Duration::from_millis(75));
    }
    daemon.stop();
    run_until_current(&pipeline);
    assert_counts_are_equal(&database, &pipeline);
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn spark_reads_appended_rows() {
    let database = database(Flavour::MariaDb);
    let pipeline = pipeline(&database, "mor", "");
    for round in 0..4 {
        database.sql(&format!(
            "INSERT INTO shop.log VALUES ({round}, 's'), ({round}, 's')"
        ));
        run_until_current(&pipeline);
    }
    let table = pipeline.table(TABLE);
    let mut spark = Spark::shared();
    spark.judge(&table, false);
    let mut theirs = spark.snapshot(&table);
    let mut ours = query(&table, &[]);
    theirs.sort_unstable();
    ours.sort_unstable();
    assert_eq!(ours.len(), 4 * 4096 + 8);
    assert!(
        theirs == ours,
        "{} rows by Spark, such as {:?}",
        theirs.len(),
        theirs.first()
    );
}
