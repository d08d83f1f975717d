//! Tables that change at the source while the daemon runs and while it is down, and statements that no row event tells of.

use rstest::rstest;

use crate::support::{
    Daemon, Database, Flavour, Pipeline, assert_same_rows, lake_rows, lakebed, query, query_rows,
    rows_of_reader, run_until_current, source_rows,
};

const TABLE: &str = "shop.t";

fn database() -> Database {
    let database = Database::mariadb();
    database.sql(
        "CREATE TABLE shop.t (id INT PRIMARY KEY, a INT, b VARCHAR(10));
         INSERT INTO shop.t SELECT seq, seq, 'old' FROM shop.seq_1_to_500;",
    );
    database
}

fn follows_added_and_widened_columns(table_type: &str) {
    let database = database();
    let pipeline = Pipeline::new(&database, table_type, r"shop\.t.*");
    let mut daemon = Daemon::start(&pipeline);
    let lake = pipeline.table(TABLE);
    let rows = || query_rows(&lake, "SELECT count(*) AS n FROM t")[0]["n"].clone();
    daemon.wait_until("the snapshot", || {
        lake.join(".hoodie/hoodie.properties").exists() && rows() == 500
    });
    database.sql(
        "INSERT INTO shop.t VALUES (501, 1, 'before');
         ALTER TABLE shop.t ADD COLUMN c DECIMAL(10,2), MODIFY a BIGINT;
         INSERT INTO shop.t VALUES (502, 5000000000, 'after', 1.25);
         UPDATE shop.t SET c = 2.50 WHERE id <= 10;
         CREATE TABLE shop.t_new (id INT PRIMARY KEY);
         INSERT INTO shop.t_new VALUES (1), (2);",
    );
    let created = pipeline.table("shop.t_new");
    daemon.wait_until("the new column and table", || {
        rows() == 502 && created.join(".hoodie/hoodie.properties").exists()
    });
    daemon.stop();
    run_until_current(&pipeline);
    for table in [TABLE, "shop.t_new"] {
        let source = source_rows(&database, table);
        let lake = lake_rows(&database, table, &pipeline.table(table));
        assert_same_rows(table, &source, &lake);
    }
}

#[test]
fn copy_on_write_follows_added_and_widened_columns() {
    follows_added_and_widened_columns("cow");
}

#[test]
fn merge_on_read_follows_added_and_widened_columns() {
    follows_added_and_widened_columns("mor");
}

#[test]
fn rows_that_go_without_row_events_stop_the_pipeline() {
    let database = database();
    let pipeline = Pipeline::new(&database, "mor", r"shop\.t");
    run_until_current(&pipeline);
    database.sql("TRUNCATE TABLE shop.t");
    let file = pipeline.file();
    let outcome = lakebed(&["run", file.to_str().unwrap(), "--until-current"]).expect_code(78);
    for part in ["shop.t", "TRUNCATE TABLE", "remove the lake table"] {
        assert!(
            outcome.stderr.contains(part),
            "`{part}` in {}",
            outcome.stderr
        );
    }
}

const BEHAVIOR: &str = "schema.change.behavior";

/// Source and lake hold the same rows, in whatever order the columns are.
fn assert_same(database: &Database, pipeline: &Pipeline, table: &str) {
    let lake = rows_of_reader(database, table, &query(&pipeline.table(table), &[]));
    assert_same_rows(table, &source_rows(database, table), &lake);
}

/// The pipeline stops, and says these words.
fn assert_stops(pipeline: &Pipeline, words: &[&str]) {
    let file = pipeline.file();
    let outcome = lakebed(&["run", file.to_str().unwrap(), "--until-current"]).expect_code(78);
    for word in words {
        assert!(
            outcome.stderr.contains(word),
            "`{word}` in {}",
            outcome.stderr
        );
    }
}

#[rstest]
#[case::without_names_in_the_log("NO_LOG")]
#[case::with_names_in_the_log("FULL")]
fn columns_may_change_while_the_daemon_is_down(#[case] metadata: &str) {
    let database = database();
    database.sql(&format!("SET GLOBAL binlog_row_metadata = {metadata}"));
    let pipeline = Pipeline::new(&database, "mor", r"shop\.t").with("pipeline", BEHAVIOR, "evolve");
    run_until_current(&pipeline);
    // Each statement is followed by rows of its own shape, none of which is the shape of today.
    database.sql(
        "USE shop;
         INSERT INTO t VALUES (601, 1, 'x');
         ALTER TABLE t ADD COLUMN f SMALLINT UNSIGNED FIRST, ADD COLUMN g VARCHAR(9) CHARACTER SET latin1 AFTER a;
         INSERT INTO t VALUES (65535, 602, 2, 'gü', 'y');
         ALTER TABLE t MODIFY a BIGINT AFTER b, DROP COLUMN g;
         INSERT INTO t VALUES (1, 603, 'z', 9223372036854775807);
         UPDATE t SET a = 7 WHERE id = 602;
         ALTER TABLE t ADD e ENUM('no', 'it''s') NOT NULL DEFAULT 'no', ADD j JSON, MODIFY b TEXT;
         INSERT INTO t VALUES (2, 604, 'zz', 4, 'it''s', '{\"a\": 1}');
         DELETE FROM t WHERE id < 400;
         ALTER TABLE t MODIFY e ENUM('no', 'maybe', 'it''s') FIRST, CONVERT TO CHARACTER SET utf8mb4;
         UPDATE t SET e = 'maybe', b = 'näher' WHERE id > 450;
         CREATE TABLE IF NOT EXISTS t (whatever INT);",
    );
    run_until_current(&pipeline);
    database.sql("UPDATE shop.t SET e = 'it''s', f = 4, j = NULL WHERE id BETWEEN 400 AND 460");
    run_until_current(&pipeline);
    assert_same(&database, &pipeline, TABLE);
}

#[test]
fn a_renamed_column_is_a_new_one_beside_the_old() {
    let database = database();
    let pipeline = Pipeline::new(&database, "cow", r"shop\.t");
    run_until_current(&pipeline);
    database.sql(
        "ALTER TABLE shop.t RENAME COLUMN b TO c, DROP COLUMN a;
         INSERT INTO shop.t VALUES (501, 'new')",
    );
    run_until_current(&pipeline);
    let lake = pipeline.table(TABLE);
    let rows = query_rows(
        &lake,
        "SELECT id, a, b, c FROM t WHERE id IN (1, 501) ORDER BY id",
    );
    let shown: Vec<_> = rows
        .iter()
        .map(|row| format!("{} {} {}", row["a"], row["b"], row["c"]))
        .collect();
    assert_eq!(shown, ["1 \"old\" null", "null null \"new\""]);
    let strict = pipeline.with("pipeline", "schema.change.behavior.rename.column", "evolve");
    database.sql("ALTER TABLE shop.t CHANGE c d TEXT");
    assert_stops(&strict, &["shop.t", "CHANGE c d", "rename.column", ON_READ]);
}

const ON_READ: &str = "hoodie.schema.on.read.enable";

#[rstest]
#[case("cow")]
#[case("mor")]
fn a_renamed_column_is_renamed_in_the_lake_with_schema_on_read(#[case] table_type: &str) {
    let database = database();
    let pipeline = Pipeline::new(&database, table_type, r"shop\.t")
        .with("pipeline", BEHAVIOR, "evolve")
        .with("sink", ON_READ, "true");
    run_until_current(&pipeline);
    database.sql(
        "USE shop; UPDATE t SET b = 'before' WHERE id < 20;
         ALTER TABLE t CHANGE b c TEXT, ADD d INT AFTER id, MODIFY a BIGINT;
         INSERT INTO t VALUES (501, 4, 5000000000, 'new');
         UPDATE t SET c = 'after' WHERE id < 10;",
    );
    run_until_current(&pipeline);
    assert_same(&database, &pipeline, TABLE);
    // A name that is free again, and one that another column had.
    database.sql(
        "USE shop; ALTER TABLE t RENAME COLUMN d TO b; UPDATE t SET b = 7 WHERE id > 490;
         ALTER TABLE t DROP COLUMN b; ALTER TABLE t RENAME COLUMN c TO b; DELETE FROM t WHERE id = 2;",
    );
    run_until_current(&pipeline);
    assert_same(&database, &pipeline, TABLE);
    let lake = pipeline.table(TABLE);
    let columns = query_rows(&lake, "SELECT * FROM t WHERE id = 501");
    let names = columns[0].as_object().unwrap().keys();
    let names: Vec<&String> = names.filter(|name| !name.starts_with('_')).collect();
    assert_eq!(names, ["id", "a", "b"]);
}

#[rstest]
#[case::gh_ost("CREATE TABLE _t_gho LIKE t", "_t_gho", "_t_del")]
#[case::pt_online_schema_change(
    "CREATE TABLE _t_new (`id` int(11) NOT NULL, `a` int(11) DEFAULT NULL, `b` varchar(10) DEFAULT NULL,
       PRIMARY KEY (`id`)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
    "_t_new",
    "_t_old"
)]
fn tools_for_online_schema_changes_are_followed(
    #[case] create: &str,
    #[case] new: &str,
    #[case] old: &str,
) {
    let database = database();
    let pipeline = Pipeline::new(&database, "mor", r"shop\.t").with("pipeline", BEHAVIOR, "evolve");
    run_until_current(&pipeline);
    database.sql(&format!(
        "USE shop; {create}; ALTER TABLE {new} ADD COLUMN c INT AFTER id, MODIFY a BIGINT;
         INSERT INTO t VALUES (501, 1, 'meanwhile');
         INSERT INTO {new} (id, a, b) SELECT id, a, b FROM t;"
    ));
    // The table in the making is remembered across a restart.
    run_until_current(&pipeline);
    database.sql(&format!(
        "USE shop; RENAME TABLE t TO {old}, {new} TO t;
         INSERT INTO t VALUES (502, 3, 5000000000, 'after');
         UPDATE t SET c = 4 WHERE id < 10;
         DROP TABLE {old};
         ALTER TABLE t ADD d INT; UPDATE t SET d = 1 WHERE id > 490;"
    ));
    let outcome = run_until_current(&pipeline);
    assert!(
        !outcome.stderr.contains("asking the server"),
        "{}",
        outcome.stderr
    );
    assert_same(&database, &pipeline, TABLE);
}

#[test]
fn another_table_under_the_same_name_is_not_taken_for_the_old_one() {
    let database = database();
    let pipeline = Pipeline::new(&database, "mor", r"shop\.t");
    run_until_current(&pipeline);
    database.sql(
        "USE shop; CREATE TABLE staging LIKE t; INSERT INTO staging VALUES (1, 1, 'other');
         RENAME TABLE t TO t_old, staging TO t;",
    );
    assert_stops(
        &pipeline,
        &["shop.staging", "taken its place", "remove the lake table"],
    );
}

#[test]
fn an_emptied_table_is_emptied_in_the_lake_if_wanted() {
    let database = database();
    let pipeline = Pipeline::new(&database, "mor", r"shop\.t");
    let pipeline = pipeline.with(
        "pipeline",
        "schema.change.behavior.truncate.table",
        "evolve",
    );
    run_until_current(&pipeline);
    database.sql(
        "USE shop; UPDATE t SET a = 1; TRUNCATE t; INSERT INTO t VALUES (1, 2, 'again'), (700, 3, 'new');",
    );
    run_until_current(&pipeline);
    assert_same(&database, &pipeline, TABLE);
    database.sql(
        "USE shop; DELETE FROM t WHERE id = 1; DROP TABLE t;
         CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY, a INT, b VARCHAR(10), z DATE) DEFAULT CHARSET utf8mb4;
         INSERT INTO t VALUES (5, 5, 'fresh', '2026-01-01');",
    );
    run_until_current(&pipeline);
    assert_same(&database, &pipeline, TABLE);
}

#[test]
fn a_statement_that_is_not_understood_makes_the_server_be_asked() {
    let database = database();
    let pipeline = Pipeline::new(&database, "mor", r"shop\.t");
    run_until_current(&pipeline);
    database.sql(
        "USE shop; ALTER TABLE t ADD c INT, CONVERT TO CHARACTER SET DEFAULT; INSERT INTO t VALUES (501, 1, 'x', 2);",
    );
    let outcome = run_until_current(&pipeline);
    assert!(
        outcome.stderr.contains("asking the server"),
        "{}",
        outcome.stderr
    );
    assert_same(&database, &pipeline, TABLE);
    // Rows between such a statement and a later one cannot be read: they are refused, not guessed.
    database.sql(
        "USE shop; ALTER TABLE t ADD d INT, CONVERT TO CHARACTER SET DEFAULT; INSERT INTO t VALUES (502, 1, 'x', 2, 3);
         ALTER TABLE t DROP d;",
    );
    assert_stops(
        &pipeline,
        &[
            "shop.t",
            "CONVERT TO CHARACTER SET DEFAULT",
            "not understood",
            "load it anew",
        ],
    );
}

#[rstest]
#[case("add.column", "ALTER TABLE shop.t ADD x INT")]
#[case("drop.column", "ALTER TABLE shop.t DROP b")]
#[case("alter.column.type", "ALTER TABLE shop.t MODIFY a BIGINT")]
#[case("rename.column", "ALTER TABLE shop.t RENAME COLUMN a TO x")]
fn a_change_of_a_kind_that_is_an_exception_stops_the_pipeline(
    #[case] kind: &str,
    #[case] sql: &str,
) {
    let database = database();
    let key = Box::leak(format!("{BEHAVIOR}.{kind}").into_boxed_str());
    // Another table keeps the pattern from being empty.
    database.sql("CREATE TABLE shop.t1 (id INT PRIMARY KEY)");
    let pipeline =
        Pipeline::new(&database, "mor", r"shop\.t\d?").with("pipeline", key, "exception");
    run_until_current(&pipeline);
    database.sql(sql);
    assert_stops(&pipeline, &[key, "exception", sql]);
    let pipeline = pipeline.with("pipeline", key, "ignore");
    database.sql("INSERT INTO shop.t1 VALUES (1)");
    run_until_current(&pipeline);
    assert_same(&database, &pipeline, "shop.t1");
}

#[rstest]
#[case::mysql_8_0(Flavour::MySql80)]
#[case::mysql_5_7(Flavour::MySql57)]
#[case::mariadb_11_4(Flavour::MariaDb114)]
#[ignore = "needs MySQL and MariaDB 11.4: make test-interop"]
fn changes_are_followed_on_other_servers_too(#[case] flavour: Flavour) {
    let database = Database::start(flavour, &[]);
    database.sql(
        "CREATE TABLE shop.t (id INT PRIMARY KEY, a INT, b VARCHAR(10));
         INSERT INTO shop.t VALUES (1, 1, 'one'), (2, 2, 'two'), (3, 3, 'three');",
    );
    let pipeline = Pipeline::new(&database, "mor", r"shop\.t").with("pipeline", BEHAVIOR, "evolve");
    run_until_current(&pipeline);
    database.sql(
        "USE shop; INSERT INTO t VALUES (4, 4, 'four');
         ALTER TABLE t ADD COLUMN f SMALLINT UNSIGNED FIRST, ADD j JSON AFTER a, MODIFY a BIGINT;
         INSERT INTO t VALUES (65535, 5, 5000000000, '{\"x\": [1, 2.5]}', 'five');
         UPDATE t SET f = 1, j = '[]' WHERE id < 3;
         ALTER TABLE t DROP COLUMN b, ADD e ENUM('a', 'b') CHARACTER SET latin1;
         INSERT INTO t VALUES (3, 6, 6, NULL, 'b');
         CREATE TABLE _t_gho LIKE t; ALTER TABLE _t_gho ADD g DATETIME(3), DROP COLUMN f;
         INSERT INTO _t_gho (id, a, j, e) SELECT id, a, j, e FROM t;
         RENAME TABLE t TO _t_del, _t_gho TO t;
         UPDATE t SET g = '2026-01-02 03:04:05.678' WHERE id > 2;",
    );
    run_until_current(&pipeline);
    assert_same(&database, &pipeline, TABLE);
}
