//! Every column type of the source, with edge values, comes through the snapshot and through the binary log, and both ways are the same.

use serde_json::{Map, Value};

use crate::support::{
    Database, Flavour, Pipeline, assert_same_rows, lake_rows, query, run_until_current, source_rows,
};

/// Loads `tables.sql` before the snapshot and `changes.sql`, which writes the same values under ids greater by 100, after it.
fn snapshot_and_log_agree(database: &Database, table_type: &str, tables: &[&str], sql: [&str; 2]) {
    database.sql(sql[0]);
    let pipeline = Pipeline::new(
        database,
        table_type,
        &format!(r"shop\.({})", tables.join("|")),
    );
    run_until_current(&pipeline);
    let compare = |when: &str| {
        for table in tables.iter().map(|table| format!("shop.{table}")) {
            let lake = lake_rows(database, &table, &pipeline.table(&table));
            let what = format!("{table} after the {when}");
            assert_same_rows(&what, &source_rows(database, &table), &lake);
        }
    };
    compare("snapshot");
    database.sql(sql[1]);
    run_until_current(&pipeline);
    compare("changes");
    for table in tables {
        let rows = query(&pipeline.table(&format!("shop.{table}")), &[]);
        let rows: Vec<Map<String, Value>> = rows
            .iter()
            .map(|row| serde_json::from_str(row).unwrap())
            .collect();
        assert_pairs_are_equal(table, &rows);
    }
}

/// Row `id`, which the snapshot read, equals row `id + 100`, which came through the log.
fn assert_pairs_are_equal(table: &str, rows: &[Map<String, Value>]) {
    let id = |row: &Map<String, Value>| row["id"].as_i64().unwrap();
    let from_snapshot: Vec<_> = rows.iter().filter(|row| id(row) < 100).collect();
    assert_eq!(rows.len(), from_snapshot.len() * 2, "{table}");
    for snapshot in from_snapshot {
        let log = rows
            .iter()
            .find(|row| id(row) == id(snapshot) + 100)
            .unwrap();
        for (name, value) in snapshot.iter().filter(|(name, _)| *name != "id") {
            assert_eq!(
                value,
                &log[name],
                "{table}.{name} of row {}: snapshot, log",
                id(snapshot)
            );
        }
    }
}

#[test]
fn every_type_of_mariadb_is_the_same_by_snapshot_and_log_in_copy_on_write_tables() {
    let sql = [
        include_str!("sql/types_mariadb.sql"),
        include_str!("sql/types_mariadb_changes.sql"),
    ];
    snapshot_and_log_agree(&Database::mariadb(), "cow", &["types"], sql);
}

#[test]
fn every_type_of_mariadb_is_the_same_by_snapshot_and_log_in_merge_on_read_tables() {
    let sql = [
        include_str!("sql/types_mariadb.sql"),
        include_str!("sql/types_mariadb_changes.sql"),
    ];
    snapshot_and_log_agree(&Database::mariadb(), "mor", &["types"], sql);
}

#[test]
#[ignore = "needs MariaDB 11.4: make test-interop"]
fn every_type_of_mariadb_11_4_is_the_same_by_snapshot_and_log() {
    let sql = [
        include_str!("sql/types_mariadb.sql"),
        include_str!("sql/types_mariadb_changes.sql"),
    ];
    for flags in [
        &[][..],
        &["--binlog-row-metadata=FULL", "--log-bin-compress=ON"],
    ] {
        let database = Database::start(Flavour::MariaDb114, flags);
        snapshot_and_log_agree(&database, "mor", &["types"], sql);
    }
}

#[test]
#[ignore = "needs MySQL 8.0: make test-interop"]
fn every_type_of_mysql_8_0_is_the_same_by_snapshot_and_log() {
    let sql = [
        include_str!("sql/types_mysql.sql"),
        include_str!("sql/types_mysql_changes.sql"),
    ];
    let database = Database::start(Flavour::MySql80, &[]);
    snapshot_and_log_agree(&database, "mor", &["types", "docs"], sql);
}

#[test]
#[ignore = "needs MySQL 5.7: make test-interop"]
fn every_type_of_mysql_5_7_is_the_same_by_snapshot_and_log() {
    // MySQL 5.7 itself shows the JSON number 1.0 as 1 in result rows; the log has 1.0 (docs/TYPES.md).
    let tables = include_str!("sql/types_mysql.sql");
    let tables = tables
        .replace("[1.0, null", "[1.5, null")
        .replace("(5, '1.0')", "(5, '1.25')");
    let sql = [tables.as_str(), include_str!("sql/types_mysql_changes.sql")];
    let database = Database::start(Flavour::MySql57, &[]);
    snapshot_and_log_agree(&database, "cow", &["types", "docs"], sql);
}

#[test]
fn compressed_and_annotated_logs_are_read() {
    let flags = [
        "--log-bin-compress=ON",
        "--log-bin-compress-min-len=10",
        "--binlog-annotate-row-events=ON",
    ];
    let database = Database::start(Flavour::MariaDb, &flags);
    let sql = [
        include_str!("sql/types_mariadb.sql"),
        include_str!("sql/types_mariadb_changes.sql"),
    ];
    snapshot_and_log_agree(&database, "mor", &["types"], sql);
}

#[test]
fn odd_names_and_key_types_are_kept_apart() {
    let database = Database::mariadb();
    database.sql(
        "USE shop; SET sql_mode = '';
         CREATE TABLE `odd-names` (`id` INT PRIMARY KEY, `select` INT, `MixedCase` INT, `_x9` INT);
         INSERT INTO `odd-names` VALUES (1, 2, 3, 4);
         CREATE TABLE by_unsigned (k BIGINT UNSIGNED PRIMARY KEY, v INT);
         INSERT INTO by_unsigned VALUES (0, 1), (9223372036854775807, 2), (9223372036854775808, 3), (18446744073709551615, 4);
         CREATE TABLE by_text (k VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY, v INT);
         INSERT INTO by_text VALUES (' ', 1), ('a,b:c', 2), ('a', 3), ('é', 4), ('Z', 5), ('__null__', 6);
         CREATE TABLE by_pair (a VARCHAR(10), b DATE, v INT, PRIMARY KEY (b, a));
         INSERT INTO by_pair VALUES ('x', '2026-01-01', 1), ('x', '2026-01-02', 2), ('y', '2026-01-01', 3);
         CREATE TABLE by_bytes (k BINARY(16) PRIMARY KEY, v INT);
         INSERT INTO by_bytes SELECT UNHEX(MD5(seq)), seq FROM seq_1_to_3000;",
    );
    let tables = [
        "shop.odd-names",
        "shop.by_unsigned",
        "shop.by_text",
        "shop.by_pair",
        "shop.by_bytes",
    ];
    let pipeline = Pipeline::new(&database, "mor", r"shop\.(odd-names|by_.*)");
    let compare = || {
        run_until_current(&pipeline);
        for table in tables {
            let lake = lake_rows(&database, table, &pipeline.table(table));
            assert_same_rows(table, &source_rows(&database, table), &lake);
        }
    };
    compare();
    database.sql(
        "USE shop; UPDATE `odd-names` SET `select` = 20; INSERT INTO `odd-names` (id) VALUES (2);
         DELETE FROM by_unsigned WHERE k = 18446744073709551615; UPDATE by_unsigned SET v = v + 10;
         UPDATE by_text SET k = CONCAT(k, '!') WHERE v < 4; DELETE FROM by_text WHERE k = 'Z';
         UPDATE by_pair SET b = '2026-01-03' WHERE a = 'y'; UPDATE by_pair SET v = 9 WHERE b = '2026-01-02';
         DELETE FROM by_bytes WHERE v % 3 = 0; UPDATE by_bytes SET v = v + 1000000 WHERE v % 3 = 1;",
    );
    compare();
}
