//! Tables whose log records are merged column by column: read with the rows that Apache Hudi on Spark reads.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{SmallLake, Spark, objects, query};

const COLUMNS: &str = "id bigint, name string, price double, ts bigint";

fn row(id: i64, name: Option<&str>, price: Option<f64>, ts: i64) -> Value {
    json!({"id": id, "name": name, "price": price, "ts": ts})
}

fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_key(|row| row["id"].as_i64());
    rows
}

#[rstest]
#[case("OverwriteNonDefaultsWithLatestAvroPayload", 9)]
#[case("OverwriteNonDefaultsWithLatestAvroPayload", 8)]
#[case("PartialUpdateAvroPayload", 9)]
#[case("PartialUpdateAvroPayload", 6)]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn nulls_keep_what_was_there(#[case] class: &str, #[case] version: u32) {
    let lake = SmallLake::new();
    let table = lake.path("t");
    let mut spark = Spark::shared();
    let options = json!({
        "hoodie.datasource.write.table.type": "MERGE_ON_READ",
        "hoodie.datasource.write.recordkey.field": "id",
        "hoodie.datasource.write.precombine.field": "ts",
        "hoodie.datasource.write.payload.class": format!("org.apache.hudi.common.model.{class}"),
        "hoodie.metadata.enable": "false",
    });
    let writes = [
        vec![
            row(1, Some("a"), Some(1.0), 10),
            row(2, Some("b"), None, 10),
            row(3, Some("c"), Some(3.0), 10),
        ],
        vec![
            row(1, None, Some(1.5), 11),
            row(2, None, Some(2.5), 9),
            row(4, None, Some(4.0), 11),
        ],
        vec![
            row(1, Some("z"), None, 12),
            row(3, None, None, 13),
            row(4, Some("d"), None, 8),
        ],
    ];
    for (number, rows) in writes.iter().enumerate() {
        let operation = if number == 0 { "insert" } else { "upsert" };
        spark.write(&table, COLUMNS, rows, operation, version, &options);
    }
    let theirs = objects(&spark.snapshot(&table).join("\n"));
    let ours = objects(&query(&table, &[]).join("\n"));
    assert_eq!(sorted(ours), sorted(theirs));
}
