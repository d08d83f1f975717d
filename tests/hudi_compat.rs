//! The tables that Lakebed writes are Apache Hudi's: Hudi itself on Spark, hudi-rs and DuckDB read the same rows and find no fault.

use std::time::Duration;

use serde_json::json;

use crate::round_trip::assert_shop_is_equal;
use crate::support::{
    Database, Flavour, Kinds, Pipeline, Shop, Spark, assert_same_rows, completion_times,
    duckdb_rows, hudi_rs_rows, lake_rows, pause, query, query_rows, rows_of_reader,
    run_until_current, source_rows,
};

const ALL_TABLES: &str = r"shop\.(orders|lines|stock|accounts)";

/// A lake of the shop after a snapshot and three rounds of changes.
fn changed_shop(database: &Database, table_type: &str, blocks: &str) -> Pipeline {
    let shop = Shop::open(database, 4000);
    let pipeline = Pipeline::new(database, table_type, ALL_TABLES).with_blocks(blocks);
    run_until_current(&pipeline);
    for round in 0..3 {
        let writer = shop.writer(round, Kinds::All);
        pause(Duration::from_millis(600));
        writer.stop();
        run_until_current(&pipeline);
    }
    assert_shop_is_equal(database, &pipeline);
    pipeline
}

const PARTITIONED: &str =
    "transform:\n  - source-table: shop\\.orders\n    partition-keys: status\n";

#[test]
fn hudi_rs_and_duckdb_read_the_same_rows_of_copy_on_write_tables() {
    let database = Database::mariadb();
    for blocks in ["", PARTITIONED] {
        let database_rows = |table| source_rows(&database, table);
        if !blocks.is_empty() {
            database.sql("DROP TABLE shop.orders, shop.`lines`, shop.stock, shop.accounts");
        }
        let pipeline = changed_shop(&database, "cow", blocks);
        for table in Shop::TABLES {
            let lake = pipeline.table(table);
            let theirs = rows_of_reader(&database, table, &hudi_rs_rows(&lake));
            assert_same_rows(
                &format!("{table} by hudi-rs"),
                &database_rows(table),
                &theirs,
            );
            let theirs = rows_of_reader(&database, table, &duckdb_rows(&lake));
            assert_same_rows(
                &format!("{table} by DuckDB"),
                &database_rows(table),
                &theirs,
            );
        }
    }
}

#[test]
fn hudi_rs_reads_the_same_rows_of_merge_on_read_tables() {
    let database = Database::mariadb();
    let pipeline = changed_shop(&database, "mor", "");
    for table in Shop::TABLES {
        let theirs = rows_of_reader(&database, table, &hudi_rs_rows(&pipeline.table(table)));
        assert_same_rows(table, &source_rows(&database, table), &theirs);
    }
}

fn spark_accepts(table_type: &str, blocks: &str) {
    let database = Database::mariadb();
    let pipeline = changed_shop(&database, table_type, blocks);
    let mut spark = Spark::shared();
    for table in Shop::TABLES {
        let lake = pipeline.table(table);
        spark.judge(&lake, table == "shop.orders");
        let info = spark.info(&lake);
        assert_eq!(info["version"], 9);
        assert_eq!(info["properties"]["hoodie.table.timeline.timezone"], "UTC");
        let theirs = rows_of_reader(&database, table, &spark.snapshot(&lake));
        assert_same_rows(table, &source_rows(&database, table), &theirs);
        let times = completion_times(&lake);
        for window in times.windows(2) {
            let theirs = spark.incremental(&lake, &window[0], &window[1]);
            let ours = query(&lake, &["--since", &window[0], "--until", &window[1]]);
            let ours = rows_of_reader(&database, table, &ours);
            let theirs = rows_of_reader(&database, table, &theirs);
            assert_same_rows(
                &format!("{table} {window:?}: ours, Spark's"),
                &ours,
                &theirs,
            );
        }
    }
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn spark_finds_no_fault_in_copy_on_write_tables() {
    spark_accepts("cow", "");
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn spark_finds_no_fault_in_merge_on_read_tables() {
    spark_accepts("mor", "");
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn spark_finds_no_fault_in_partitioned_tables() {
    spark_accepts("cow", PARTITIONED);
    spark_accepts("mor", PARTITIONED);
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn spark_reads_every_type_as_the_source_has_it() {
    let database = Database::mariadb();
    database.sql(include_str!("sql/types_mariadb.sql"));
    for table_type in ["cow", "mor"] {
        let pipeline = Pipeline::new(&database, table_type, r"shop\.types");
        run_until_current(&pipeline);
        database.sql("SET sql_mode = ''; UPDATE shop.types SET inv = 5 WHERE id IN (1, 3)");
        run_until_current(&pipeline);
        let lake = pipeline.table("shop.types");
        let mut spark = Spark::shared();
        spark.judge(&lake, false);
        let theirs = rows_of_reader(&database, "shop.types", &spark.snapshot(&lake));
        assert_same_rows(table_type, &source_rows(&database, "shop.types"), &theirs);
    }
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn spark_upserts_into_our_table_and_we_go_on() {
    let database = Database::mariadb();
    Shop::open(&database, 1500);
    let pipeline = Pipeline::new(&database, "cow", r"shop\.stock");
    run_until_current(&pipeline);
    let lake = pipeline.table("shop.stock");
    let rows = json!([
        {"sku": "S7", "quantity": -7, "changed": "2026-05-05T05:05:05.500000Z"},
        {"sku": "from spark", "quantity": 1, "changed": null}
    ]);
    let schema = "sku string, quantity int, changed timestamp";
    Spark::shared().upsert(&lake, schema, &rows);
    let by_spark = "SELECT count(*) AS n FROM t WHERE quantity = -7 OR sku = 'from spark'";
    assert_eq!(query_rows(&lake, by_spark)[0]["n"], 2);

    // The same changes at the source: afterwards both sides are equal again.
    database.sql(
        "UPDATE shop.stock SET quantity = quantity + 1 WHERE sku IN ('S7', 'S8');
         INSERT INTO shop.stock VALUES ('from spark', 5, NULL)",
    );
    run_until_current(&pipeline);
    let source = source_rows(&database, "shop.stock");
    assert_same_rows(
        "shop.stock",
        &source,
        &lake_rows(&database, "shop.stock", &lake),
    );
    let mut spark = Spark::shared();
    spark.judge(&lake, false);
    let theirs = rows_of_reader(&database, "shop.stock", &spark.snapshot(&lake));
    assert_same_rows("shop.stock by Spark", &source, &theirs);
}

fn follows(flavour: Flavour, table_type: &str) {
    let database = Database::start(flavour, &[]);
    let shop = Shop::open(&database, 5000);
    let pipeline = Pipeline::new(&database, table_type, ALL_TABLES);
    let writer = shop.writer(5, Kinds::All);
    run_until_current(&pipeline);
    pause(Duration::from_secs(2));
    writer.stop();
    run_until_current(&pipeline);
    assert_shop_is_equal(&database, &pipeline);
}

#[test]
#[ignore = "needs MySQL 8.0: make test-interop"]
fn mysql_8_0_comes_through_under_live_writers() {
    follows(Flavour::MySql80, "mor");
}

#[test]
#[ignore = "needs MariaDB 11.4: make test-interop"]
fn mariadb_11_4_comes_through_under_live_writers() {
    follows(Flavour::MariaDb114, "mor");
}

#[test]
#[ignore = "needs MySQL 5.7: make test-interop"]
fn mysql_5_7_comes_through_under_live_writers() {
    follows(Flavour::MySql57, "cow");
}
