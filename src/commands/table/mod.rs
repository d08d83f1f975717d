//! `lakebed table`: what a table is, what has happened to it, and its services. A file per subcommand.

mod create;
mod settings;
mod show;
mod timeline;
mod write;

use std::io::Write as _;

use super::Failure;

/// Subcommands of `lakebed table`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum TableCommand {
    /// Properties, schema and sizes
    #[command(after_help = "Example:\n  lakebed table show lake/shop/orders")]
    Show(TableArgs),
    /// Make an empty table
    #[command(after_help = "\
Examples:
  lakebed table create lake/trips --schema trips.avsc --record-key id --partition-by city --ordering ts
  lakebed table create lake/events --schema events.parquet --table-type mor --record-key id \\
      --partition-by at --set hoodie.keygen.timebased.timestamp.type=EPOCHMILLISECONDS \\
      --set hoodie.keygen.timebased.output.dateformat=yyyy/MM/dd")]
    Create(create::CreateArgs),
    /// Write rows of a file, in one instant, which is printed
    #[command(after_help = "\
Examples:
  lakebed table write lake/trips --input trips.parquet --op bulk-insert --record-key id
  lakebed table write lake/trips --input changes.csv --op upsert
  jq -c .payload events.json | lakebed table write lake/trips --input - --input-format json --op upsert
  lakebed table write lake/trips --op delete-partition --partition 'day=2024-01-*'

Keys of bulk-insert and insert are not looked up: rows that are there already are there twice afterwards.")]
    Write(write::WriteArgs),
    /// The instants, oldest first
    #[command(after_help = "Example:\n  lakebed table timeline lake/shop/orders --json")]
    Timeline(TableArgs),
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
        TableCommand::Show(args) => show::show(args).await.map_err(Failure::other)?,
        TableCommand::Create(args) => create::create(args).await?,
        TableCommand::Write(args) => write::write(args).await?,
        TableCommand::Timeline(args) => timeline::timeline(args).await.map_err(Failure::other)?,
    };
    let mut out = std::io::stdout().lock();
    for line in lines {
        if writeln!(out, "{line}").is_err() {
            // Whoever reads has enough.
            break;
        }
    }
    Ok(())
}
