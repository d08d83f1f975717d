//! `lakebed table`: what a table is, what has happened to it, and its services. A file per subcommand.

mod fsck;
mod restore;
mod rollback;
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
    /// Undo a failed write, the latest completed one, or a compaction or clustering under way
    #[command(after_help = "\
Example:
  lakebed table rollback lake/shop/orders --instant 20261121093000123

Failed writes are rolled back by the next write anyway. A completed write can be rolled back while it is the latest, is not
savepointed, and no compaction, clustering or clean depends on it. With its rows goes the position of the source that its
commit carries: the pipeline that writes the table reads those changes again. Of a compaction or clustering the plan stays.
The metadata table, if there is one, is taken out of use; engines that want one build it anew.")]
    Rollback(rollback::RollbackArgs),
    /// Take the table back to a savepoint
    #[command(after_help = "\
Examples:
  lakebed table restore lake/shop/orders --to 20261121093000123 --dry-run   show what would go
  lakebed table restore lake/shop/orders --to 20261121093000123

Every write after the savepoint is undone, with its rows and with the positions of the source that the commits carry: the
pipeline that writes the table reads those changes again, if the source still has them. Stop all writers first. A restore
that was killed is finished by the next one, or by the next writer.")]
    Restore(restore::RestoreArgs),
    /// Check timeline, files and statistics against each other, and mend what is wrong
    #[command(after_help = "\
Examples:
  lakebed table fsck lake/shop/orders
  lakebed table fsck lake/shop/orders --repair --json

Every finding names a file, what is wrong with it, and what a repair does. What cannot be mended without losing rows is
only reported. The exit code is 1 when findings are left.")]
    Fsck(fsck::FsckArgs),
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
    let mut failure = None;
    let lines = match &command {
        TableCommand::Show(args) => show::show(args).await,
        TableCommand::Timeline(args) => timeline::timeline(args).await,
        TableCommand::Rollback(args) => rollback::rollback(args).await,
        TableCommand::Restore(args) => restore::restore(args).await,
        TableCommand::Fsck(args) => fsck::fsck(args).await.map(|(lines, left)| {
            failure = left;
            lines
        }),
    };
    let lines = lines.map_err(Failure::other)?;
    let mut out = std::io::stdout().lock();
    for line in lines {
        if writeln!(out, "{line}").is_err() {
            // Whoever reads has enough.
            break;
        }
    }
    failure.map_or(Ok(()), Err)
}
