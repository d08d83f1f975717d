//! The archived timeline: what Hudi archived we read, what we archive Hudi reads, and either goes on where the other stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Database, Pipeline, Shop, Spark, assert_same_rows, hudi_rs_rows, lake_rows, lakebed, query,
    root, rows_of_reader, run_until_current, source_rows,
};

/// Archives early: more than five commits go down to three, three files of a level are merged.
const EARLY: [&str; 5] = [
    "hoodie.keep.max.commits=5",
    "hoodie.keep.min.commits=3",
    "hoodie.clean.commits.retained=1",
    "hoodie.compact.inline.max.delta.commits=1",
    "hoodie.timeline.compaction.batch.size=3",
];
const SCHEMA: &str = "id int, v string, ts bigint";

/// An unpacked table of the golden ones.
fn golden(name: &str) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let archive = root().join(format!("tests/golden/{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.arg("xzpf").arg(archive).arg("-C").arg(dir.path());
    assert!(tar.status().unwrap().success());
    let table = dir.path().join("table");
    (dir, table)
}

/// The instants of both timelines, as `lakebed table timeline --archived` prints them.
fn timeline(table: &Path) -> Vec<Value> {
    let words = [
        "table",
        "timeline",
        table.to_str().unwrap(),
        "--archived",
        "--json",
    ];
    let lines = lakebed(&words).success();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Completed instants as `time action completion`; version 6 keeps no completion times.
fn completed(instants: &[Value], time: &str, with_completion: bool) -> BTreeSet<String> {
    let of = |instant: &Value, key: &str| instant[key].as_str().unwrap_or_default().to_owned();
    let is_completed = |instant: &&Value| of(instant, "state").eq_ignore_ascii_case("completed");
    let shown: Vec<String> = instants
        .iter()
        .filter(is_completed)
        .map(|instant| {
            let completion = if with_completion {
                of(instant, "completion")
            } else {
                String::new()
            };
            format!(
                "{} {} {completion}",
                of(instant, time),
                of(instant, "action")
            )
        })
        .collect();
    let set: BTreeSet<String> = shown.iter().cloned().collect();
    assert_eq!(
        set.len(),
        shown.len(),
        "an instant is shown twice: {shown:?}"
    );
    set
}

fn ours(table: &Path) -> BTreeSet<String> {
    completed(&timeline(table), "instant", true)
}

fn sparks(spark: &mut Spark, table: &Path) -> BTreeSet<String> {
    completed(&spark.timeline(table), "time", true)
}

fn archived_count(table: &Path) -> usize {
    timeline(table)
        .iter()
        .filter(|instant| instant["archived"] == true)
        .count()
}

/// `lakebed table archive` with these settings; its JSON.
fn archive(table: &Path, settings: &[&str], more: &[&str]) -> Value {
    let mut words = vec!["table", "archive", table.to_str().unwrap(), "--json"];
    words.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    words.extend(more);
    serde_json::from_str(&lakebed(&words).success()).unwrap()
}

#[test]
fn instants_that_hudi_archived_are_shown_with_what_they_wrote() {
    for (name, archived) in [
        ("v6_cow_archived", 14),
        ("v8_cow_archived", 13),
        ("v9_mor_archived", 10),
    ] {
        let (_dir, table) = golden(name);
        let instants = timeline(&table);
        assert_eq!(archived_count(&table), archived, "{name}");
        let times: Vec<&str> = instants
            .iter()
            .map(|instant| instant["instant"].as_str().unwrap())
            .collect();
        assert!(times.is_sorted(), "{times:?}");
        let writes = instants
            .iter()
            .filter(|instant| instant["action"] != "clean")
            .inspect(|write| assert!(write["rows"].as_i64().unwrap() > 0, "{write}"));
        assert_eq!(writes.count(), 10, "{name}");
        let text = lakebed(&["table", "timeline", table.to_str().unwrap(), "--archived"]).success();
        // Header and rule come first.
        assert_eq!(text.lines().count(), instants.len() + 2);
        assert_eq!(text.matches(" archived").count(), archived);
        let active = lakebed(&["table", "timeline", table.to_str().unwrap()]).success();
        assert_eq!(active.lines().count(), instants.len() - archived + 2);
    }
}

#[test]
fn a_table_of_hudi_is_archived_further() {
    let (_dir, table) = golden("v8_cow_archived");
    let settings = [
        "hoodie.keep.max.commits=2",
        "hoodie.keep.min.commits=1",
        "hoodie.clean.policy=KEEP_LATEST_FILE_VERSIONS",
    ];
    let before = ours(&table);
    let rows = query(&table, &[]);
    let kept = archive(&table, &settings, &[]);
    assert_eq!(kept["archived"], json!([]), "two commits are not too many");
    let more = ["hoodie.keep.max.commits=1", "hoodie.keep.min.commits=0"];
    let words = [
        "table",
        "archive",
        table.to_str().unwrap(),
        "--set",
        more[0],
        "--set",
        more[1],
    ];
    assert!(lakebed(&words).stderr.contains("hoodie.keep.min.commits=0"));
    let (_dir, table) = golden("v9_cow_basic");
    let basic = ours(&table);
    let settings = [
        "hoodie.keep.max.commits=2",
        "hoodie.keep.min.commits=1",
        "hoodie.clean.policy=KEEP_LATEST_FILE_VERSIONS",
    ];
    let planned = archive(&table, &settings, &["--dry-run"]);
    assert_eq!(archived_count(&table), 0);
    let done = archive(&table, &settings, &[]);
    assert_eq!(done["archived"], planned["archived"]);
    assert_eq!(archived_count(&table), basic.len() - 1);
    assert_eq!(ours(&table), basic);
    assert!(!before.is_empty() && !rows.is_empty());
}

#[test]
fn hazard_25_a_pipeline_resumes_from_a_checkpoint_in_the_archive() {
    let database = Database::mariadb();
    Shop::open(&database, 200);
    let pipeline = Pipeline::new(&database, "cow", r"shop\.stock");
    run_until_current(&pipeline);
    let table = pipeline.table("shop.stock");
    // Commits of another engine carry no checkpoint: of ours, a copy without one stands in for them.
    strip_checkpoints_of_new_commits(&database, &pipeline, &table);
    let settings = [
        "hoodie.keep.max.commits=2",
        "hoodie.keep.min.commits=1",
        "hoodie.clean.policy=KEEP_LATEST_FILE_VERSIONS",
    ];
    let report = archive(&table, &settings, &[]);
    assert!(
        report["archived"].as_array().unwrap().len() >= 3,
        "{report}"
    );
    let active: Vec<Value> = timeline(&table)
        .into_iter()
        .filter(|instant| instant["archived"] != true && instant["state"] == "completed")
        .collect();
    let is_carrier = |instant: &Value| {
        instant["extra_metadata"]
            .get("lakebed.checkpoint")
            .is_some()
    };
    assert!(!active.iter().any(is_carrier), "{active:?}");
    database.sql("UPDATE shop.stock SET quantity = 77 WHERE sku = 'S7'");
    run_until_current(&pipeline);
    let source = source_rows(&database, "shop.stock");
    assert_same_rows(
        "resumed",
        &source,
        &lake_rows(&database, "shop.stock", &table),
    );
}

/// Renames the key of the checkpoint in all but the first two commits: the same length, so that the files stay whole.
fn strip_checkpoints_of_new_commits(database: &Database, pipeline: &Pipeline, table: &Path) {
    for quantity in 0..3 {
        database.sql(&format!(
            "UPDATE shop.stock SET quantity = {quantity} WHERE sku = 'S3'"
        ));
        run_until_current(pipeline);
    }
    let folder = table.join(".hoodie/timeline");
    let mut commits: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "commit")
        })
        .filter(|path| path.file_name().unwrap().to_string_lossy().contains('_'))
        .collect();
    commits.sort();
    let (key, other) = (b"lakebed.checkpoint", b"another.checkpoint");
    for path in &commits[commits.len() - 2..] {
        let mut bytes = std::fs::read(path).unwrap();
        let at = bytes
            .windows(key.len())
            .position(|window| window == key)
            .unwrap();
        bytes[at..at + key.len()].copy_from_slice(other);
        std::fs::write(path, bytes).unwrap();
    }
}

fn options(table_type: &str, is_archiving: bool) -> Value {
    json!({
        "hoodie.datasource.write.table.type": table_type,
        "hoodie.datasource.write.recordkey.field": "id",
        "hoodie.table.ordering.fields": "ts",
        "hoodie.table.timeline.timezone": "UTC",
        "hoodie.metadata.enable": "false",
        "hoodie.bloom.index.filter.type": "SIMPLE",
        "hoodie.clean.automatic": "false",
        "hoodie.clean.commits.retained": "1",
        "hoodie.archive.automatic": is_archiving.to_string(),
        "hoodie.keep.max.commits": "5",
        "hoodie.keep.min.commits": "3",
        "hoodie.compact.inline": "false",
        "hoodie.compact.inline.max.delta.commits": "1",
        "hoodie.timeline.compaction.batch.size": "3"
    })
}

/// A table that Spark writes: each commit changes a row; on copy-on-write it adds one too, on merge-on-read that would make
/// base files of all of them.
struct SparkTable {
    _dir: TempDir,
    path: PathBuf,
    version: u32,
    table_type: &'static str,
    commits: i64,
}

impl SparkTable {
    fn new(version: u32, table_type: &'static str) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("table");
        Self {
            _dir: dir,
            path,
            version,
            table_type,
            commits: 0,
        }
    }

    fn commit(&mut self, spark: &mut Spark, commits: i64, is_archiving: bool) {
        for _ in 0..commits {
            self.commits += 1;
            let n = self.commits;
            let new = |id: i64| json!({"id": id, "v": "new", "ts": n});
            let changed = json!({"id": n % 4, "v": format!("v{n}"), "ts": n});
            let rows = match (n, self.table_type) {
                (1, _) => (0..6).map(new).collect(),
                (_, "COPY_ON_WRITE") => json!([changed, new(100 + n)]),
                _ => json!([changed]),
            };
            let options = options(self.table_type, is_archiving);
            spark.upsert_with(&self.path, self.version, SCHEMA, &rows, &options);
        }
    }
}

type Answers = BTreeMap<String, BTreeSet<String>>;

/// Fails with the first question whose answers differ.
fn assert_same_answers(what: &str, left: &Answers, right: &Answers) {
    assert!(left.keys().eq(right.keys()), "{what}");
    for (question, rows) in left {
        let (only_left, only_right) = (rows - &right[question], &right[question] - rows);
        assert!(
            only_left.is_empty() && only_right.is_empty(),
            "{what}, {question}: only left {only_left:?}, only right {only_right:?}"
        );
    }
}

/// Without the windows that hold archived commits: Spark falls back to a scan of the newest slices for them, and leaves out the
/// rows that have changed again since the end of the window. (Those up to the newest commit it answers in full.)
fn without_fallbacks(answers: &Answers, table: &Path) -> Answers {
    let archived: Vec<String> = timeline(table)
        .iter()
        .filter(|instant| instant["archived"] == true)
        .map(|instant| instant["completion"].as_str().unwrap().to_owned())
        .collect();
    let mut kept = answers.clone();
    kept.retain(|question, _| {
        question.split_once(" to ").is_none_or(|(begin, end)| {
            let is_within = |time: &String| time.as_str() > begin && time.as_str() <= end;
            !archived.iter().any(is_within)
        })
    });
    kept
}

/// What Spark says of a table: the rows, and those of windows and of the past.
fn answers(spark: &mut Spark, table: &Path, instants: &[(String, String)]) -> Answers {
    let set = |rows: Vec<String>| -> BTreeSet<String> { rows.into_iter().collect() };
    let mut answers = BTreeMap::from([("snapshot".to_owned(), set(spark.snapshot(table)))]);
    for (begin, completion) in instants {
        let rows = spark.time_travel(table, begin);
        answers.insert(format!("as of {begin}"), set(rows));
        let (_, last) = &instants[instants.len() - 1];
        if completion < last {
            let rows = spark.incremental(table, completion, last);
            answers.insert(format!("since {completion}"), set(rows));
        }
    }
    for pair in instants.windows(2) {
        let rows = spark.incremental(table, &pair[0].1, &pair[1].1);
        answers.insert(format!("{} to {}", pair[0].1, pair[1].1), set(rows));
    }
    answers
}

/// The same, asked of `lakebed query`.
fn our_answers(table: &Path, instants: &[(String, String)]) -> Answers {
    let normal = |line: &String| serde_json::from_str::<Value>(line).unwrap().to_string();
    let ask =
        |words: &[&str]| -> BTreeSet<String> { query(table, words).iter().map(normal).collect() };
    let mut answers = BTreeMap::from([("snapshot".to_owned(), ask(&[]))]);
    for (begin, completion) in instants {
        answers.insert(format!("as of {begin}"), ask(&["--as-of", begin]));
        let (_, last) = &instants[instants.len() - 1];
        if completion < last {
            let rows = ask(&["--since", completion, "--until", last]);
            answers.insert(format!("since {completion}"), rows);
        }
    }
    for pair in instants.windows(2) {
        let rows = ask(&["--since", &pair[0].1, "--until", &pair[1].1]);
        answers.insert(format!("{} to {}", pair[0].1, pair[1].1), rows);
    }
    answers
}

/// Begin and completion of some of the writes: the oldest, some in the middle, the newest.
fn chosen_writes(table: &Path) -> Vec<(String, String)> {
    let writes: Vec<(String, String)> = timeline(table)
        .iter()
        .filter(|instant| instant["extra_metadata"].is_object())
        .map(|instant| {
            let text = |key: &str| instant[key].as_str().unwrap().to_owned();
            (text("instant"), text("completion"))
        })
        .collect();
    let last = writes.len() - 1;
    [0, 1, last / 2, last - 2, last]
        .iter()
        .map(|&position| writes[position].clone())
        .collect()
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn spark_reads_and_continues_what_we_archived() {
    let mut spark = Spark::shared();
    for (version, table_type) in [
        (9, "COPY_ON_WRITE"),
        (9, "MERGE_ON_READ"),
        (8, "MERGE_ON_READ"),
    ] {
        let what = format!("{version} {table_type}");
        let mut lake = SparkTable::new(version, table_type);
        lake.commit(&mut spark, 9, false);
        let instants = chosen_writes(&lake.path);
        let before = answers(&mut spark, &lake.path, &instants);
        let mine = our_answers(&lake.path, &instants);
        assert_same_answers(&format!("{what}, not archived"), &mine, &before);
        let all = ours(&lake.path);

        let report = archive(&lake.path, &EARLY, &[]);
        assert_eq!(
            report["archived"].as_array().unwrap().len(),
            6,
            "{what}: {report}"
        );
        assert_eq!(ours(&lake.path), all, "{what}");
        assert_eq!(sparks(&mut spark, &lake.path), all, "{what}");
        let mine = our_answers(&lake.path, &instants);
        assert_same_answers(&format!("{what} by us"), &mine, &before);
        let theirs = answers(&mut spark, &lake.path, &instants);
        assert_same_answers(
            &format!("{what} by Spark"),
            &without_fallbacks(&theirs, &lake.path),
            &without_fallbacks(&before, &lake.path),
        );
        let normal = |line: &String| serde_json::from_str::<Value>(line).unwrap().to_string();
        let hudi_rs: BTreeSet<String> = hudi_rs_rows(&lake.path).iter().map(normal).collect();
        assert_eq!(hudi_rs, before["snapshot"], "{what} by hudi-rs");
        spark.judge(&lake.path, false);

        lake.commit(&mut spark, 4, true);
        assert!(
            archived_count(&lake.path) > 6,
            "{what}: Spark archived nothing"
        );
        assert_eq!(ours(&lake.path), sparks(&mut spark, &lake.path), "{what}");
        let later = chosen_writes(&lake.path);
        let (mine, theirs) = (
            our_answers(&lake.path, &later),
            answers(&mut spark, &lake.path, &later),
        );
        assert_same_answers(
            &format!("{what}, archived by both"),
            &without_fallbacks(&mine, &lake.path),
            &without_fallbacks(&theirs, &lake.path),
        );
        spark.judge(&lake.path, true);
    }
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn spark_and_we_archive_in_turns() {
    let mut spark = Spark::shared();
    let mut lake = SparkTable::new(9, "COPY_ON_WRITE");
    lake.commit(&mut spark, 3, false);
    let mut known = ours(&lake.path);
    let mut merges = 0;
    for turn in 0..22 {
        let is_ours = turn % 2 == 0;
        lake.commit(&mut spark, 3, !is_ours);
        if is_ours {
            let report = archive(&lake.path, &EARLY, &[]);
            merges += report["merges"].as_u64().unwrap();
        }
        let instants = ours(&lake.path);
        assert!(
            instants.is_superset(&known),
            "turn {turn}: {known:?} {instants:?}"
        );
        assert_eq!(instants.len(), known.len() + 3, "turn {turn}");
        assert_eq!(sparks(&mut spark, &lake.path), instants, "turn {turn}");
        known = instants;
    }
    assert!(merges > 2, "{merges} merges of ours");
    assert!(
        archived_count(&lake.path) > 60,
        "{}",
        archived_count(&lake.path)
    );
    let instants = chosen_writes(&lake.path);
    let (mine, theirs) = (
        our_answers(&lake.path, &instants),
        answers(&mut spark, &lake.path, &instants),
    );
    assert_same_answers(
        "in turns",
        &without_fallbacks(&mine, &lake.path),
        &without_fallbacks(&theirs, &lake.path),
    );
    spark.judge(&lake.path, true);
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn spark_shows_the_same_archived_instants_as_we_do() {
    let mut spark = Spark::shared();
    for name in ["v6_cow_archived", "v8_cow_archived", "v9_mor_archived"] {
        let (_dir, table) = golden(name);
        let statement =
            format!("CALL show_timeline(table => '{name}', limit => 100, showArchived => true)");
        let theirs = spark.sql(&table, name, &statement);
        let mine = timeline(&table);
        assert_eq!(
            completed(&mine, "instant", false),
            completed(&theirs, "instant_time", false),
            "{name}"
        );
        let statement = format!("CALL show_archived_commits(table => '{name}', limit => 100)");
        let commits = spark.sql(&table, name, &statement);
        assert_eq!(commits.len(), 8, "{name}: {commits:?}");
        for commit in commits {
            let same = mine
                .iter()
                .find(|instant| {
                    instant["instant"] == commit["commit_time"] && instant["rows"].is_i64()
                })
                .unwrap();
            assert_eq!(
                same["rows"], commit["total_records_written"],
                "{name} {commit}"
            );
            assert_eq!(
                same["bytes"], commit["total_bytes_written"],
                "{name} {commit}"
            );
            if name != "v6_cow_archived" {
                assert_eq!(
                    same["completion"], commit["state_transition_time"],
                    "{name}"
                );
            }
        }
    }
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn spark_accepts_a_table_of_ours_whose_timeline_was_archived() {
    let database = Database::mariadb();
    Shop::open(&database, 300);
    let mut spark = Spark::shared();
    for table_type in ["cow", "mor"] {
        let pipeline = Pipeline::new(&database, table_type, r"shop\.stock");
        for quantity in 0..8 {
            let change = "UPDATE shop.stock SET quantity = quantity + 1 WHERE sku IN ('S3', 'S5')";
            database.sql(change);
            run_until_current(&pipeline);
            if quantity == 6 {
                archive(&pipeline.table("shop.stock"), &EARLY, &[]);
            }
        }
        let table = pipeline.table("shop.stock");
        assert!(archived_count(&table) >= 4);
        assert_eq!(ours(&table), sparks(&mut spark, &table));
        let source = source_rows(&database, "shop.stock");
        let theirs = rows_of_reader(&database, "shop.stock", &spark.snapshot(&table));
        assert_same_rows(table_type, &source, &theirs);
        spark.judge(&table, table_type == "cow");
    }
}
