//! `lakebed table`: what a table is, what has happened to it, and its services. A file per subcommand.

mod alter;
mod archive;
mod clean;
mod cluster;
mod compact;
mod create;
pub(crate) mod files;
mod fsck;
mod history;
mod restore;
mod rollback;
mod savepoint;
mod settings;
mod show;
mod stats;
pub(crate) mod timeline;
mod version;
mod write;

use std::io::Write as _;

use super::Failure;

/// Subcommands of `lakebed table`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum TableCommand {
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
    /// Rename, drop, add or widen columns in place: no file is rewritten
    #[command(after_help = "\
Examples:
  lakebed table alter lake/shop/orders --rename price=amount
  lakebed table alter lake/shop/orders --drop note --add 'paid:timestamp' --widen 'quantity:bigint' --nullable address
  lakebed table alter lake/shop/orders --rename address.zip=postcode --add 'address.country:string' --json

All is done in one commit, in the order rename, drop, add, widen, nullable. Columns inside of others are named by their path
(struct.column, list.element.column, map.value.column). Key, partition and ordering columns stay as they are.

This is Hudi's schema on read: from the first change on columns are known by their ids, and old files are read under the new
names. Spark and Flink read such a table with hoodie.schema.on.read.enable=true; readers that do not know of it, hudi-rs among
them, find no values in renamed columns of files that are older. Clustering by Spark 1.2.0 loses renamed columns: cluster
with lakebed. Tables with columns of local timestamps, times or timestamps in milliseconds are refused: Hudi could not
open them any more.")]
    Alter(alter::AlterArgs),
    /// Properties, schema and sizes
    #[command(after_help = "Example:\n  lakebed table show lake/shop/orders")]
    Show(TableArgs),
    /// The instants, oldest first
    #[command(
        after_help = "Examples:\n  lakebed table timeline lake/shop/orders --json\n  lakebed table timeline lake/shop/orders --archived"
    )]
    Timeline(timeline::TimelineArgs),
    /// Base and log files
    #[command(after_help = "\
Examples:
  lakebed table files lake/shop/orders
  lakebed table files lake/shop/orders --latest --json
  duckdb -c \"SELECT count(*) FROM read_parquet($(lakebed table files lake/shop/orders --latest))\"")]
    Files(files::FilesArgs),
    /// Every retained version of a row, and the commit that made it
    #[command(
        after_help = "Examples:\n  lakebed table history lake/shop/orders 4711\n  lakebed table history lake/shop/items order_id:4711,item_id:2 --json"
    )]
    History(history::HistoryArgs),
    /// Sizes of files, small files, and what writes cost
    #[command(after_help = "Example:\n  lakebed table stats lake/shop/orders --json")]
    Stats(TableArgs),
    /// Merge the logs of a merge-on-read table into new base files
    #[command(after_help = "\
Examples:
  lakebed table compact lake/shop/orders                                    execute what is planned, then plan and execute the rest
  lakebed table compact lake/shop/orders --schedule-only                    plan, for any engine to execute
  lakebed table compact lake/shop/orders --execute 20261121093000123        execute a plan, of any engine
  lakebed table compact lake/shop/orders --set hoodie.compaction.target.io=1024 --json

Writers may go on meanwhile. A plan whose execution failed stays; executing it again begins anew.")]
    Compact(compact::CompactArgs),
    /// Put small file groups together, in the order of columns if asked for
    #[command(after_help = "\
Examples:
  lakebed table cluster lake/shop/orders                                    execute what is planned, then plan and execute the rest
  lakebed table cluster lake/shop/orders --sort-columns city,ts --set hoodie.layout.optimize.strategy=z-order
  lakebed table cluster lake/shop/orders --set hoodie.clustering.plan.strategy.partition.selected=day=1,day=2
  lakebed table cluster lake/shop/orders --schedule-only                    plan, for any engine to execute
  lakebed table cluster lake/shop/orders --execute 20261121093000123        execute a plan, of any engine; without instant all

Small are file groups below hoodie.clustering.plan.strategy.small.file.limit (300 MiB). Writes to file groups of a pending
plan are refused, so stop other writers, or let the daemon cluster (hoodie.clustering.inline: true in its sink). A plan whose
execution failed stays; executing it again begins anew.")]
    Cluster(cluster::ClusterArgs),
    /// Delete the files that no query needs any more
    #[command(after_help = "\
Examples:
  lakebed table clean lake/shop/orders --dry-run                            show what would go
  lakebed table clean lake/shop/orders --set hoodie.clean.commits.retained=5
  lakebed table clean lake/shop/orders --set hoodie.clean.policy=KEEP_LATEST_FILE_VERSIONS --json
  lakebed table clean lake/shop/orders --schedule-only                      plan, for any engine to execute
  lakebed table clean lake/shop/orders --execute 20261121093000123          execute a plan, of any engine

Without settings the files that queries as of the last 10 commits need stay, as those of savepoints and of pending
compactions do in any case. Pending plans are executed first.")]
    Clean(clean::CleanArgs),
    /// Move old instants into the archive
    #[command(
        after_help = "Example:\n  lakebed table archive lake/shop/orders --set hoodie.keep.max.commits=50 --set hoodie.keep.min.commits=40"
    )]
    Archive(archive::ArchiveArgs),
    /// Undo a failed write, the latest completed one, or a compaction or clustering under way
    #[command(after_help = "\
Example:
  lakebed table rollback lake/shop/orders --instant 20261121093000123

Failed writes are rolled back by the next write anyway. A completed write can be rolled back while it is the latest, is not
savepointed, and no compaction, clustering or clean depends on it. With its rows goes the position of the source that its
commit carries: the pipeline that writes the table reads those changes again. Of a compaction or clustering the plan stays.
The metadata table, if there is one, is taken out of use; engines that want one build it anew.")]
    Rollback(rollback::RollbackArgs),
    /// Make, list and delete savepoints: commits whose files stay
    #[command(subcommand)]
    Savepoint(savepoint::SavepointCommand),
    /// Take the table back to a savepoint
    #[command(after_help = "\
Examples:
  lakebed table restore lake/shop/orders --to 20261121093000123 --dry-run   show what would go
  lakebed table restore lake/shop/orders --to 20261121093000123

Every write after the savepoint is undone, with its rows and with the positions of the source that the commits carry: the
pipeline that writes the table reads those changes again, if the source still has them. Stop all writers first. A restore
that was killed is finished by the next one, or by the next writer.")]
    Restore(restore::RestoreArgs),
    /// Take the table to a newer version of the format
    #[command(after_help = "\
Examples:
  lakebed table upgrade lake/shop/orders
  lakebed table upgrade lake/shop/orders --to 8 --json

Stop all writers first; queries that are under way may fail. Failed writes are rolled back and all logs are merged before the
change. An upgrade that was killed leaves a table of one version or the other; the same command finishes it. An ordering
field of a merge-on-read table of version 6 decides between rows afterwards, whatever its payload class was, as after an
upgrade by Hudi. The metadata table, if there is one, is taken out of use; engines that want one build it anew.")]
    Upgrade(version::UpgradeArgs),
    /// Take the table to an older version of the format
    #[command(after_help = "\
Examples:
  lakebed table downgrade lake/shop/orders --to 6                           for engines with Hudi 0.14 or 0.15
  lakebed table downgrade lake/shop/orders --to 8                           for engines with Hudi 1.0

What is said of `lakebed table upgrade` goes for this, too. Engines of newer releases upgrade a table at their first write,
unless hoodie.write.auto.upgrade=false.")]
    Downgrade(version::DowngradeArgs),
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
        TableCommand::Create(args) => create::create(args).await?,
        TableCommand::Write(args) => write::write(args).await?,
        TableCommand::Alter(args) => alter::alter(args).await?,
        TableCommand::Show(args) => show::show(args).await.map_err(Failure::other)?,
        TableCommand::Timeline(args) => timeline::timeline(args).await.map_err(Failure::other)?,
        TableCommand::Files(args) => files::files(args).await.map_err(Failure::other)?,
        TableCommand::History(args) => {
            return history::history(args).await.map_err(Failure::other);
        }
        TableCommand::Stats(args) => stats::stats(args).await.map_err(Failure::other)?,
        TableCommand::Compact(args) => compact::compact(args).await.map_err(Failure::other)?,
        TableCommand::Cluster(args) => cluster::cluster(args).await.map_err(Failure::other)?,
        TableCommand::Clean(args) => clean::clean(args).await.map_err(Failure::other)?,
        TableCommand::Archive(args) => archive::archive(args).await.map_err(Failure::other)?,
        TableCommand::Savepoint(command) => savepoint::savepoint(command)
            .await
            .map_err(Failure::other)?,
        TableCommand::Rollback(args) => rollback::rollback(args).await.map_err(Failure::other)?,
        TableCommand::Restore(args) => restore::restore(args).await.map_err(Failure::other)?,
        TableCommand::Upgrade(args) => version::upgrade(args).await.map_err(Failure::other)?,
        TableCommand::Downgrade(args) => version::downgrade(args).await.map_err(Failure::other)?,
        TableCommand::Fsck(args) => {
            let (lines, left) = fsck::fsck(args).await.map_err(Failure::other)?;
            failure = left;
            lines
        }
    };
    let mut out = std::io::stdout().lock();
    for line in lines {
        if writeln!(out, "{line}").is_err() {
            // Whoever reads has enough.
            break;
        }
    }
    failure.map_or(Ok(()), Err)
}
