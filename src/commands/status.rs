//! `lakebed status`: where each table of a pipeline stands, whether the daemon runs or not.

use ingest::pipeline::{PipelineStatus, TableStatus, status};
use table_format::env::{Env, MemoryBudget};

use super::Failure;
use crate::config;
use crate::display::{grouped, lag};
use crate::output::{aligned, print_lines};

/// Arguments of `lakebed status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lakebed status shop.yaml          a line a table
  lakebed status shop.yaml --json   one JSON object with all that is known

Asks the lake and the source, not the daemon. The lag is what the log holds behind the table's position, in bytes and by the
age of the first event there. Exit code 1: the source does not answer; what the lake says is shown all the same.")]
pub(crate) struct StatusArgs {
    /// The pipeline file (YAML)
    pipeline: String,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: StatusArgs) -> Result<(), Failure> {
    let config = config::load(&args.pipeline).map_err(Failure::configuration)?;
    let env = Env::system(MemoryBudget::new(config.memory_bytes));
    let status = status(&config, env.clock.as_ref()).await?;
    let lines = if args.json {
        vec![serde_json::to_string(&status).map_err(Failure::other)?]
    } else {
        aligned(&rows(&status))
    };
    print_lines(&lines).map_err(Failure::other)?;
    match status.source_error {
        Some(error) => Err(Failure::other(anyhow::anyhow!(error))),
        None => Ok(()),
    }
}

fn rows(status: &PipelineStatus) -> Vec<Vec<String>> {
    const HEADER: [&str; 7] = [
        "table",
        "phase",
        "rows at source",
        "lag",
        "log behind",
        "last commit",
        "pending services",
    ];
    let header = HEADER.map(str::to_owned).to_vec();
    std::iter::once(header)
        .chain(status.tables.iter().map(row))
        .collect()
}

fn row(table: &TableStatus) -> Vec<String> {
    let unknown = || "-".to_owned();
    let phase = match table.snapshot_rows {
        Some(rows) => format!("{}, {} rows", table.phase, grouped(rows)),
        None => table.phase.to_owned(),
    };
    vec![
        table.table.clone(),
        phase,
        table
            .rows_estimated
            .map_or_else(unknown, |rows| format!("~{}", grouped(rows))),
        table
            .lag_seconds
            .map_or_else(unknown, |seconds| lag(seconds.saturating_mul(1000))),
        table
            .lag_bytes
            .map_or_else(unknown, |bytes| format!("{} B", grouped(bytes))),
        table.last_commit.clone().unwrap_or_else(unknown),
        table.pending_services.to_string(),
    ]
}
