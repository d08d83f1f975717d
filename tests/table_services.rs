//! Compaction, cleaning and archival beside the stream: they happen, and no row is lost to them.

use std::path::Path;
use std::time::Duration;

use crate::round_trip::assert_shop_is_equal;
use crate::support::{Daemon, Database, Kinds, Pipeline, Shop, pause, run_until_current};

const ALL_TABLES: &str = r"shop\.(orders|lines|stock|accounts)";

fn serviced(database: &Database, table_type: &str) -> Pipeline {
    Pipeline::new(database, table_type, ALL_TABLES)
        .with("sink", "commit.interval", "100ms")
        .with("sink", "hoodie.compact.inline.max.delta.commits", "3")
        .with("sink", "hoodie.clean.commits.retained", "3")
        .with("sink", "hoodie.keep.min.commits", "5")
        .with("sink", "hoodie.keep.max.commits", "8")
}

/// Whether a file of the timeline or its archive ends like this.
fn has(table: &Path, folder: &str, ending: &str) -> bool {
    let Ok(files) = std::fs::read_dir(table.join(".hoodie/timeline").join(folder)) else {
        return false;
    };
    let mut names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.any(|name| name.ends_with(ending) && name.contains('_'))
}

fn services_run_beside_the_stream(table_type: &str) {
    let database = Database::mariadb();
    let shop = Shop::open(&database, 3000);
    let pipeline = serviced(&database, table_type);
    let writer = shop.writer(20_261_126, Kinds::All);
    let mut daemon = Daemon::start(&pipeline);
    let orders = pipeline.table("shop.orders");
    if table_type == "mor" {
        daemon.wait_until("a compaction", || has(&orders, "", ".commit"));
    }
    daemon.wait_until("a clean", || has(&orders, "", ".clean"));
    daemon.wait_until("an archive", || has(&orders, "history", ".parquet"));
    // Services are killed at work, too, and whoever comes next goes on.
    daemon.kill();
    let daemon = Daemon::start(&pipeline);
    pause(Duration::from_secs(2));
    writer.stop();
    daemon.stop();
    run_until_current(&pipeline);
    assert_shop_is_equal(&database, &pipeline);
}

#[test]
fn merge_on_read_tables_are_compacted_cleaned_and_archived_beside_the_stream() {
    services_run_beside_the_stream("mor");
}

#[test]
fn copy_on_write_tables_are_cleaned_and_archived_beside_the_stream() {
    services_run_beside_the_stream("cow");
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn spark_finds_no_fault_in_tables_with_services() {
    use crate::support::{Spark, assert_same_rows, rows_of_reader, source_rows};

    let database = Database::mariadb();
    let shop = Shop::open(&database, 3000);
    let pipeline = serviced(&database, "mor");
    for seed in 0..12 {
        let writer = shop.writer(seed, Kinds::All);
        pause(Duration::from_millis(300));
        writer.stop();
        run_until_current(&pipeline);
    }
    let mut spark = Spark::shared();
    for table in Shop::TABLES {
        let lake = pipeline.table(table);
        spark.judge(&lake, false);
        let theirs = rows_of_reader(&database, table, &spark.snapshot(&lake));
        assert_same_rows(table, &source_rows(&database, table), &theirs);
    }
    assert!(has(&pipeline.table("shop.orders"), "history", ".parquet"));
}
