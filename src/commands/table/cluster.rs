//! `lakebed table cluster`: plans and executes clusterings.

use serde_json::{Value, json};
use table_format::Result;
use table_format::service::clustering::{ExecutedClustering, PlannedClustering};
use table_format::service::compaction::Due;
use table_format::table::Table;
use table_format::timeline::InstantTime;

use super::settings::Settings;

/// What reading, sorting and writing may take, unless one slice alone has larger logs.
const MEMORY_BYTES: u64 = 512 << 20;
const SORT_COLUMNS: &str = "hoodie.clustering.plan.strategy.sort.columns";

/// Arguments of `lakebed table cluster`.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    /// The table: a path or URL
    path: String,
    /// Only plan: whoever comes next may execute it, another engine too
    #[arg(long, visible_alias = "schedule", conflicts_with = "execute")]
    schedule_only: bool,
    /// Only execute what is planned, by us or by another engine: one plan, or all
    #[arg(long, value_name = "INSTANT", num_args = 0..=1)]
    execute: Option<Option<InstantTime>>,
    /// Sort the rows by these columns, separated by commas
    #[arg(long, value_name = "COLUMNS", conflicts_with = "execute")]
    sort_columns: Option<String>,
    #[command(flatten)]
    settings: Settings,
    /// JSON instead of text, an object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn cluster(args: &ClusterArgs) -> Result<Vec<String>> {
    let table = Table::open(&args.path).await?;
    let env = args.settings.env(MEMORY_BYTES)?;
    let mut properties = args.settings.properties();
    if let Some(columns) = &args.sort_columns {
        properties.insert(SORT_COLUMNS.to_owned(), columns.clone());
    }
    let services = table.services(env, properties);
    let mut lines = Vec::new();
    if args.schedule_only {
        let planned = services.schedule_clustering(Due::Now).await?;
        lines.extend(planned.iter().map(|it| planned_line(it, args.json)));
    } else {
        let executed = match &args.execute {
            Some(Some(time)) => vec![services.execute_clustering(time).await?],
            // Plans that were left behind go first: their groups can be planned anew only then.
            _ => services.execute_pending_clusterings().await?,
        };
        lines.extend(executed.iter().map(|it| executed_line(it, args.json)));
    }
    if args.execute.is_none()
        && !args.schedule_only
        && let Some(planned) = services.schedule_clustering(Due::Now).await?
    {
        let executed = services.execute_clustering(&planned.instant.time).await?;
        lines.push(executed_line(&executed, args.json));
    }
    if lines.is_empty() && !args.json {
        let why = match args.execute {
            Some(_) => "no plan is pending",
            None => "no partition has several small file groups that stand in no plan",
        };
        return Ok(vec![format!("nothing to cluster: {why}")]);
    }
    Ok(lines)
}

fn planned_line(planned: &PlannedClustering, json: bool) -> String {
    let instant = planned.instant.time.as_str();
    if json {
        let line: Value = json!({
            "instant": instant, "action": "clustering", "state": "requested", "file_groups": planned.file_groups,
            "bytes": planned.bytes, "output_file_groups": planned.output_file_groups
        });
        return line.to_string();
    }
    format!(
        "{instant} planned: {} file groups of {} bytes into about {}",
        planned.file_groups, planned.bytes, planned.output_file_groups
    )
}

fn executed_line(executed: &ExecutedClustering, json: bool) -> String {
    let instant = executed.instant.time.as_str();
    if json {
        let completion = executed
            .instant
            .completion
            .as_ref()
            .map(InstantTime::as_str);
        let line: Value = json!({
            "instant": instant, "action": "replacecommit", "state": "completed", "completion": completion,
            "replaced_file_groups": executed.replaced_file_groups, "new_file_groups": executed.new_file_groups,
            "rows": executed.rows, "bytes_in": executed.bytes_in, "bytes_out": executed.bytes_out
        });
        return line.to_string();
    }
    format!(
        "{instant} clustered: {} file groups into {}, {} rows, {} bytes in, {} bytes out",
        executed.replaced_file_groups,
        executed.new_file_groups,
        executed.rows,
        executed.bytes_in,
        executed.bytes_out
    )
}
