//! `docs/reading.md` does what it says: its commands are taken out of the document, run, and their output is compared.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{installed, interop, root};

/// A command of the document.
#[derive(Debug)]
struct Block {
    /// Who runs it: `setup`, `lakebed`, `duckdb`, `hudi-rs`, `spark`.
    runner: String,
    /// `sh` or `python`.
    language: String,
    text: String,
    /// The output, unless it does not matter.
    expected: Option<String>,
}

/// The blocks behind `<!-- run: RUNNER -->`; a block of language `text` right after one is its output.
fn blocks() -> Vec<Block> {
    let document = std::fs::read_to_string(root().join("docs/reading.md")).unwrap();
    let mut found: Vec<Block> = Vec::new();
    let mut runner = None;
    let mut parts = document.split("```");
    while let (Some(prose), Some(fenced)) = (parts.next(), parts.next()) {
        let (language, text) = fenced.split_once('\n').unwrap();
        if let Some((_, marked)) = prose.rsplit_once("<!-- run: ") {
            runner = Some(marked.split(" -->").next().unwrap().to_owned());
        }
        match (language, runner.take(), found.last_mut()) {
            ("text", _, Some(block)) if prose.trim().is_empty() => {
                block.expected = Some(text.to_owned());
            }
            (_, Some(runner), _) => found.push(Block {
                runner,
                language: language.to_owned(),
                text: text.to_owned(),
                expected: None,
            }),
            (_, None, _) => {}
        }
    }
    found
}

fn run(block: &Block, directory: &Path) {
    let python = installed(interop().join("bin/python"), "scripts/setup");
    let mut command = match block.language.as_str() {
        "sh" => Command::new("sh"),
        "python" => Command::new(python),
        other => panic!("nothing runs {other}"),
    };
    let binary = Path::new(env!("CARGO_BIN_EXE_lakebed")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let bundle = interop().join("jars/hudi-spark3.5-bundle_2.12-1.2.0.jar");
    let output = command
        .args([
            if block.language == "sh" { "-ec" } else { "-c" },
            &block.text,
        ])
        .current_dir(directory)
        .env("PATH", path)
        .env("HUDI_BUNDLE", bundle)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{block:?}: {stderr}");
    if let Some(expected) = &block.expected {
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(&stdout, expected, "{block:?}: {stderr}");
    }
}

/// Runs what these runners run, on the tables that the set-up makes; returns how many commands.
fn run_all(runners: &[&str]) -> usize {
    let directory = TempDir::new().unwrap();
    let is_wanted =
        |block: &&Block| runners.contains(&block.runner.as_str()) || block.runner == "setup";
    let blocks = blocks();
    blocks
        .iter()
        .filter(is_wanted)
        .inspect(|block| run(block, directory.path()))
        .count()
}

#[test]
fn lakebed_duckdb_and_hudi_rs_read_as_the_document_says() {
    assert_eq!(run_all(&["lakebed", "duckdb", "hudi-rs"]), 5);
}

#[test]
#[ignore = "needs Apache Hudi on Spark: make test-interop"]
fn spark_reads_as_the_document_says() {
    installed(
        interop().join("jars/hudi-spark3.5-bundle_2.12-1.2.0.jar"),
        "scripts/setup interop",
    );
    assert_eq!(run_all(&["spark"]), 2);
}
