//! Columns that change at the source while the daemon runs, and statements that no row event tells of.

use crate::support::{
    Daemon, Database, Pipeline, assert_same_rows, lake_rows, lakebed, query_rows,
    run_until_current, source_rows,
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
