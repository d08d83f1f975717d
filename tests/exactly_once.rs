//! Nothing committed is lost or doubled, wherever the daemon is killed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::round_trip::assert_shop_is_equal;
use crate::support::{
    Daemon, Database, Kinds, Pipeline, Shop, completion_times, lake_rows, pause, query_rows,
    run_until_current, source_rows,
};

const ALL_TABLES: &str = r"shop\.(orders|lines|stock|accounts)";

fn survives_kills(table_type: &str, seed: u64) {
    let database = Database::mariadb();
    let shop = Shop::open(&database, 30_000);
    let pipeline = Pipeline::new(&database, table_type, ALL_TABLES);
    let writer = shop.writer(seed, Kinds::All);
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..20 {
        let daemon = Daemon::start(&pipeline);
        pause(Duration::from_millis(random.random_range(60..1600)));
        daemon.kill();
    }
    writer.stop();
    run_until_current(&pipeline);
    assert_shop_is_equal(&database, &pipeline);
}

#[test]
fn twenty_kills_lose_and_double_nothing_in_copy_on_write_tables() {
    survives_kills("cow", 20_261_123);
}

#[test]
fn twenty_kills_lose_and_double_nothing_in_merge_on_read_tables() {
    survives_kills("mor", 20_261_124);
}

#[test]
fn a_killed_snapshot_reads_finished_chunks_no_second_time() {
    let database = Database::mariadb();
    Shop::open(&database, 60_000);
    let pipeline = Pipeline::new(&database, "cow", r"shop\.orders");
    let orders = pipeline.table("shop.orders");
    let mut daemon = Daemon::start(&pipeline);
    daemon.wait_until("a first snapshot commit", || {
        orders.join(".hoodie/timeline").exists() && !completion_times(&orders).is_empty()
    });
    daemon.kill();
    let before = query_rows(&orders, "SELECT count(*) AS n FROM t")[0]["n"]
        .as_i64()
        .unwrap();
    let first = completion_times(&orders);
    run_until_current(&pipeline);
    let later = first.last().unwrap();
    let sql = "SELECT count(*) AS n FROM t WHERE _hoodie_commit_time <= '";
    let kept = query_rows(&orders, &format!("{sql}{later}'"))[0]["n"]
        .as_i64()
        .unwrap();
    assert_eq!(
        kept, before,
        "rows committed before the kill were written again"
    );
    assert_eq!(
        source_rows(&database, "shop.orders"),
        lake_rows(&database, "shop.orders", &orders)
    );
}

#[test]
fn sigterm_commits_what_was_read_and_exits_with_success() {
    let database = Database::mariadb();
    let shop = Shop::open(&database, 2000);
    let pipeline =
        Pipeline::new(&database, "mor", ALL_TABLES).with("sink", "commit.interval", "1h");
    run_until_current(&pipeline);
    let stock = pipeline.table("shop.stock");
    let commits = completion_times(&stock).len();
    let mut daemon = Daemon::start(&pipeline);
    database.sql("UPDATE shop.stock SET quantity = 7");
    daemon.wait_until("the stream", || shop.is_followed());
    pause(Duration::from_secs(2));
    daemon.stop();
    assert_eq!(
        completion_times(&stock).len(),
        commits + 1,
        "the batch was not committed once"
    );
    assert_shop_is_equal(&database, &pipeline);
}

#[test]
fn running_again_without_changes_commits_nothing() {
    let database = Database::mariadb();
    Shop::open(&database, 500);
    let pipeline = Pipeline::new(&database, "cow", ALL_TABLES);
    run_until_current(&pipeline);
    let commits = || Shop::TABLES.map(|table| completion_times(&pipeline.table(table)).len());
    let before = commits();
    run_until_current(&pipeline);
    assert_eq!(commits(), before);
    assert_shop_is_equal(&database, &pipeline);
}
