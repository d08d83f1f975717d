//! Projections and filters: the lake holds what a view at the source shows, whatever happens to rows and columns.

use std::time::Duration;

use rstest::rstest;
use serde_json::json;

use crate::support::{
    Daemon, Database, Pipeline, assert_same_rows, lakebed, pause, query, query_rows,
    rows_of_reader, run_until_current, source_rows,
};

const TABLE: &str = "shop.items";

/// A table, and a view of what the lake is to hold of it.
fn database() -> Database {
    let database = Database::mariadb();
    database.sql(
        "CREATE TABLE shop.items (id INT PRIMARY KEY, sku VARCHAR(20), price DECIMAL(10,2), qty INT, email VARCHAR(50),
           deleted TINYINT NOT NULL DEFAULT 0, internalNote TEXT);
         INSERT INTO shop.items SELECT seq, CONCAT('sku ', seq % 7), seq / 4, seq % 11, CONCAT('user', seq, '@example.com'),
           seq % 5 = 0, 'x' FROM shop.seq_1_to_2000;
         CREATE VIEW shop.wanted AS SELECT id, sku, price, qty, SHA2(email, 256) AS email,
           CAST(price * qty AS DECIMAL(20,2)) AS total FROM shop.items WHERE deleted = 0 AND qty < 9;",
    );
    database
}

fn pipeline(database: &Database, table_type: &str) -> Pipeline {
    Pipeline::new(database, table_type, r"shop\.items").with_blocks(
        "transform:
  - source-table: shop.items
    projection: >-
      * EXCLUDE (deleted, internalNote), encode(sha256(email), 'hex') AS email,
      CAST(price * qty AS DECIMAL(20, 2)) AS total
    filter: deleted = 0 AND qty < 9
",
    )
}

fn assert_as_wanted(database: &Database, pipeline: &Pipeline) {
    let lake = rows_of_reader(database, "shop.wanted", &query(&pipeline.table(TABLE), &[]));
    assert_same_rows(TABLE, &source_rows(database, "shop.wanted"), &lake);
}

#[rstest]
#[case("cow")]
#[case("mor")]
fn the_lake_holds_what_a_view_shows(#[case] table_type: &str) {
    let database = database();
    let pipeline = pipeline(&database, table_type);
    run_until_current(&pipeline);
    assert_as_wanted(&database, &pipeline);
    // Rows come to pass the filter, and cease to; keys change; rows go.
    database.sql(
        "USE shop;
         UPDATE items SET deleted = 1 WHERE id BETWEEN 100 AND 200;
         UPDATE items SET deleted = 0 WHERE id % 25 = 0;
         UPDATE items SET qty = qty + 3 WHERE id > 1500;
         UPDATE items SET email = NULL, price = NULL WHERE id < 20;
         INSERT INTO items VALUES (3001, 'new', 1.25, 4, 'a@b', 0, ''), (3002, 'hidden', 1, 1, '', 1, ''), (3003, 'later', 1, 1, '', 1, '');
         UPDATE items SET deleted = 0 WHERE id = 3003;
         UPDATE items SET id = id + 10000 WHERE id BETWEEN 300 AND 320;
         DELETE FROM items WHERE id BETWEEN 400 AND 450;",
    );
    run_until_current(&pipeline);
    assert_as_wanted(&database, &pipeline);
    // The projection is made anew of the columns that there are.
    database.sql(
        "USE shop;
         ALTER TABLE items ADD COLUMN colour VARCHAR(10), MODIFY qty BIGINT;
         UPDATE items SET colour = 'red', qty = 5 WHERE id > 1900;
         CREATE OR REPLACE VIEW wanted AS SELECT id, sku, price, qty, SHA2(email, 256) AS email,
           CAST(price * qty AS DECIMAL(20,2)) AS total, colour FROM items WHERE deleted = 0 AND qty < 9;",
    );
    run_until_current(&pipeline);
    assert_as_wanted(&database, &pipeline);
    let lake = pipeline.table(TABLE);
    let rows = query_rows(&lake, "SELECT * FROM t WHERE id = 1901");
    assert!(rows[0].get("internalNote").is_none() && rows[0].get("deleted").is_none());
    // What an expression needs cannot go.
    database.sql("ALTER TABLE shop.items DROP COLUMN email; INSERT INTO shop.items (id, qty) VALUES (4000, 1);");
    let file = pipeline.file();
    let outcome = lakebed(&["run", file.to_str().unwrap(), "--until-current"]).expect_code(78);
    for part in ["shop.items", "No field named email"] {
        assert!(
            outcome.stderr.contains(part),
            "`{part}` in {}",
            outcome.stderr
        );
    }
}

#[test]
fn the_view_holds_while_rows_change_and_the_daemon_is_killed() {
    let database = database();
    let pipeline = pipeline(&database, "mor");
    let change = |round: i32| {
        database.sql(&format!(
            "USE shop; UPDATE items SET deleted = (id + {round}) % 3 = 0, qty = (qty + {round}) % 11 WHERE id % 17 = {round};
             INSERT INTO items VALUES ({}, 'n', 2.5, {round}, 'x', {round} % 2, NULL);
             DELETE FROM items WHERE id % 301 = {round};",
            5000 + round
        ));
    };
    for round in 0..6 {
        let daemon = Daemon::start(&pipeline);
        for step in 0..3 {
            change(round * 3 + step);
            pause(Duration::from_millis(150));
        }
        daemon.kill();
        change(100 + round);
    }
    run_until_current(&pipeline);
    assert_as_wanted(&database, &pipeline);
}

#[test]
fn columns_tell_where_a_row_comes_from() {
    let database = database();
    let pipeline = Pipeline::new(&database, "mor", r"shop\.items").with_blocks(
        "transform:
  - source-table: shop.items
    projection: id, qty, __op_type__ AS op, __op_ts__ AS changed_at, __database__ || '.' || __table__ AS origin,
      __file__ AS log, __position__ AS place, __gtid__ AS gtid
    filter: id < 10
",
    );
    run_until_current(&pipeline);
    let lake = pipeline.table(TABLE);
    let rows = || query_rows(&lake, "SELECT * FROM t ORDER BY id");
    assert_eq!(rows().len(), 9);
    for row in rows() {
        assert_eq!(
            (&row["op"], &row["origin"]),
            (&json!("r"), &json!("shop.items"))
        );
        assert!(row["log"].is_null() && row["changed_at"].is_null() && row["gtid"].is_null());
    }
    let before = database
        .sql("SELECT UNIX_TIMESTAMP()")
        .trim()
        .parse::<i64>()
        .unwrap();
    database.sql("UPDATE shop.items SET qty = 77 WHERE id = 3; INSERT INTO shop.items (id, qty) VALUES (-1, 5);");
    run_until_current(&pipeline);
    let rows = query_rows(
        &lake,
        "SELECT id, op, log, place, gtid, to_unixtime(changed_at) AS seconds FROM t WHERE op <> 'r' ORDER BY id",
    );
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row["id"].clone(), row["op"].clone()))
        .collect();
    assert_eq!(shown, [(json!(-1), json!("c")), (json!(3), json!("u"))]);
    for row in &rows {
        assert!(row["log"].as_str().unwrap().contains("bin"), "{row}");
        assert!(row["place"].as_i64().unwrap() > 4, "{row}");
        assert!(row["gtid"].as_str().unwrap().starts_with("0-"), "{row}");
        assert!(
            (0..60).contains(&(row["seconds"].as_i64().unwrap() - before)),
            "{row}"
        );
    }
    let places: Vec<_> = rows
        .iter()
        .map(|row| row["place"].as_i64().unwrap())
        .collect();
    assert!(places[0] > places[1], "{places:?}");
}

#[test]
fn a_changed_projection_holds_from_then_on() {
    let database = database();
    let pipeline = Pipeline::new(&database, "mor", r"shop\.items").with_blocks(
        "transform:\n  - source-table: shop.items\n    projection: id, qty\n    filter: id < 10\n",
    );
    run_until_current(&pipeline);
    let file = pipeline.file();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("id, qty", "id, qty * 2 AS twice")).unwrap();
    database.sql("UPDATE shop.items SET qty = 7 WHERE id = 3");
    run_until_current(&pipeline);
    let rows = query_rows(
        &pipeline.table(TABLE),
        "SELECT * FROM t WHERE id IN (2, 3) ORDER BY id",
    );
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row["qty"].clone(), row["twice"].clone()))
        .collect();
    assert_eq!(shown, [(json!(2), json!(null)), (json!(null), json!(14))]);
}

#[rstest]
#[case("projection: id, price + 1", &["needs a name"])]
#[case("projection: sku, qty", &["no column `id`", "correct `transform`"])]
#[case("filter: price", &["is no condition"])]
#[case("filter: gone = 1", &["shop.items", "gone"])]
#[case("projection: '*, now() AS seen'", &["gives something else in another run"])]
fn what_does_not_fit_stops_before_a_table_is_made(#[case] line: &str, #[case] words: &[&str]) {
    let database = database();
    let pipeline = Pipeline::new(&database, "mor", r"shop\.items").with_blocks(&format!(
        "transform:\n  - source-table: shop.items\n    {line}\n"
    ));
    let file = pipeline.file();
    let outcome = lakebed(&["run", file.to_str().unwrap(), "--until-current"]).expect_code(78);
    for word in words {
        assert!(
            outcome.stderr.contains(word),
            "`{word}` in {}",
            outcome.stderr
        );
    }
    // The key is looked at when the lake table is made; the rest, by `check` as well.
    if !words.contains(&"correct `transform`") {
        let check = lakebed(&["check", file.to_str().unwrap()]);
        let said = [check.stdout, check.stderr].concat();
        assert!(said.contains(words[0]), "`{}` in {said}", words[0]);
    }
    assert!(
        !pipeline
            .table(TABLE)
            .join(".hoodie/hoodie.properties")
            .exists()
    );
}
