//! `lakebed table`: what a table is, what has happened to it, and its services. A file per subcommand.

mod compact;
mod settings;
mod show;
mod timeline;

use std::io::Write as _;

use super::Failure;

/// Subcommands of `lakebed table`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum TableCommand {
    /// Properties, schema and sizes
    #[command(after_help = "Example:\n  lakebed table show lake/shop/orders")]
    Show(TableArgs),
    /// The instants, oldest first
    #[command(after_help = "Example:\n  lakebed table timeline lake/shop/orders --json")]
    Timeline(TableArgs),
    /// Merge the logs of a merge-on-read table into new base files
    #[command(after_help = "\
Examples:
  lakebed table compact lake/shop/orders                                    execute what is planned, then plan and execute the rest
  lakebed table compact lake/shop/orders --schedule-only                    plan, for any engine to execute
  lakebed table compact lake/shop/orders --execute 20261121093000123        execute a plan, of any engine
  lakebed table compact lake/shop/orders --set hoodie.compaction.target.io=1024 --json

Writers may go on meanwhile. A plan whose execution failed stays; executing it again begins anew.")]
    Compact(compact::CompactArgs),
}

/// A table, and how it is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct TableArgs {
    /// The table: a path or URL
    path: String,
    /// JSON instead of text: an object, or one a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(command: TableCommand) -> Result<(), Failure> {
    let lines = match &command {
        TableCommand::Show(args) => show::show(args).await,
        TableCommand::Timeline(args) => timeline::timeline(args).await,
        TableCommand::Compact(args) => compact::compact(args).await,
    };
    let lines = lines.map_err(Failure::other)?;
    let mut out = std::io::stdout().lock();
    for line in lines {
        if writeln!(out, "{line}").is_err() {
            // Whoever reads has enough.
            break;
        }
    }
    Ok(())
}
