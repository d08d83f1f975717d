//! `lakebed resnapshot`: asks a pipeline to load a table anew, or some of its rows.

use ingest::pipeline::Resnapshot;

use super::Failure;
use crate::config;

/// Arguments of `lakebed resnapshot`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lakebed resnapshot shop.yaml shop.orders
  lakebed resnapshot shop.yaml shop.orders --where \"created >= '2026-11-01'\"

Leaves a request in the lake. A running daemon takes it up within seconds, others at their next start. The whole table is
replaced in one commit, so that rows that are gone at the source go, too; with --where rows are written over those that are
there, and none is removed. Tables that are merged into one lake table are loaded together: name any of them. The other
tables wait meanwhile; nothing is lost.")]
pub(crate) struct ResnapshotArgs {
    /// The pipeline file (YAML)
    pipeline: String,
    /// The table at the source: DATABASE.TABLE
    table: String,
    /// Only rows that meet this condition, in the source's SQL
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
}

pub(crate) async fn run(args: ResnapshotArgs) -> Result<(), Failure> {
    let config = config::load(&args.pipeline).map_err(Failure::configuration)?;
    let names = args.table.split_once('.');
    let Some((database, table)) =
        names.filter(|(database, table)| config.source.tables.matches(database, table))
    else {
        return Err(Failure::configuration(anyhow::anyhow!(
            "{} is no table of {}: source.tables is `{}`",
            args.table,
            args.pipeline,
            config.source.tables
        )));
    };
    let request = Resnapshot {
        lake_table: config.sink_table(database, table),
        condition: args.condition,
    };
    request.request(&config).await?;
    eprintln!(
        "{}: asked for; the daemon takes it up within seconds, or at its next start",
        args.table
    );
    Ok(())
}
