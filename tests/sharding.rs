//! Sharded tables merged into one lake table: it holds the union of the shards, whatever moves between them.

use std::time::Duration;

use rstest::rstest;
use serde_json::json;

use crate::support::{
    Daemon, Database, Pipeline, Spark, assert_same_rows, lakebed, pause, query, query_rows,
    rows_of_reader, run_until_current, source_rows,
};

const LAKE_TABLE: &str = "shop.orders";
const ROUTE: &str = r"
route:
  - source-table: shop_\d+\.orders_\d+
    sink-table: shop.orders
";
const SHARDS: &str = r"shop_\d+\.orders_\d+";

/// Three shards in two databases, whose columns differ in order and number, and a view of all their rows. Rows with odd
/// and even ids are spread, so that the key ranges of the shards overlap.
fn database() -> Database {
    let database = Database::mariadb();
    database.sql(
        "CREATE DATABASE shop_1; CREATE DATABASE shop_2;
         CREATE TABLE shop_1.orders_0 (id BIGINT PRIMARY KEY, customer INT NOT NULL, total DECIMAL(10,2), note VARCHAR(40));
         CREATE TABLE shop_1.orders_1 LIKE shop_1.orders_0;
         CREATE TABLE shop_2.orders_2 (id BIGINT PRIMARY KEY, note VARCHAR(40), total DECIMAL(10,2), customer INT NOT NULL,
           channel VARCHAR(9));
         INSERT INTO shop_1.orders_0 SELECT seq * 3, seq % 90, seq / 4, CONCAT('a', seq) FROM shop.seq_1_to_3000;
         INSERT INTO shop_1.orders_1 SELECT seq * 3 + 1, seq % 90, seq / 4, NULL FROM shop.seq_1_to_3000;
         INSERT INTO shop_2.orders_2 SELECT seq * 3 + 2, CONCAT('c', seq), seq / 4, seq % 90, 'web' FROM shop.seq_1_to_3000;",
    );
    union_view(
        &database,
        &["shop_1.orders_0", "shop_1.orders_1"],
        &["shop_2.orders_2"],
    );
    database
}

/// The view `shop.orders`: the rows of all shards, those of `without` with a null in `channel`.
fn union_view(database: &Database, without: &[&str], with: &[&str]) {
    let select = |channel: &str, table: &&str| {
        format!("SELECT id, customer, total, note, {channel} AS channel FROM {table}")
    };
    let without = without
        .iter()
        .map(|table| select("CAST(NULL AS CHAR(9))", table));
    let selects: Vec<_> = without
        .chain(with.iter().map(|table| select("channel", table)))
        .collect();
    database.sql(&format!(
        "CREATE OR REPLACE VIEW shop.orders AS {}",
        selects.join(" UNION ALL ")
    ));
}

fn assert_is_the_union(database: &Database, pipeline: &Pipeline) {
    let lines = query(&pipeline.table(LAKE_TABLE), &[]);
    let lake = rows_of_reader(database, LAKE_TABLE, &lines);
    assert_same_rows(LAKE_TABLE, &source_rows(database, LAKE_TABLE), &lake);
}

/// Rows that move from shard to shard in one source transaction, in both directions, and changes beside them.
fn moves(database: &Database, round: u64) {
    let move_rows = |from: &str, to: &str, rest: u64| {
        format!(
            "START TRANSACTION;
             INSERT INTO {to} (id, customer, total, note) SELECT id, customer, total + 1, 'moved' FROM {from} WHERE id % 97 = {rest};
             DELETE FROM {from} WHERE id % 97 = {rest}; COMMIT;"
        )
    };
    let back = |from: &str, to: &str, rest: u64| {
        format!(
            "START TRANSACTION;
             CREATE TEMPORARY TABLE shop.m SELECT id, customer, total, note FROM {from} WHERE id % 89 = {rest};
             DELETE FROM {from} WHERE id % 89 = {rest};
             INSERT INTO {to} (id, customer, total, note) SELECT * FROM shop.m; DROP TEMPORARY TABLE shop.m; COMMIT;"
        )
    };
    let (a, b) = (round % 97, round % 89);
    database.sql(
        &[
            move_rows("shop_2.orders_2", "shop_1.orders_0", a),
            move_rows("shop_1.orders_0", "shop_1.orders_1", (a + 1) % 97),
            back("shop_1.orders_1", "shop_2.orders_2", b),
            format!(
                "UPDATE shop_1.orders_0 SET total = total + 1 WHERE id % 31 = {}",
                round % 31
            ),
            format!(
                "; UPDATE shop_2.orders_2 SET id = id + 100000000 WHERE id % 601 = {}",
                round % 601
            ),
            format!(
                "; DELETE FROM shop_1.orders_1 WHERE id % 401 = {}",
                round % 401
            ),
            format!(
                "; INSERT INTO shop_1.orders_1 VALUES ({}, 1, 2, 'new')",
                500_000_000 + round
            ),
        ]
        .concat(),
    );
}

#[rstest]
#[case("cow")]
#[case("mor")]
fn shards_are_one_table_while_rows_move_between_them(#[case] table_type: &str) {
    let database = database();
    let pipeline = Pipeline::new(&database, table_type, SHARDS).with_blocks(ROUTE);
    run_until_current(&pipeline);
    assert_is_the_union(&database, &pipeline);
    for round in 0..4 {
        moves(&database, round);
    }
    run_until_current(&pipeline);
    assert_is_the_union(&database, &pipeline);
    let statuses = lakebed(&["status", pipeline.file().to_str().unwrap(), "--json"]).success();
    for shard in ["shop_1.orders_0", "shop_1.orders_1", "shop_2.orders_2"] {
        assert!(
            statuses.contains(&format!("\"table\":\"{shard}\"")),
            "{statuses}"
        );
    }
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn spark_reads_merged_shards() {
    let database = database();
    let pipeline = Pipeline::new(&database, "mor", SHARDS).with_blocks(ROUTE);
    run_until_current(&pipeline);
    for round in 30..33 {
        moves(&database, round);
        run_until_current(&pipeline);
    }
    let lake = pipeline.table(LAKE_TABLE);
    let mut spark = Spark::shared();
    spark.judge(&lake, false);
    let theirs = rows_of_reader(&database, LAKE_TABLE, &spark.snapshot(&lake));
    assert_same_rows("by Spark", &source_rows(&database, LAKE_TABLE), &theirs);
}

#[test]
fn shards_are_one_table_while_the_daemon_is_killed() {
    let database = database();
    let pipeline = Pipeline::new(&database, "mor", SHARDS).with_blocks(ROUTE);
    for round in 0..12 {
        let daemon = Daemon::start(&pipeline);
        for step in 0..3 {
            moves(&database, 10 + round * 3 + step);
            pause(Duration::from_millis(40 + 25 * round));
        }
        daemon.kill();
        moves(&database, 200 + round);
    }
    run_until_current(&pipeline);
    assert_is_the_union(&database, &pipeline);
}

#[test]
fn columns_and_shards_may_come_and_go() {
    let database = database();
    let pipeline = Pipeline::new(&database, "mor", SHARDS).with_blocks(ROUTE);
    run_until_current(&pipeline);
    // A column that one shard loses and another keeps stays; a shard that comes brings its rows, and one that goes leaves them.
    database.sql(
        "ALTER TABLE shop_1.orders_0 DROP COLUMN note;
         INSERT INTO shop_1.orders_0 VALUES (900001, 7, 1.25);
         ALTER TABLE shop_1.orders_1 ADD COLUMN channel VARCHAR(9);
         UPDATE shop_1.orders_1 SET channel = 'phone' WHERE id % 10 = 1;
         CREATE TABLE shop_2.orders_3 LIKE shop_2.orders_2;
         INSERT INTO shop_2.orders_3 (id, customer) VALUES (900002, 8);
         DELETE FROM shop_2.orders_2 WHERE id = 5;
         INSERT INTO shop_2.orders_3 (id, customer, note) VALUES (5, 9, 'moved');",
    );
    run_until_current(&pipeline);
    let lake = pipeline.table(LAKE_TABLE);
    let row = |id: u32| query_rows(&lake, &format!("SELECT * FROM t WHERE id = {id}")).remove(0);
    assert!(row(900_001)["note"].is_null() && row(3)["note"] == "a1");
    assert_eq!(row(31)["channel"], "phone");
    assert_eq!(
        (row(5)["note"].as_str(), row(5)["customer"].as_i64()),
        (Some("moved"), Some(9))
    );
    let count = || {
        query_rows(&lake, "SELECT count(*) AS n FROM t")[0]["n"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(count(), 9002);
    database.sql("DROP TABLE shop_2.orders_3; UPDATE shop_1.orders_0 SET total = 0 WHERE id = 3;");
    run_until_current(&pipeline);
    assert_eq!((count(), row(3)["total"].as_str()), (9002, Some("0.00")));
    // A column that is renamed in one shard stands beside the old one, which others have still.
    database.sql("ALTER TABLE shop_2.orders_2 CHANGE note remark VARCHAR(40); UPDATE shop_2.orders_2 SET remark = 'r' WHERE id = 8;");
    run_until_current(&pipeline);
    let renamed = row(8);
    assert_eq!(
        (&renamed["remark"], &renamed["note"]),
        (&json!("r"), &json!(null)),
        "{renamed}"
    );
    assert_eq!(row(6)["note"], "a2");
    // All of it anew: what only the lake holds goes.
    lakebed(&[
        "resnapshot",
        pipeline.file().to_str().unwrap(),
        "shop_1.orders_0",
    ])
    .success();
    run_until_current(&pipeline);
    assert_eq!(count(), 9000);
    // Emptying one shard cannot be followed; the message says what can be done.
    database.sql("TRUNCATE TABLE shop_1.orders_1");
    let file = pipeline.file();
    let refused = lakebed(&["run", file.to_str().unwrap(), "--until-current"]).expect_code(78);
    let said = &refused.stderr;
    assert!(
        said.contains("shop_1.orders_1") && said.contains("truncate.table"),
        "{said}"
    );
}

#[test]
fn keys_that_repeat_from_shard_to_shard_are_told_apart_by_the_shard() {
    let database = Database::mariadb();
    database.sql(
        "CREATE TABLE shop.t_1 (id INT PRIMARY KEY, v INT); CREATE TABLE shop.t_2 LIKE shop.t_1;
         INSERT INTO shop.t_1 VALUES (1, 10), (2, 20); INSERT INTO shop.t_2 VALUES (1, 100), (3, 300);",
    );
    let route = "route: [{source-table: 'shop\\.t_\\d', sink-table: shop.t}]\n";
    let plain = Pipeline::new(&database, "cow", r"shop\.t_\d").with_blocks(route);
    let file = plain.file();
    let checked = lakebed(&["check", file.to_str().unwrap()])
        .expect_code(0)
        .stderr;
    assert!(
        checked.contains("2 tables are merged") && checked.contains("__table__"),
        "{checked}"
    );
    let transform = "transform: [{source-table: 'shop\\.t_\\d', projection: '*, __table__ AS shard', primary-keys: 'shard, id'}]\n";
    let pipeline =
        Pipeline::new(&database, "cow", r"shop\.t_\d").with_blocks(&[route, transform].concat());
    run_until_current(&pipeline);
    database.sql(
        "UPDATE shop.t_1 SET v = 11 WHERE id = 1; DELETE FROM shop.t_2 WHERE id = 1; UPDATE shop.t_2 SET id = 2 WHERE id = 3;
         ALTER TABLE shop.t_1 ADD COLUMN w INT; UPDATE shop.t_1 SET w = 5 WHERE id = 2;",
    );
    run_until_current(&pipeline);
    let lake = pipeline.table("shop.t");
    let rows = query_rows(
        &lake,
        "SELECT shard || ' ' || id || ' ' || v || ' ' || coalesce(w, 0) AS r FROM t ORDER BY 1",
    );
    let rows: Vec<_> = rows.iter().map(|row| row["r"].as_str().unwrap()).collect();
    assert_eq!(rows, ["t_1 1 11 0", "t_1 2 20 5", "t_2 2 300 0"]);
    // Shards that are keyed differently are refused.
    database.sql("CREATE TABLE shop.t_3 (id INT, part INT, v INT, PRIMARY KEY (id, part))");
    let refused = lakebed(&["run", file.to_str().unwrap(), "--until-current"]).expect_code(78);
    assert!(
        refused.stderr.contains("shop.t_3 by id, part"),
        "{}",
        refused.stderr
    );
}
