//! The demo's second half: looking at what has been written, with our own eyes and others'.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Parser;
use ingest::config::PipelineConfig;
use ingest::source::mysql::connection::{Connection, MySqlOptions};
use ingest::source::mysql::discovery::discover;
use table_format::table::Table;

use super::shop::TABLES;
use crate::cli::Cli;
use crate::compare::{lake_digest, source_digest};
use crate::display::grouped;

/// Prints a result.
#[expect(clippy::print_stdout, reason = "what the demo finds out is its output")]
pub(super) fn say(result: impl std::fmt::Display) {
    println!("{result}");
}

/// Prints the title of a chapter.
pub(super) fn heading(text: &str) {
    eprintln!();
    eprintln!("== {text}");
}

/// Timeline, snapshot query, incremental query, DuckDB.
pub(super) async fn show(lake: &Path) -> Result<()> {
    let orders = lake.join("shop/orders");
    let path = orders.display().to_string();
    heading("The timeline of shop.orders, governed by Apache Hudi's rules");
    lakebed(&["table", "timeline", &path]).await?;
    heading("A snapshot query: base and log files merged while they are read");
    let totals = "SELECT status, count(*) AS orders, sum(total) AS total FROM orders GROUP BY status ORDER BY status";
    lakebed(&["query", totals, "-t", &format!("orders={path}")]).await?;
    heading("An incremental query: what changed since the last but one commit");
    let since = last_but_one(&path).await?;
    lakebed(&["query", "-t", &path, "--since", &since, "--limit", "5"]).await?;
    heading("DuckDB over the Parquet files of the newest file slices");
    duckdb(&path).await
}

/// Runs a command as a user would, showing it first.
async fn lakebed(args: &[&str]) -> Result<()> {
    let quoted = args.iter().map(|arg| {
        if arg.contains(' ') {
            format!("\"{arg}\"")
        } else {
            (*arg).to_owned()
        }
    });
    eprintln!("$ lakebed {}", quoted.collect::<Vec<_>>().join(" "));
    let cli = Cli::try_parse_from(std::iter::once("lakebed").chain(args.iter().copied()))?;
    // The future of a command is large, and this one is inside of a command.
    Box::pin(cli.run(&indicatif::MultiProgress::new()))
        .await
        .map_err(|failure| anyhow::anyhow!("{failure}"))
}

async fn last_but_one(path: &str) -> Result<String> {
    let timeline = Table::open(path).await?.timeline().await?;
    let commits: Vec<_> = timeline.completed_writes().collect();
    let [.., commit, _] = commits.as_slice() else {
        bail!("{path} has fewer than two commits")
    };
    Ok(commit
        .completion
        .as_ref()
        .unwrap_or(&commit.time)
        .to_string())
}

async fn duckdb(path: &str) -> Result<()> {
    let Some(python) = python() else {
        eprintln!("DuckDB is not installed here; `make demo` installs it (scripts/setup)");
        return Ok(());
    };
    let snapshot = Table::open(path).await?.read_optimized(None).await?;
    let base_files = snapshot
        .slices()
        .iter()
        .filter_map(|slice| Some((slice, slice.base_file.as_ref()?)));
    let files: Vec<_> = base_files
        .map(|(slice, base)| format!("{path}/{}", slice.path_of(&base.to_string())))
        .collect();
    let script = "import duckdb, sys\nprint(duckdb.sql('SELECT count(*), sum(total) FROM read_parquet(' + repr(sys.argv[1:]) + ')'))";
    let counted = Command::new(python)
        .arg("-c")
        .arg(script)
        .args(&files)
        .output()
        .context("running DuckDB")?;
    if !counted.status.success() {
        bail!(
            "DuckDB cannot read the files: {}",
            String::from_utf8_lossy(&counted.stderr)
        );
    }
    eprintln!(
        "{} Parquet files; rows in log files come in with the next compaction",
        files.len()
    );
    say(String::from_utf8_lossy(&counted.stdout).trim_end());
    Ok(())
}

/// The interpreter with DuckDB: of `LAKEBED_INTEROP`, or of the directory that scripts/setup fills.
fn python() -> Option<PathBuf> {
    let folder = std::env::var_os("LAKEBED_INTEROP")
        .map_or_else(|| PathBuf::from(".interop"), PathBuf::from);
    Some(folder.join("bin/python")).filter(|python| python.is_file())
}

/// Compares each source table with its lake table, row by row; says whether all are equal.
pub(super) async fn compare(
    lake: &Path,
    config: &PipelineConfig,
    options: &MySqlOptions,
) -> Result<bool> {
    heading("Source = lake? Every row of every table, all columns");
    let mut connection = Connection::connect(options).await?;
    let discovered = discover(&mut connection, config.source.tables.regex()).await?;
    let mut all_equal = true;
    say(format_args!(
        "{:<12} {:>12} {:>12}  verdict",
        "table", "source rows", "lake rows"
    ));
    for name in TABLES {
        let source = discovered.iter().find(|found| found.table.name == name);
        let source = Arc::new(
            source
                .with_context(|| format!("{name} is gone"))?
                .table
                .clone(),
        );
        let there = source_digest(options, &source).await?;
        let here =
            lake_digest(&lake.join("shop").join(name).display().to_string(), &source).await?;
        let verdict = if there == here { "equal" } else { "DIFFERENT" };
        all_equal &= there == here;
        say(format_args!(
            "{name:<12} {:>12} {:>12}  {verdict}",
            grouped(there.rows),
            grouped(here.rows)
        ));
    }
    Ok(all_equal)
}

/// Commands for those who keep the lake.
pub(super) fn look_around(lake: &Path) {
    let lake = lake.display();
    say(format_args!(
        "\nThe lake stays in {lake}. Look around:\n  \
         lakebed table show {lake}/shop/orders\n  \
         lakebed table timeline {lake}/shop/orders\n  \
         lakebed query \"SELECT count(*) FROM orders\" -t orders={lake}/shop/orders\n  \
         lakebed query -t {lake}/shop/every_type --format json"
    ));
}
