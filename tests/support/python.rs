//! Outside readers without Java: hudi-rs, and DuckDB over the Parquet files.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{installed, interop, root};

/// The rows of a table as hudi-rs reads them.
pub(crate) fn hudi_rs_rows(table: &Path) -> Vec<String> {
    lines(&python(
        "hudi_rs.py",
        &["read", table.to_str().unwrap()],
        "",
    ))
}

/// The rows of the latest base files of a copy-on-write table as DuckDB reads them; hudi-rs names the files.
pub(crate) fn duckdb_rows(table: &Path) -> Vec<String> {
    let files = python("hudi_rs.py", &["files", table.to_str().unwrap()], "");
    let files: Vec<_> = files
        .lines()
        .map(|file| format!("{}/{file}\n", table.display()))
        .collect();
    lines(&python("duck.py", &["read", "@-"], &files.concat()))
}

/// The interpreter of the venv that `scripts/setup` makes.
pub(crate) fn interpreter(setup: &str) -> Command {
    let mut command = Command::new(installed(interop().join("bin/python"), setup));
    command.current_dir(root().join("tests/interop"));
    command
}

fn python(script: &str, words: &[&str], input: &str) -> String {
    let mut command = interpreter("scripts/setup");
    command.arg(script).args(words).stdin(Stdio::piped());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} {words:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
