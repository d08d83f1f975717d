//! Incremental windows, replayed in their order, give the table.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::support::{
    Daemon, Database, Kinds, Pipeline, Rows, Shop, assert_same_rows, completion_times, pause,
    query, rows_of_reader, run_until_current, source_rows,
};

/// Replays every window between two neighbouring commits; the key is the `id`.
fn replay(table: &Path) -> BTreeMap<i64, String> {
    let mut rows = BTreeMap::new();
    let mut since = "0".repeat(17);
    for until in completion_times(table) {
        let window = query(table, &["--since", &since, "--until", &until]);
        for line in window {
            let row: Map<String, Value> = serde_json::from_str(&line).unwrap();
            rows.insert(row["id"].as_i64().unwrap(), line);
        }
        since = until;
    }
    rows
}

fn changed_shop(database: &Database, table_type: &str, kinds: Kinds) -> Pipeline {
    let shop = Shop::open(database, 3000);
    // The windows need the files of all commits.
    let pipeline = Pipeline::new(database, table_type, r"shop\.(orders|accounts)")
        .with("sink", "hoodie.clean.automatic", "false")
        .with("sink", "hoodie.archive.automatic", "false");
    run_until_current(&pipeline);
    let writer = shop.writer(11, kinds);
    let daemon = Daemon::start(&pipeline);
    pause(Duration::from_secs(4));
    writer.stop();
    daemon.stop();
    run_until_current(&pipeline);
    pipeline
}

fn windows_give_the_table(table_type: &str) {
    let database = Database::mariadb();
    let pipeline = changed_shop(&database, table_type, Kinds::Upserts);
    for table in ["shop.orders", "shop.accounts"] {
        let lake = pipeline.table(table);
        assert!(
            completion_times(&lake).len() > 3,
            "{table} has too few commits to replay"
        );
        let replayed: Vec<String> = replay(&lake).into_values().collect();
        let replayed: Rows = rows_of_reader(&database, table, &replayed);
        assert_same_rows(table, &source_rows(&database, table), &replayed);
    }
}

#[test]
fn windows_of_a_copy_on_write_table_give_the_table() {
    windows_give_the_table("cow");
}

#[test]
fn windows_of_a_merge_on_read_table_give_the_table() {
    windows_give_the_table("mor");
}

#[test]
fn rows_deleted_since_are_the_only_ones_that_a_replay_has_too_many() {
    let database = Database::mariadb();
    let pipeline = changed_shop(&database, "mor", Kinds::All);
    let replayed = replay(&pipeline.table("shop.orders"));
    let present: Vec<i64> = database
        .sql("SELECT id FROM shop.orders")
        .lines()
        .map(|id| id.parse().unwrap())
        .collect();
    let kept: Vec<String> = present
        .iter()
        .map(|id| {
            replayed
                .get(id)
                .unwrap_or_else(|| panic!("no window shows order {id}"))
                .clone()
        })
        .collect();
    let kept = rows_of_reader(&database, "shop.orders", &kept);
    assert_same_rows("orders", &source_rows(&database, "shop.orders"), &kept);
}

#[test]
fn a_window_after_the_last_commit_is_empty() {
    let database = Database::mariadb();
    Shop::open(&database, 100);
    let pipeline = Pipeline::new(&database, "cow", r"shop\.stock");
    run_until_current(&pipeline);
    let lake = pipeline.table("shop.stock");
    let last = completion_times(&lake).pop().unwrap();
    assert_eq!(query(&lake, &["--since", &last]), Vec::<String>::new());
    database.sql("UPDATE shop.stock SET quantity = 1 WHERE sku IN ('S3', 'S4')");
    run_until_current(&pipeline);
    assert_eq!(query(&lake, &["--since", &last]).len(), 2);
}
