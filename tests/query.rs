//! `lakebed query` over several tables and query types: joins, table functions, and the change log.

use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{SmallLake, lakebed, objects, query};

fn order(id: i64, status: &str, at: i64) -> Value {
    json!({"id": id, "status": status, "at": at})
}

const CREATE: [&str; 4] = ["--record-key", "id", "--ordering", "at"];

/// Orders: 1 and 2 inserted; 1 updated and 3 inserted; 2 deleted. Returns the three instants.
fn orders(lake: &SmallLake, table_type: &str) -> Vec<String> {
    let table = "shop/orders";
    let create = [&CREATE[..], &["--table-type", table_type]].concat();
    vec![
        lake.write(
            table,
            "insert",
            &[order(1, "new", 1), order(2, "new", 1)],
            &create,
        ),
        lake.write(
            table,
            "upsert",
            &[order(1, "paid", 2), order(3, "new", 2)],
            &[],
        ),
        lake.write(table, "delete", &[order(2, "new", 3)], &[]),
    ]
}

#[test]
fn one_statement_joins_tables_and_query_types() {
    let lake = SmallLake::new();
    let instants = orders(&lake, "cow");
    let items = [
        json!({"id": 1, "order_id": 1, "price": 5}),
        json!({"id": 2, "order_id": 3, "price": 7}),
    ];
    lake.write("shop/items", "insert", &items, &["--record-key", "id"]);
    let sql = format!(
        "SELECT n.id, o.status AS was, n.status AS became, i.price FROM orders n \
         LEFT JOIN hudi_as_of('shop.orders', '{}') o USING (id) \
         JOIN shop.items i ON i.order_id = n.id ORDER BY n.id",
        instants[0]
    );
    assert_eq!(
        lake.query(&sql),
        [
            json!({"id": 1, "was": "new", "became": "paid", "price": 5}),
            json!({"id": 3, "was": null, "became": "new", "price": 7})
        ]
    );
    let first = &lake.inspect("timeline", "shop/orders", &[])[0];
    let since = format!(
        "SELECT id FROM hudi_since(orders, '{}') ORDER BY id",
        first["completion"].as_str().unwrap()
    );
    assert_eq!(lake.query(&since), [json!({"id": 1}), json!({"id": 3})]);
    let by_path = format!(
        "SELECT count(*) AS n FROM hudi_read_optimized('{}')",
        lake.text("shop/orders")
    );
    assert_eq!(lake.query(&by_path), [json!({"n": 2})]);
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let lake = SmallLake::new();
    orders(&lake, "cow");
    for (sql, expected) in [
        (
            "SELECT * FROM order",
            "no table `order`; there are shop.orders",
        ),
        (
            "SELECT * FROM hudi_files('order')",
            "no table `order`; there are shop.orders",
        ),
        (
            "SELECT * FROM hudi_asof('orders', '1')",
            "no table function `hudi_asof`",
        ),
        (
            "SELECT * FROM hudi_as_of('orders')",
            "call it as hudi_as_of('t', 'T')",
        ),
    ] {
        let failed = lakebed(&["query", sql, "--lake", &lake.text("")]).expect_code(1);
        assert!(failed.stderr.contains(expected), "{sql}: {}", failed.stderr);
    }
}

#[test]
fn timeline_and_files_are_tables() {
    let lake = SmallLake::new();
    let instants = orders(&lake, "mor");
    let rows = lake.query(
        "SELECT instant, action, operation, inserts FROM hudi_timeline('orders') ORDER BY instant",
    );
    let found: Vec<&str> = rows
        .iter()
        .map(|row| row["instant"].as_str().unwrap())
        .collect();
    assert_eq!(found, instants);
    assert_eq!(rows[2]["operation"], "DELETE");
    let logs = "SELECT location FROM hudi_files(orders) WHERE latest AND kind = 'log'";
    let latest = lake.inspect("files", "shop/orders", &["--latest"]);
    let expected = latest.iter().filter(|file| file["kind"] == "log").count();
    assert_eq!(lake.query(logs).len(), expected);
    assert!(expected > 0);
}

/// What changed, without the instants.
fn operations(changes: &[Value]) -> Vec<(String, Value, Value)> {
    let mut operations: Vec<(String, Value, Value)> = changes
        .iter()
        .map(|change| {
            let operation = change["_change_operation"].as_str().unwrap().to_owned();
            (operation, change["before"].clone(), change["after"].clone())
        })
        .collect();
    operations.sort_by_key(|operation| format!("{operation:?}"));
    operations
}

#[rstest]
#[case("cow")]
#[case("mor")]
fn the_change_log_has_the_rows_before_and_after(#[case] table_type: &str) {
    let lake = SmallLake::new();
    let instants = orders(&lake, table_type);
    let path = lake.path("shop/orders");
    let all = objects(&query(&path, &["--since", "earliest", "--changes"]).join("\n"));
    let times: Vec<&str> = all
        .iter()
        .map(|c| c["_change_instant"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted(), "commits come in their order: {times:?}");
    let operation = |name: &str, before: Value, after: Value| (name.to_owned(), before, after);
    let expected = vec![
        operation("d", order(2, "new", 1), Value::Null),
        operation("i", Value::Null, order(1, "new", 1)),
        operation("i", Value::Null, order(2, "new", 1)),
        operation("i", Value::Null, order(3, "new", 2)),
        operation("u", order(1, "new", 1), order(1, "paid", 2)),
    ];
    let sorted = |mut expected: Vec<(String, Value, Value)>| {
        expected.sort_by_key(|operation| format!("{operation:?}"));
        expected
    };
    assert_eq!(operations(&all), sorted(expected));
    let timeline = lake.inspect("timeline", "shop/orders", &[]);
    let completion = |at: usize| timeline[at]["completion"].as_str().unwrap().to_owned();
    let sql = format!(
        "SELECT _change_operation AS op, _change_instant AS at, after.status AS status \
         FROM hudi_changes('orders', '{}', '{}') ORDER BY op",
        completion(0),
        completion(1)
    );
    assert_eq!(
        lake.query(&sql),
        [
            json!({"op": "i", "at": instants[1], "status": "new"}),
            json!({"op": "u", "at": instants[1], "status": "paid"})
        ]
    );
}

/// Applies changes to a table by key.
fn replay(changes: &[Value]) -> BTreeMap<i64, Value> {
    let mut rows = BTreeMap::new();
    for change in changes {
        let (before, after) = (&change["before"], &change["after"]);
        let id = |image: &Value| image["id"].as_i64().unwrap();
        if before.is_null() {
            assert!(
                rows.insert(id(after), after.clone()).is_none(),
                "inserted twice: {change}"
            );
        } else {
            let known = rows.remove(&id(before));
            assert_eq!(known.as_ref(), Some(before), "not what was there: {change}");
            if !after.is_null() {
                rows.insert(id(after), after.clone());
            }
        }
    }
    rows
}

#[rstest]
#[case("cow", "upsert")]
#[case("mor", "upsert")]
#[case("cow", "insert-overwrite-table")]
fn the_change_log_replayed_gives_the_table(#[case] table_type: &str, #[case] last: &str) {
    let lake = SmallLake::new();
    let create = [
        &CREATE[..],
        &["--table-type", table_type, "--partition-by", "status"],
    ]
    .concat();
    let first: Vec<Value> = (0..40)
        .map(|id| order(id, ["a", "b"][id as usize % 2], 1))
        .collect();
    lake.write("t", "bulk-insert", &first, &create);
    for round in 2..6 {
        let rows: Vec<Value> = (0..20)
            .map(|n| (n * 7 * round + round) % 60)
            .map(|id| order(id, ["a", "b"][id as usize % 2], round))
            .collect();
        let rows: BTreeMap<i64, Value> = rows
            .iter()
            .map(|r| (r["id"].as_i64().unwrap(), r.clone()))
            .collect();
        let rows: Vec<Value> = rows.into_values().collect();
        let operation = if round % 2 == 0 { "upsert" } else { "delete" };
        lake.write("t", operation, &rows, &[]);
        if round == 4 && table_type == "mor" {
            lakebed(&["table", "compact", &lake.text("t")]).success();
        }
    }
    lake.write("t", last, &[order(3, "b", 9), order(100, "a", 9)], &[]);
    let changes =
        objects(&query(&lake.path("t"), &["--since", "earliest", "--changes"]).join("\n"));
    let changes: Vec<Value> = if last == "upsert" {
        changes
    } else {
        // An overwrite deletes and inserts, in any order.
        let mut changes = changes;
        changes.sort_by_key(|change| {
            (
                change["_change_instant"].to_string(),
                change["_change_operation"].to_string(),
            )
        });
        changes
    };
    let expected = objects(&query(&lake.path("t"), &[]).join("\n"));
    let expected: BTreeMap<i64, Value> = expected
        .into_iter()
        .map(|row| (row["id"].as_i64().unwrap(), row))
        .collect();
    assert_eq!(replay(&changes), expected);
}

#[test]
fn changes_whose_files_were_cleaned_are_refused() {
    let lake = SmallLake::new();
    orders(&lake, "cow");
    let path = lake.text("shop/orders");
    lakebed(&[
        "table",
        "clean",
        &path,
        "--set",
        "hoodie.clean.commits.retained=1",
    ])
    .success();
    let failed =
        lakebed(&["query", "-t", &path, "--since", "earliest", "--changes"]).expect_code(1);
    assert!(
        failed
            .stderr
            .contains("has been cleaned away; ask for later ones"),
        "{}",
        failed.stderr
    );
    let path = lake.path("shop/orders");
    let last = lake.inspect("timeline", "shop/orders", &[]);
    let last = last
        .iter()
        .filter(|instant| instant["action"] == "commit")
        .nth(1)
        .unwrap();
    let since = last["completion"].as_str().unwrap();
    assert_eq!(query(&path, &["--since", since, "--changes"]).len(), 1);
}

#[test]
fn little_memory_is_enough_to_sort() {
    let lake = SmallLake::new();
    let rows: Vec<Value> = (0..120_000)
        .map(|id| json!({"id": id, "text": format!("{:080}", id * 7919 % 120_000)}))
        .collect();
    lake.write("t", "bulk-insert", &rows, &["--record-key", "id"]);
    let words = |memory| {
        let table = lake.text("t");
        lakebed(&[
            "query",
            "SELECT id, text FROM t ORDER BY text",
            "-t",
            &table,
            "--memory",
            memory,
            "--format",
            "csv",
        ])
    };
    assert_eq!(words("24MiB").success(), words("1GiB").success());
}

#[test]
fn joins_build_on_the_smaller_table_and_limits_reach_the_scan() {
    let lake = SmallLake::new();
    let rows: Vec<Value> = (0..5_000)
        .map(|id| json!({"id": id, "text": format!("{id:040}")}))
        .collect();
    lake.write("big", "bulk-insert", &rows, &["--record-key", "id"]);
    lake.write("small", "insert", &rows[..3], &["--record-key", "id"]);
    let plan = |sql: &str| {
        let plans = lake.query(&format!("EXPLAIN {sql}"));
        plans
            .iter()
            .map(|row| row["plan"].as_str().unwrap())
            .collect::<String>()
    };
    for sql in [
        "SELECT count(*) FROM big b JOIN small s USING (id)",
        "SELECT count(*) FROM small s JOIN big b USING (id)",
    ] {
        let plan = plan(sql);
        let place = |table: &str| {
            plan.find(&format!("HudiScan: table={table}"))
                .unwrap_or_else(|| panic!("{plan}"))
        };
        assert!(place("small") < place("big"), "{plan}");
    }
    let lake_dir = lake.text("");
    lakebed(&["query", "EXPLAIN SELECT id FROM big", "--lake", &lake_dir]).success();
    let limited = plan("SELECT id FROM big LIMIT 7");
    assert!(limited.contains("fetch=7"), "{limited}");
}
