//! The memory ceiling holds: for a table ten times as large, and for one transaction five times as large.

use std::path::Path;

use serde_json::Value;

use crate::support::{
    Database, Flavour, Pipeline, Rows, assert_same_rows, query, query_rows, rows_of_reader,
    run_until_current, source_rows_where,
};

/// What the process may take beyond the ceiling: code, stacks, the allocator's reserves.
const ALLOWANCE_KIB: u64 = 100 * 1024;
/// Bytes of a row's payload; with keys and numbers a row is about as many again.
const PAYLOAD_BYTES: u64 = 1024;

fn ceiling_holds(ceiling_mib: u64, table_type: &str) {
    let rows_of = |times: u64| ceiling_mib * times * 1024 * 1024 / PAYLOAD_BYTES;
    let flags = [
        "--innodb-buffer-pool-size=256M",
        "--innodb-log-file-size=256M",
    ];
    let database = Database::start(Flavour::MariaDb, &flags);
    let payload =
        "CONCAT(SHA2(seq, 512), SHA2(seq + 1, 512), SHA2(seq + 2, 512), SHA2(seq + 3, 512))";
    let fill = |first: u64, last: u64| {
        format!(
            "INSERT INTO shop.big SELECT seq, seq % 1000, CONCAT({payload}, {payload}) FROM shop.seq_{first}_to_{last};"
        )
    };
    let loaded = rows_of(10);
    database.sql("CREATE TABLE shop.big (id BIGINT PRIMARY KEY, v INT, payload VARCHAR(2000) CHARACTER SET ascii)");
    database.sql(&fill(1, loaded));
    let pipeline = Pipeline::new(&database, table_type, r"shop\.big")
        .with("pipeline", "memory", &format!("{ceiling_mib}MiB"))
        .with("source", "scan.incremental.snapshot.chunk.size", "")
        .with("sink", "commit.interval", "");

    let limit_kib = ceiling_mib * 1024 + ALLOWANCE_KIB;
    let measured = |what: &str| {
        let peak = run_until_current(&pipeline).peak_rss_kib;
        assert!(peak > 0, "no memory reading");
        eprintln!(
            "{table_type}, {what}: peak {} MiB at a ceiling of {ceiling_mib} MiB",
            peak / 1024
        );
        assert!(
            peak <= limit_kib,
            "{what}: peak {peak} KiB, allowed {limit_kib} KiB"
        );
    };
    measured("a table of ten times the ceiling");
    assert_same_contents(&database, &pipeline.table("shop.big"));

    // Inserts of four times the ceiling and updates whose two images make up the fifth, in one transaction.
    let (inserted, updated) = (rows_of(4), rows_of(1) / 2);
    database.sql(&format!(
        "START TRANSACTION; {} UPDATE shop.big SET v = v + 1, payload = REVERSE(payload) WHERE id <= {updated}; COMMIT;",
        fill(loaded + 1, loaded + inserted)
    ));
    measured("one transaction of five times the ceiling");
    assert_same_contents(&database, &pipeline.table("shop.big"));
}

/// Counts and sums of everything, and each thousandth row whole.
fn assert_same_contents(database: &Database, lake: &Path) {
    let sums = "count(*) AS n, count(DISTINCT id) AS ids, sum(id) AS ids_sum, sum(v) AS v_sum, sum(char_length(payload)) AS length";
    let ours = &query_rows(lake, &format!("SELECT {sums} FROM t"))[0];
    let theirs = database.sql(&format!("SELECT {sums} FROM shop.big"));
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let ours: Vec<String> = ours.as_object().unwrap().values().map(text).collect();
    assert_eq!(ours.join("\t"), theirs.trim());
    let sampled = query_rows(lake, "SELECT id, v, payload FROM t WHERE id % 1000 = 0");
    let sampled: Vec<String> = sampled.iter().map(Value::to_string).collect();
    let sampled: Rows = rows_of_reader(database, "shop.big", &sampled);
    let source = source_rows_where(database, "shop.big", "id % 1000 = 0");
    assert_same_rows("each thousandth row", &source, &sampled);
    assert_eq!(query(lake, &["--limit", "3"]).len(), 3);
}

#[test]
fn sixty_four_mebibytes_hold_for_copy_on_write() {
    ceiling_holds(64, "cow");
}

#[test]
fn sixty_four_mebibytes_hold_for_merge_on_read() {
    ceiling_holds(64, "mor");
}

#[test]
#[ignore = "loads 2.5 GiB twice: make test-interop"]
fn two_hundred_and_fifty_six_mebibytes_hold() {
    ceiling_holds(256, "cow");
    ceiling_holds(256, "mor");
}
