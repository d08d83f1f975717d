//! What is in the source is in the lake, row for row, whatever writers did before, during and after the snapshot.

use std::time::Duration;

use crate::support::{
    Daemon, Database, Kinds, Pipeline, Shop, Writer, assert_same_rows, lake_rows, pause,
    query_rows, run_until_current, source_rows,
};

const ALL_TABLES: &str = r"shop\.(orders|lines|stock|accounts)";

/// Every table of the shop is the same on both sides.
pub(crate) fn assert_shop_is_equal(database: &Database, pipeline: &Pipeline) {
    for table in Shop::TABLES {
        let source = source_rows(database, table);
        let lake = lake_rows(database, table, &pipeline.table(table));
        assert_same_rows(table, &source, &lake);
    }
}

fn survives_live_writers(table_type: &str) {
    let database = Database::mariadb();
    let shop = Shop::open(&database, 20_000);
    let pipeline = Pipeline::new(&database, table_type, ALL_TABLES);
    let writers = [shop.writer(1, Kinds::All), shop.writer(2, Kinds::All)];
    let mut daemon = Daemon::start(&pipeline);
    daemon.wait_until("the first commit of orders", || {
        pipeline
            .table("shop.orders")
            .join(".hoodie/hoodie.properties")
            .exists()
    });
    pause(Duration::from_secs(6));
    let changes: u64 = writers.map(Writer::stop).iter().sum();
    assert!(changes > 1000, "the writers made {changes} changes only");
    daemon.stop();
    run_until_current(&pipeline);
    assert_shop_is_equal(&database, &pipeline);
}

#[test]
fn copy_on_write_equals_the_source_under_live_writers() {
    survives_live_writers("cow");
}

#[test]
fn merge_on_read_equals_the_source_under_live_writers() {
    survives_live_writers("mor");
}

#[test]
fn a_running_daemon_brings_changes_without_being_stopped() {
    let database = Database::mariadb();
    Shop::open(&database, 500);
    let pipeline = Pipeline::new(&database, "mor", ALL_TABLES);
    let mut daemon = Daemon::start(&pipeline);
    let orders = pipeline.table("shop.orders");
    daemon.wait_until("the snapshot", || {
        orders.join(".hoodie/hoodie.properties").exists()
            && query_rows(&orders, "SELECT count(*) AS n FROM t")[0]["n"] == 500
    });
    database.sql(
        "DELETE FROM shop.orders WHERE id <= 100; UPDATE shop.orders SET id = 9000 WHERE id = 500;",
    );
    daemon.wait_until("the changes", || {
        let row = &query_rows(&orders, "SELECT count(*) AS n, max(id) AS top FROM t")[0];
        row["n"] == 400 && row["top"] == 9000
    });
    daemon.stop();
    assert_shop_is_equal(&database, &pipeline);
}

#[test]
fn a_second_run_goes_on_where_the_first_stopped() {
    let database = Database::mariadb();
    let shop = Shop::open(&database, 3000);
    let pipeline = Pipeline::new(&database, "cow", ALL_TABLES);
    run_until_current(&pipeline);
    assert_shop_is_equal(&database, &pipeline);
    for round in 0..3 {
        let writer = shop.writer(round, Kinds::All);
        pause(Duration::from_millis(700));
        writer.stop();
        run_until_current(&pipeline);
        assert_shop_is_equal(&database, &pipeline);
    }
}

#[test]
fn a_source_transaction_becomes_visible_as_a_whole() {
    let database = Database::mariadb();
    let shop = Shop::open(&database, 200);
    let pipeline = Pipeline::new(&database, "mor", r"shop\.accounts");
    run_until_current(&pipeline);
    let writer = shop.writer(7, Kinds::Upserts);
    let mut daemon = Daemon::start(&pipeline);
    let accounts = pipeline.table("shop.accounts");
    for _ in 0..10 {
        let row = &query_rows(
            &accounts,
            "SELECT count(*) AS n, sum(balance) AS total FROM t",
        )[0];
        assert_eq!(row["n"], Shop::ACCOUNTS);
        assert_eq!(
            row["total"],
            Shop::ACCOUNTS * Shop::BALANCE,
            "half a transfer is visible"
        );
        pause(Duration::from_millis(200));
    }
    writer.stop();
    daemon.wait_until("the last transfers", || {
        source_rows(&database, "shop.accounts") == lake_rows(&database, "shop.accounts", &accounts)
    });
    daemon.stop();
}

#[test]
fn partitioned_tables_move_rows_between_partitions() {
    let database = Database::mariadb();
    let shop = Shop::open(&database, 2000);
    for table_type in ["cow", "mor"] {
        let pipeline = Pipeline::new(&database, table_type, r"shop\.orders").with_blocks(
            "transform:\n  - source-table: shop\\.orders\n    partition-keys: status\n",
        );
        run_until_current(&pipeline);
        let writer = shop.writer(3, Kinds::All);
        pause(Duration::from_secs(1));
        writer.stop();
        run_until_current(&pipeline);
        let lake = pipeline.table("shop.orders");
        let partitions = query_rows(&lake, "SELECT DISTINCT status FROM t");
        assert!(partitions.len() >= 3, "rows are in {partitions:?} only");
        let source = source_rows(&database, "shop.orders");
        assert_same_rows(
            table_type,
            &source,
            &lake_rows(&database, "shop.orders", &lake),
        );
    }
}

#[test]
fn a_restarted_server_is_followed_on() {
    let mut database = Database::mariadb();
    Shop::open(&database, 1000);
    let pipeline = Pipeline::new(&database, "mor", ALL_TABLES);
    run_until_current(&pipeline);
    database.sql("UPDATE shop.orders SET status = 'before' WHERE id < 50");
    database.restart();
    database.sql(
        "UPDATE shop.orders SET status = 'after' WHERE id BETWEEN 40 AND 90; FLUSH BINARY LOGS;
                  DELETE FROM shop.stock WHERE sku = 'S1'",
    );
    run_until_current(&pipeline);
    assert_shop_is_equal(&database, &pipeline);
}
