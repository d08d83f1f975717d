//! `lakebed table`: what a table is, what has happened to it, and its services. A file per subcommand.

mod archive;
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
    #[command(
        after_help = "Examples:\n  lakebed table timeline lake/shop/orders --json\n  lakebed table timeline lake/shop/orders --archived"
    )]
    Timeline(timeline::TimelineArgs),
    /// Move old instants into the archive
    #[command(
        after_help = "Example:\n  lakebed table archive lake/shop/orders --set hoodie.keep.max.commits=50 --set hoodie.keep.min.commits=40"
    )]
    Archive(archive::ArchiveArgs),
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
        TableCommand::Archive(args) => archive::archive(args).await,
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
