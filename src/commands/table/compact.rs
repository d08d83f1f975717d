//! `lakebed table compact`: plans and executes compactions, and log compactions.

use serde_json::{Value, json};
use table_format::Result;
use table_format::service::Services;
use table_format::service::compaction::{Due, ExecutedCompaction, PlannedCompaction};
use table_format::table::Table;
use table_format::timeline::InstantTime;

use super::settings::Settings;

/// What merging may take, unless one slice alone has larger logs.
const MEMORY_BYTES: u64 = 512 << 20;

/// Arguments of `lakebed table compact`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompactArgs {
    /// The table: a path or URL
    path: String,
    /// Only plan: whoever comes next may execute it, another engine too
    #[arg(long, conflicts_with = "execute")]
    schedule_only: bool,
    /// Only execute this pending plan, of ours or of another engine
    #[arg(long, value_name = "INSTANT")]
    execute: Option<InstantTime>,
    /// Fold the log files of each file group into one, instead of merging them into new base files
    #[arg(long)]
    logs: bool,
    #[command(flatten)]
    settings: Settings,
    /// JSON instead of text, an object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn compact(args: &CompactArgs) -> Result<Vec<String>> {
    let table = Table::open(&args.path).await?;
    let env = args.settings.env(MEMORY_BYTES)?;
    let services = table.services(env, args.settings.properties());
    let lines = if args.schedule_only {
        let planned = schedule(&services, args).await?;
        planned
            .iter()
            .map(|planned| planned_line(planned, args.json))
            .collect::<Vec<_>>()
    } else {
        let executed = execute(&services, args).await?;
        executed
            .iter()
            .map(|executed| executed_line(executed, args.json))
            .collect()
    };
    if lines.is_empty() && !args.json {
        let why = "no file group has logs, or those that have stand in a pending plan";
        return Ok(vec![format!("nothing to compact: {why}")]);
    }
    Ok(lines)
}

async fn schedule(services: &Services, args: &CompactArgs) -> Result<Option<PlannedCompaction>> {
    match args.logs {
        true => services.schedule_log_compaction(Due::Now).await,
        false => services.schedule_compaction(Due::Now).await,
    }
}

async fn execute(services: &Services, args: &CompactArgs) -> Result<Vec<ExecutedCompaction>> {
    let execute_one = async |time: &InstantTime| match args.logs {
        true => services.execute_log_compaction(time).await,
        false => services.execute_compaction(time).await,
    };
    if let Some(time) = &args.execute {
        return Ok(vec![execute_one(time).await?]);
    }
    // Plans that were left behind go first: their groups can be planned anew only then.
    let mut executed = match args.logs {
        true => services.execute_pending_log_compactions().await?,
        false => services.execute_pending_compactions().await?,
    };
    if let Some(planned) = schedule(services, args).await? {
        executed.push(execute_one(&planned.instant.time).await?);
    }
    Ok(executed)
}

fn planned_line(planned: &PlannedCompaction, json: bool) -> String {
    let instant = planned.instant.time.as_str();
    if json {
        let line: Value = json!({
            "instant": instant, "action": planned.instant.action.as_str(), "state": "requested", "groups": planned.groups,
            "log_files": planned.log_files, "log_bytes": planned.log_bytes
        });
        return line.to_string();
    }
    format!(
        "{instant} planned: {} groups, {} log files of {} bytes",
        planned.groups, planned.log_files, planned.log_bytes
    )
}

fn executed_line(executed: &ExecutedCompaction, json: bool) -> String {
    let instant = executed.instant.time.as_str();
    if json {
        let completion = executed
            .instant
            .completion
            .as_ref()
            .map(InstantTime::as_str);
        let line: Value = json!({
            "instant": instant, "action": executed.instant.action.comparable().as_str(), "state": "completed", "completion": completion,
            "groups": executed.groups, "log_files": executed.log_files, "rows": executed.rows,
            "bytes_in": executed.bytes_in, "bytes_out": executed.bytes_out
        });
        return line.to_string();
    }
    format!(
        "{instant} compacted: {} groups, {} log files merged, {} rows, {} bytes in, {} bytes out",
        executed.groups, executed.log_files, executed.rows, executed.bytes_in, executed.bytes_out
    )
}
