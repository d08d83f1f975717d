//! The commands that show what a table is: timeline, files, history of a key, statistics.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{SmallLake, lakebed};

fn row(id: i64, name: &str, at: i64) -> Value {
    json!({"id": id, "name": name, "at": at})
}

const CREATE: [&str; 4] = ["--record-key", "id", "--ordering", "at"];

/// A table whose row 1 was inserted, updated, deleted and inserted again.
fn table(table_type: &str) -> (SmallLake, Vec<String>) {
    let lake = SmallLake::new();
    let create = [&CREATE[..], &["--table-type", table_type]].concat();
    let instants = vec![
        lake.write("t", "insert", &[row(1, "a", 1), row(2, "a", 1)], &create),
        lake.write("t", "upsert", &[row(1, "b", 2)], &[]),
        lake.write("t", "delete", &[row(1, "b", 3)], &[]),
        lake.write("t", "upsert", &[row(1, "c", 4), row(3, "c", 4)], &[]),
    ];
    (lake, instants)
}

#[rstest]
#[case("cow")]
#[case("mor")]
fn the_history_of_a_key_has_every_version(#[case] table_type: &str) {
    let (lake, instants) = table(table_type);
    let versions = lake.inspect("history", "t", &["1"]);
    let shown: Vec<(&str, &str, &Value)> = versions
        .iter()
        .map(|version| {
            let text = |name: &str| version[name].as_str().unwrap();
            (
                text("_history_instant"),
                text("_history_operation"),
                &version["name"],
            )
        })
        .collect();
    let expected = [
        (instants[0].as_str(), "written", &json!("a")),
        (instants[1].as_str(), "written", &json!("b")),
        (instants[2].as_str(), "deleted", &Value::Null),
        (instants[3].as_str(), "written", &json!("c")),
    ];
    assert_eq!(shown, expected);
    let text = lakebed(&["table", "history", &lake.text("t"), "1"]).success();
    assert!(text.lines().nth(4).unwrap().contains("deleted"), "{text}");
    let failed = lakebed(&["table", "history", &lake.text("t"), "9"]).expect_code(1);
    assert!(
        failed.stderr.contains("record key `9`"),
        "{}",
        failed.stderr
    );
}

#[test]
fn what_is_left_after_a_clean_is_the_history() {
    let (lake, instants) = table("cow");
    let path = lake.text("t");
    lakebed(&[
        "table",
        "clean",
        &path,
        "--set",
        "hoodie.clean.commits.retained=1",
    ])
    .success();
    let versions = lake.inspect("history", "t", &["2"]);
    assert_eq!(versions.len(), 1, "{versions:?}");
    assert_eq!(versions[0]["_history_instant"], instants[0].as_str());
}

#[test]
fn the_timeline_says_how_long_and_how_much() {
    let (lake, _) = table("cow");
    let instants = lake.inspect("timeline", "t", &[]);
    assert_eq!(instants.len(), 4);
    for instant in &instants {
        assert!(instant["duration_ms"].as_i64().unwrap() >= 0, "{instant}");
        assert!(
            instant["bytes"].as_i64().unwrap() > 0 || instant["rows"] == 0,
            "{instant}"
        );
    }
    assert_eq!(instants[0]["inserts"], 2);
    assert_eq!(instants[1]["updates"], 1);
    let text = lakebed(&["table", "timeline", &lake.text("t")]).success();
    let header = text.lines().next().unwrap();
    for column in ["instant", "took", "rows", "size", "writer", "side by side"] {
        assert!(header.contains(column), "{header}");
    }
    assert_eq!(
        text.lines()
            .filter(|line| line.contains("├") && line.contains("┤"))
            .count(),
        4,
        "{text}"
    );
}

#[test]
fn files_are_listed_for_people_and_for_duckdb() {
    let (lake, _) = table("mor");
    let all = lake.inspect("files", "t", &[]);
    let latest = lake.inspect("files", "t", &["--latest"]);
    assert!(latest.iter().all(|file| file["latest"] == true));
    let bytes = |file: &Value| {
        std::fs::metadata(file["location"].as_str().unwrap())
            .unwrap()
            .len()
    };
    assert!(
        all.iter()
            .all(|file| file["bytes"].as_u64() == Some(bytes(file))),
        "{all:?}"
    );
    let listed = lakebed(&["table", "files", &lake.text("t"), "--latest"]).expect_code(0);
    let bases = latest.iter().filter(|file| file["kind"] == "base");
    let bases: Vec<String> = bases
        .map(|file| format!("'{}'", file["location"].as_str().unwrap()))
        .collect();
    assert_eq!(listed.stdout.trim(), format!("[{}]", bases.join(", ")));
    assert!(
        listed.stderr.contains("log files hold changes"),
        "{}",
        listed.stderr
    );
    let text = lakebed(&["table", "files", &lake.text("t")]).success();
    assert_eq!(text.lines().count(), all.len() + 2);
}

#[test]
fn statistics_count_files_and_what_writes_cost() {
    let (lake, _) = table("cow");
    let statistics = &lake.inspect("stats", "t", &[])[0];
    assert_eq!(statistics["writes"], 4);
    assert_eq!(statistics["base_files"]["files"], 1);
    assert_eq!(statistics["small_files"], 1);
    assert_eq!(statistics["other_files"]["files"], 3);
    assert_eq!(statistics["rows_changed"], 6);
    assert!(statistics["write_amplification"].as_f64().unwrap() > 1.0);
    let text = lakebed(&["table", "stats", &lake.text("t")]).success();
    assert!(text.contains("rows written for each row changed"), "{text}");
}
