//! `lakebed table savepoint`: commits whose files stay, and to which the table can be taken back.

use std::collections::BTreeMap;

use serde_json::json;
use table_format::Result;
use table_format::env::{Env, MemoryBudget};
use table_format::service::{Savepoint, Services};
use table_format::table::Table;
use table_format::timeline::InstantTime;

/// Savepoints list names, not rows.
const MEMORY_BYTES: u64 = 64 << 20;

/// Subcommands of `lakebed table savepoint`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum SavepointCommand {
    /// Keep the files of a commit until the savepoint is deleted
    #[command(
        after_help = "Example:\n  lakebed table savepoint create lake/shop/orders --comment 'before the migration'"
    )]
    Create {
        /// The table: a path or URL
        path: String,
        /// The commit; the latest one if none is named
        #[arg(long, value_name = "INSTANT")]
        instant: Option<InstantTime>,
        /// Why
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// The savepoints, oldest first
    #[command(after_help = "Example:\n  lakebed table savepoint list lake/shop/orders --json")]
    List {
        /// The table: a path or URL
        path: String,
        /// JSON instead of text, an object a line
        #[arg(long)]
        json: bool,
    },
    /// Give the files of a savepoint up; the next clean may delete them
    #[command(
        after_help = "Example:\n  lakebed table savepoint delete lake/shop/orders --instant 20261121093000123"
    )]
    Delete {
        /// The table: a path or URL
        path: String,
        /// The commit
        #[arg(long, value_name = "INSTANT")]
        instant: InstantTime,
    },
}

pub(super) async fn savepoint(command: &SavepointCommand) -> Result<Vec<String>> {
    match command {
        SavepointCommand::Create {
            path,
            instant,
            comment,
        } => {
            let services = services(path).await?;
            let made = services.create_savepoint(instant.as_ref(), comment).await?;
            Ok(vec![made.instant.to_string()])
        }
        SavepointCommand::List { path, json } => {
            let savepoints = services(path).await?.savepoints().await?;
            let line = if *json { json_line } else { text_line };
            Ok(savepoints.iter().map(line).collect())
        }
        SavepointCommand::Delete { path, instant } => {
            services(path).await?.delete_savepoint(instant).await?;
            Ok(Vec::new())
        }
    }
}

async fn services(path: &str) -> Result<Services> {
    let table = Table::open(path).await?;
    let env = Env::system(MemoryBudget::new(MEMORY_BYTES));
    Ok(table.services(env, BTreeMap::new()))
}

fn json_line(savepoint: &Savepoint) -> String {
    json!({
        "instant": savepoint.instant.as_str(),
        "completion": savepoint.completion.as_ref().map(InstantTime::as_str),
        "made_by": savepoint.made_by,
        "made_at": savepoint.made_at,
        "comment": savepoint.comment,
        "partitions": savepoint.partitions,
        "files": savepoint.files,
    })
    .to_string()
}

fn text_line(savepoint: &Savepoint) -> String {
    let line = format!(
        "{:<18} {:>6} files in {:>4} partitions  {}",
        savepoint.instant.as_str(),
        savepoint.files,
        savepoint.partitions,
        savepoint.comment
    );
    line.trim_end().to_owned()
}
