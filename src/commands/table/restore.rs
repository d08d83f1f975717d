//! `lakebed table restore`: takes a table back to a savepoint.

use serde_json::{Value, json};
use table_format::Result;
use table_format::service::{RestoreReport, UndoneInstant};
use table_format::table::Table;
use table_format::timeline::{InstantTime, State};

use super::rollback::MEMORY_BYTES;
use super::settings::Settings;

/// Arguments of `lakebed table restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The table: a path or URL
    path: String,
    /// The savepoint: begin time of the commit that the table goes back to
    #[arg(long, value_name = "INSTANT")]
    to: InstantTime,
    /// Only show which instants, files and rows would go
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    settings: Settings,
    /// JSON instead of text: an object
    #[arg(long)]
    json: bool,
}

pub(super) async fn restore(args: &RestoreArgs) -> Result<Vec<String>> {
    let table = Table::open(&args.path).await?;
    let env = args.settings.env(MEMORY_BYTES)?;
    let services = table.services(env, args.settings.properties());
    let report = if args.dry_run {
        services.plan_restore(&args.to).await?
    } else {
        services.restore(&args.to).await?
    };
    Ok(if args.json {
        vec![as_json(&report).to_string()]
    } else {
        as_text(&report, args.dry_run)
    })
}

fn as_json(report: &RestoreReport) -> Value {
    let undone = |undone: &UndoneInstant| {
        json!({
            "instant": undone.instant.time.as_str(),
            "action": undone.instant.action.as_str(),
            "completed": undone.instant.state == State::Completed,
            "operation": undone.operation,
            "inserts": undone.inserts,
            "updates": undone.updates,
            "deletes": undone.deletes,
            "files": undone.files,
        })
    };
    json!({
        "savepoint": report.savepoint.as_str(),
        "restore": report.restore.as_ref().map(InstantTime::as_str),
        "instants": report.instants.iter().map(undone).collect::<Vec<_>>(),
    })
}

fn as_text(report: &RestoreReport, is_dry_run: bool) -> Vec<String> {
    let savepoint = &report.savepoint;
    if report.instants.is_empty() {
        return vec![format!("nothing was written after {savepoint}")];
    }
    let mut lines = Vec::new();
    let verb = if is_dry_run { "would undo" } else { "undid" };
    for undone in &report.instants {
        lines.push(format!(
            "{verb} {} {:<12} {:<14} {:>8} inserts {:>8} updates {:>8} deletes {:>5} files",
            undone.instant.time,
            undone.instant.action.as_str(),
            undone.operation.as_deref().unwrap_or("-"),
            undone.inserts,
            undone.updates,
            undone.deletes,
            undone.files.len()
        ));
        if is_dry_run {
            lines.extend(undone.files.iter().map(|file| format!("  {file}")));
        }
    }
    if let Some(restore) = &report.restore {
        lines.push(format!("restored to {savepoint} by {restore}"));
    }
    lines
}
