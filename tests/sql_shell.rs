//! `lakebed sql` with a script, and what is generated from the command line.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{SmallLake, lakebed};

fn lake() -> SmallLake {
    let lake = SmallLake::new();
    let rows = [
        json!({"id": 1, "name": "a;b"}),
        json!({"id": 2, "name": "c"}),
    ];
    lake.write("shop/t", "insert", &rows, &["--record-key", "id"]);
    lake
}

/// Runs a script from standard input.
fn script(lake: &SmallLake, text: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lakebed"))
        .args(["sql", "--lake", &lake.text(""), "--format", "csv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

#[test]
fn a_script_runs_statements_and_commands_in_turn() {
    let text = "-- a report\nSELECT id\nFROM t WHERE name = 'a;b';\n.tables\n.mode json\nSELECT count(*) AS n FROM shop.t";
    let output = script(&lake(), text);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        stdout,
        "id\n1\nshop.t\n{\"n\":2}\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success());
}

#[test]
fn a_script_ends_at_its_first_failure() {
    let output = script(
        &lake(),
        "SELECT 1 AS one; SELECT * FROM nowhere; SELECT 2 AS two;",
    );
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "one\n1\n");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("no table `nowhere`; there are shop.t"),
        "{stderr}"
    );
}

#[test]
fn commands_show_what_the_lake_holds() {
    let lake = lake();
    let run = |command: &str| lakebed(&["sql", "--lake", &lake.text(""), "-c", command]);
    assert!(run(".schema t").success().contains("name"));
    assert!(run(".timeline t").success().contains("side by side"));
    assert!(run(".files shop.t").success().contains(".parquet"));
    let help = run(".help").success();
    assert!(
        help.contains(".timeline TABLE") && help.contains("hudi_as_of"),
        "{help}"
    );
    assert!(
        run(".mode parquet")
            .expect_code(1)
            .stderr
            .contains("none of table, json and csv")
    );
    assert!(
        run(".what")
            .expect_code(1)
            .stderr
            .contains(".help lists them")
    );
}

#[test]
fn completions_and_manual_pages_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = lakebed(&["completions", shell]).success();
        assert!(
            script.contains("timeline") && script.contains("read-optimized"),
            "{shell}"
        );
    }
    let dir = TempDir::new().unwrap();
    lakebed(&["man", dir.path().to_str().unwrap()]).success();
    let page = std::fs::read_to_string(dir.path().join("lakebed-table-files.1")).unwrap();
    assert!(page.contains("read_parquet"), "{page}");
    assert!(dir.path().join("lakebed.1").exists());
}
