//! `lakebed table archive`: moves old instants from the active timeline into the archive.

use serde_json::json;
use table_format::Result;
use table_format::service::{ArchivalPlan, ArchivalReport};
use table_format::table::Table;
use table_format::timeline::Instant;

use super::settings::Settings;

/// What is held at a time is a batch of instants, far below this.
const MEMORY_BYTES: u64 = 256 << 20;

/// A table, and how its timeline is archived.
#[derive(Debug, clap::Args)]
pub(crate) struct ArchiveArgs {
    /// The table: a path or URL
    path: String,
    /// Say what would be archived, and archive nothing
    #[arg(long)]
    dry_run: bool,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn archive(args: &ArchiveArgs) -> Result<Vec<String>> {
    let table = Table::open(&args.path).await?;
    let env = args.settings.env(MEMORY_BYTES)?;
    let services = table.services(env, args.settings.properties());
    let report = if args.dry_run {
        ArchivalReport {
            plan: services.plan_archival().await?,
            merges: 0,
        }
    } else {
        services.archive().await?
    };
    Ok(if args.json {
        vec![report_json(&report, args.dry_run)]
    } else {
        report_text(&report, args.dry_run)
    })
}

fn report_json(report: &ArchivalReport, is_dry_run: bool) -> String {
    let instants = |instants: &[Instant]| -> Vec<_> {
        let shown = instants.iter().map(|instant| {
            json!({
                "instant": instant.time.as_str(),
                "action": instant.action.as_str(),
                "completion": instant.completion.as_ref().map(|time| time.as_str()),
            })
        });
        shown.collect()
    };
    let ArchivalPlan {
        instants: archived,
        left_over,
        held_back_by,
    } = &report.plan;
    let held_back_by = held_back_by
        .as_ref()
        .map(|limit| json!({"instant": limit.time.as_str(), "reason": limit.reason.to_string()}));
    json!({
        "dry_run": is_dry_run,
        "archived": instants(archived),
        "left_over": instants(left_over),
        "held_back_by": held_back_by,
        "merges": report.merges,
    })
    .to_string()
}

fn report_text(report: &ArchivalReport, is_dry_run: bool) -> Vec<String> {
    let plan = &report.plan;
    let verb = if is_dry_run {
        "would archive"
    } else {
        "archived"
    };
    let span = match (plan.instants.first(), plan.instants.last()) {
        (Some(first), Some(last)) => format!(", {} to {}", first.time, last.time),
        _ => String::new(),
    };
    let mut lines = vec![format!("{verb} {} instants{span}", plan.instants.len())];
    if !plan.left_over.is_empty() {
        let verb = if is_dry_run {
            "would finish"
        } else {
            "finished"
        };
        lines.push(format!(
            "{verb} an archival that had died: {} instants were in the archive already",
            plan.left_over.len()
        ));
    }
    if report.merges > 0 {
        lines.push(format!(
            "merged files of {} levels of the archive",
            report.merges
        ));
    }
    lines.extend(plan.held_back_by.as_ref().map(ToString::to_string));
    lines
}
