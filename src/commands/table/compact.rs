//! `lakebed table compact`: plans and executes compactions, and log compactions.

use serde_json::{Value, json};
use table_format::Result;
use table_format::service::Services;
use table_format::service::compaction::{Due, ExecutedCompaction, PlannedCompaction};
use table_format::service::log_compaction::ExecutedLogCompaction;
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
    let lines = if args.logs {
        compact_logs(&services, args).await?
    } else {
        compact_slices(&services, args).await?
    };
    if lines.is_empty() && !args.json {
        let why = "no file group has logs, or those that have stand in a pending plan";
        return Ok(vec![format!("nothing to compact: {why}")]);
    }
    Ok(lines)
}

async fn compact_slices(services: &Services, args: &CompactArgs) -> Result<Vec<String>> {
    let mut executed = Vec::new();
    if let Some(time) = &args.execute {
        executed.push(services.execute_compaction(time).await?);
    } else if args.schedule_only {
        let planned = services.schedule_compaction(Due::Now).await?;
        return Ok(planned_lines(planned.as_ref(), args.json));
    } else {
        // Plans that were left behind go first: their groups can be planned anew only then.
        executed = services.execute_pending_compactions().await?;
        if let Some(planned) = services.schedule_compaction(Due::Now).await? {
            executed.push(services.execute_compaction(&planned.instant.time).await?);
        }
    }
    let executed = executed.iter();
    Ok(executed
        .map(|executed| executed_line(executed, args.json))
        .collect())
}

async fn compact_logs(services: &Services, args: &CompactArgs) -> Result<Vec<String>> {
    let mut executed = Vec::new();
    if let Some(time) = &args.execute {
        executed.push(services.execute_log_compaction(time).await?);
    } else if args.schedule_only {
        let planned = services.schedule_log_compaction(Due::Now).await?;
        return Ok(planned_lines(planned.as_ref(), args.json));
    } else {
        executed = services.execute_pending_log_compactions().await?;
        if let Some(planned) = services.schedule_log_compaction(Due::Now).await? {
            executed.push(
                services
                    .execute_log_compaction(&planned.instant.time)
                    .await?,
            );
        }
    }
    let executed = executed.iter();
    Ok(executed
        .map(|executed| folded_line(executed, args.json))
        .collect())
}

fn planned_lines(planned: Option<&PlannedCompaction>, json: bool) -> Vec<String> {
    let planned = planned.into_iter();
    planned.map(|planned| planned_line(planned, json)).collect()
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
            "instant": instant, "action": "commit", "state": "completed", "completion": completion,
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

fn folded_line(executed: &ExecutedLogCompaction, json: bool) -> String {
    let instant = executed.instant.time.as_str();
    if json {
        let completion = executed
            .instant
            .completion
            .as_ref()
            .map(InstantTime::as_str);
        let line: Value = json!({
            "instant": instant, "action": "deltacommit", "state": "completed", "completion": completion,
            "groups": executed.groups, "log_files": executed.log_files, "records": executed.records,
            "bytes_in": executed.bytes_in, "bytes_out": executed.bytes_out
        });
        return line.to_string();
    }
    format!(
        "{instant} compacted logs: {} groups, {} log files folded, {} records, {} bytes in, {} bytes out",
        executed.groups,
        executed.log_files,
        executed.records,
        executed.bytes_in,
        executed.bytes_out
    )
}
