//! Nothing committed is lost or doubled, wherever the daemon is killed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::round_trip::assert_shop_is_equal;
use crate::support::{
    Daemon, Database, Flavour, Kinds, Pipeline, Proxy, Shop, assert_same_rows, completion_times,
    lake_rows, pause, query_rows, run_until_current, source_rows,
};

const ALL_TABLES: &str = r"shop\.(orders|lines|stock|accounts)";

fn survives_kills(flavour: Flavour, table_type: &str, seed: u64) {
    let database = Database::start(flavour, &[]);
    let shop = Shop::open(&database, 20_000);
    shop.add_events(300_000);
    let tables = r"shop\.(orders|lines|stock|accounts|events)";
    let pipeline = Pipeline::new(&database, table_type, tables);
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
    let events = lake_rows(&database, "shop.events", &pipeline.table("shop.events"));
    assert_same_rows(
        "shop.events",
        &source_rows(&database, "shop.events"),
        &events,
    );
}

#[test]
fn twenty_kills_lose_and_double_nothing_in_copy_on_write_tables() {
    survives_kills(Flavour::MariaDb, "cow", 20_261_123);
}

#[test]
fn twenty_kills_lose_and_double_nothing_in_merge_on_read_tables() {
    survives_kills(Flavour::MariaDb, "mor", 20_261_124);
}

/// A lake for readers of Hudi before 1.0.
#[test]
fn tables_of_version_6_lose_and_double_nothing() {
    let database = Database::mariadb();
    let shop = Shop::open(&database, 5000);
    let pipeline = Pipeline::new(&database, "mor", ALL_TABLES)
        .with("sink", "hoodie.write.table.version", "6")
        .with("sink", "hoodie.compact.inline.max.delta.commits", "3")
        .with("sink", "hoodie.cleaner.commits.retained", "2")
        .with("sink", "hoodie.keep.min.commits", "4")
        .with("sink", "hoodie.keep.max.commits", "6");
    let writer = shop.writer(66, Kinds::All);
    let mut random = StdRng::seed_from_u64(20_261_128);
    for _ in 0..8 {
        let daemon = Daemon::start(&pipeline);
        pause(Duration::from_millis(random.random_range(300..2000)));
        daemon.kill();
    }
    writer.stop();
    run_until_current(&pipeline);
    assert_shop_is_equal(&database, &pipeline);
    let properties = pipeline
        .table("shop.orders")
        .join(".hoodie/hoodie.properties");
    let properties = std::fs::read_to_string(properties).unwrap();
    assert!(
        properties.contains("hoodie.table.version=6"),
        "{properties}"
    );
}

/// Inside transactions this server writes the position 0 into its events.
#[test]
#[ignore = "needs MariaDB 11.4: make test-interop"]
fn twenty_kills_lose_and_double_nothing_on_mariadb_11_4() {
    survives_kills(Flavour::MariaDb114, "mor", 20_261_125);
}

/// Columns of `shop.orders` that come, change their type, get values and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extra {
    Absent,
    Int,
    BigInt,
}

impl Extra {
    /// The next statement of its life.
    fn step(&mut self, random: &mut StdRng) -> String {
        let (statement, next) = match (*self, random.random_range(0..3)) {
            (Self::Absent, _) => (
                "ALTER TABLE shop.orders ADD COLUMN extra INT NULL AFTER status",
                Self::Int,
            ),
            (Self::Int, 0) => (
                "ALTER TABLE shop.orders MODIFY extra BIGINT NULL",
                Self::BigInt,
            ),
            (Self::BigInt, 0) => ("ALTER TABLE shop.orders DROP COLUMN extra", Self::Absent),
            (now, _) => (
                "UPDATE shop.orders SET extra = coalesce(extra, 0) + id WHERE id % 53 = 7",
                now,
            ),
        };
        *self = next;
        statement.to_owned()
    }
}

/// A log at the source of what happens to its orders, and what the lake appends of it: as many changes on both sides.
const AUDIT: &str = "
    CREATE TABLE shop.audit (op CHAR(1) NOT NULL, id BIGINT NOT NULL);
    CREATE TRIGGER shop.inserted AFTER INSERT ON shop.orders FOR EACH ROW INSERT INTO shop.audit VALUES ('i', NEW.id);
    CREATE TRIGGER shop.updated AFTER UPDATE ON shop.orders FOR EACH ROW INSERT INTO shop.audit VALUES ('u', NEW.id);
    CREATE TRIGGER shop.deleted AFTER DELETE ON shop.orders FOR EACH ROW INSERT INTO shop.audit VALUES ('d', OLD.id);
";

fn assert_change_counts_are_equal(database: &Database, pipeline: &Pipeline) {
    let counts = "op, count(*) AS n, sum(id) AS s";
    let source = database.sql(&format!(
        "SELECT {counts} FROM shop.audit GROUP BY op ORDER BY op"
    ));
    let sql = format!("SELECT {counts} FROM t GROUP BY op ORDER BY op");
    let rows = query_rows(&pipeline.table("shop.audit"), &sql);
    let line = |row: &serde_json::Value| {
        format!(
            "{}\t{}\t{}\n",
            row["op"].as_str().unwrap(),
            row["n"],
            row["s"]
        )
    };
    assert_eq!(rows.iter().map(line).collect::<String>(), source);
}

/// Two hundred kills over a snapshot, the stream, changes of columns, log rotation, compactions, cleaning and archival, with two
/// writers that meet in deadlocks and roll back; two of the kills hit the server.
#[test]
#[ignore = "takes minutes: make test-interop"]
fn two_hundred_kills_lose_and_double_nothing() {
    let mut database = Database::mariadb();
    Shop::open(&database, 20_000).add_events(300_000);
    database.sql(AUDIT);
    let tables = r"shop\.(orders|lines|stock|accounts|events|audit)";
    let mut pipeline = Pipeline::new(&database, "mor", tables)
        .with("pipeline", "schema.change.behavior", "evolve")
        .with("sink", "hoodie.compact.inline.max.delta.commits", "4")
        .with("sink", "hoodie.cleaner.commits.retained", "3")
        .with("sink", "hoodie.keep.min.commits", "6")
        .with("sink", "hoodie.keep.max.commits", "10")
        .with_blocks("transform: [{source-table: shop.audit, mode: append}]\n");
    let mut random = StdRng::seed_from_u64(20_261_127);
    let mut extra = Extra::Absent;
    for part in 0..3_u64 {
        let shop = Shop::at(&database, 20_000);
        let writers = [
            shop.writer(part, Kinds::All),
            shop.writer(100 + part, Kinds::All),
        ];
        for kill in 0..67 {
            let daemon = Daemon::start(&pipeline);
            if random.random_bool(0.3) {
                pause(Duration::from_millis(random.random_range(20..400)));
                database.sql(&extra.step(&mut random));
            }
            pause(Duration::from_millis(random.random_range(60..1200)));
            daemon.kill();
            if random.random_bool(0.1) {
                database.sql(&extra.step(&mut random));
            }
            if kill % 9 == 0 {
                database.sql("FLUSH BINARY LOGS");
            }
        }
        for writer in writers {
            assert!(writer.stop() > 0);
        }
        database.restart();
        pipeline = pipeline.with("source", "port", &database.port.to_string());
    }
    run_until_current(&pipeline);
    assert_shop_is_equal(&database, &pipeline);
    assert_change_counts_are_equal(&database, &pipeline);
    let sums = |row: &serde_json::Value| (row["n"].as_u64(), row["s"].as_u64());
    let sql = "SELECT count(*) AS n, sum(id) AS s FROM t";
    let events = query_rows(&pipeline.table("shop.events"), sql).remove(0);
    assert_eq!(sums(&events), (Some(300_000), Some(300_000 * 300_001 / 2)));
    let balances = query_rows(
        &pipeline.table("shop.accounts"),
        "SELECT sum(balance) AS s FROM t",
    );
    assert_eq!(balances[0]["s"], Shop::BALANCE * Shop::ACCOUNTS);
}

#[test]
fn connections_that_break_lose_and_double_nothing() {
    let database = Database::mariadb();
    let shop = Shop::open(&database, 20_000);
    shop.add_events(200_000);
    let proxy = Proxy::to(database.port, 20_261_127);
    let tables = r"shop\.(orders|lines|stock|accounts|events)";
    let pipeline =
        Pipeline::new(&database, "mor", tables).with("source", "port", &proxy.port.to_string());
    let writer = shop.writer(9, Kinds::All);
    let mut daemon = Daemon::start(&pipeline);
    // The very first connections have to hold: a server that was never reached is taken for a wrong address.
    daemon.wait_until("a first commit", || {
        pipeline
            .table("shop.accounts")
            .join(".hoodie/timeline")
            .exists()
    });
    proxy.cut_every(Duration::from_millis(100)..Duration::from_millis(1500));
    pause(Duration::from_secs(25));
    writer.stop();
    proxy.stop_cutting();
    assert!(proxy.cuts() > 20, "{} cuts", proxy.cuts());
    daemon.stop();
    run_until_current(&pipeline);
    assert_shop_is_equal(&database, &pipeline);
    let events = query_rows(
        &pipeline.table("shop.events"),
        "SELECT count(*) AS n FROM t",
    );
    assert_eq!(events[0]["n"], 200_000);
}

#[test]
fn a_killed_snapshot_reads_finished_chunks_no_second_time() {
    const ROWS: u64 = 1_500_000;
    let database = Database::mariadb();
    Shop::open(&database, 1).add_events(ROWS);
    let pipeline = Pipeline::new(&database, "cow", r"shop\.events")
        .with("sink", "commit.interval", "50ms")
        .with("source", "scan.incremental.snapshot.chunk.size", "10000");
    let events = pipeline.table("shop.events");
    let mut daemon = Daemon::start(&pipeline);
    daemon.wait_until("a first snapshot commit", || {
        events.join(".hoodie/timeline").exists() && !completion_times(&events).is_empty()
    });
    daemon.kill();
    let last = completion_times(&events).pop().unwrap();
    let count = |condition: &str| {
        let sql = format!("SELECT count(*) AS n FROM t WHERE {condition}");
        query_rows(&events, &sql)[0]["n"].as_u64().unwrap()
    };
    let before = count("true");
    assert!(
        before < ROWS,
        "the load was over before the kill: nothing is tested"
    );
    run_until_current(&pipeline);
    // Instants begin after earlier ones have completed: a row with a later one was written again.
    let kept = count(&format!("_hoodie_commit_time <= '{last}'"));
    assert_eq!(
        kept, before,
        "rows committed before the kill were written again"
    );
    assert_eq!(count("true"), ROWS);
    assert_eq!(database.sql("SELECT sum(id) FROM shop.events").trim(), {
        query_rows(&events, "SELECT sum(id) AS s FROM t")[0]["s"].to_string()
    });
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
