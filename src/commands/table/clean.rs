//! `lakebed table clean`: deletes the files that no query needs any more.

use serde_json::json;
use table_format::Result;
use table_format::service::CleanSummary;
use table_format::table::Table;
use table_format::timeline::InstantTime;

use super::settings::Settings;

/// Cleaning reads names, not rows.
const MEMORY_BYTES: u64 = 64 << 20;

/// Arguments of `lakebed table clean`.
#[derive(Debug, clap::Args)]
pub(crate) struct CleanArgs {
    /// The table: a path or URL
    path: String,
    /// Only show what would be deleted
    #[arg(long, conflicts_with_all = ["schedule_only", "execute"])]
    dry_run: bool,
    /// Only plan: whoever comes next may execute it, another engine too
    #[arg(long, conflicts_with = "execute")]
    schedule_only: bool,
    /// Execute a pending plan, of ours or of another engine, instead of planning one
    #[arg(long, value_name = "INSTANT")]
    execute: Option<InstantTime>,
    #[command(flatten)]
    settings: Settings,
    /// JSON instead of text, an object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn clean(args: &CleanArgs) -> Result<Vec<String>> {
    let table = Table::open(&args.path).await?;
    let env = args.settings.env(MEMORY_BYTES)?;
    let services = table.services(env, args.settings.properties());
    let (cleans, verb) = if args.dry_run {
        (services.preview_clean().await?, "would delete")
    } else if args.schedule_only {
        let planned = services.schedule_clean().await?;
        (planned.into_iter().collect(), "planned to delete")
    } else if let Some(instant) = &args.execute {
        (vec![services.execute_clean(instant).await?], "deleted")
    } else {
        (services.clean().await?, "deleted")
    };
    if args.json {
        return Ok(cleans.iter().map(json_line).collect());
    }
    if cleans.is_empty() {
        return Ok(vec![
            "nothing to clean: queries that the policy promises need every file".to_owned(),
        ]);
    }
    Ok(cleans
        .iter()
        .flat_map(|clean| text_lines(clean, verb, args.dry_run))
        .collect())
}

fn json_line(clean: &CleanSummary) -> String {
    json!({
        "instant": clean.instant.as_ref().map(InstantTime::as_str),
        "policy": clean.policy,
        "earliest_commit_to_retain": clean.earliest_commit_to_retain,
        "files_count": clean.files_count(),
        "bytes": clean.bytes,
        "files": clean.files,
        "deleted_partitions": clean.deleted_partitions,
    })
    .to_string()
}

/// One line a clean; of one that has not happened also the files.
fn text_lines(clean: &CleanSummary, verb: &str, shows_files: bool) -> Vec<String> {
    let instant = clean.instant.as_ref().map_or("-", InstantTime::as_str);
    let retained = clean.earliest_commit_to_retain.as_ref();
    let retained = retained.map_or_else(String::new, |time| {
        format!(", queries as of {time} and later still work")
    });
    let mut lines = vec![format!(
        "{instant:<18} {verb} {} files, {} bytes ({}{retained})",
        clean.files_count(),
        clean.bytes,
        clean.policy
    )];
    if shows_files {
        for (partition, names) in &clean.files {
            let place = if partition.is_empty() { "" } else { "/" };
            let paths = names.iter();
            lines.extend(paths.map(|name| format!("  {partition}{place}{name}")));
        }
    }
    let partitions = clean.deleted_partitions.iter();
    lines.extend(partitions.map(|path| format!("  {path}/ (the whole partition)")));
    lines
}
