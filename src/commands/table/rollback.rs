//! `lakebed table rollback`: undoes one write.

use serde_json::json;
use table_format::Result;
use table_format::table::Table;
use table_format::timeline::InstantTime;

use super::settings::Settings;

/// A rollback reads names, not rows.
pub(super) const MEMORY_BYTES: u64 = 64 << 20;

/// Arguments of `lakebed table rollback`.
#[derive(Debug, clap::Args)]
pub(crate) struct RollbackArgs {
    /// The table: a path or URL
    path: String,
    /// Begin time of the instant, as `lakebed table timeline` shows it
    #[arg(long, value_name = "INSTANT")]
    instant: InstantTime,
    #[command(flatten)]
    settings: Settings,
    /// JSON instead of text: an object
    #[arg(long)]
    json: bool,
}

pub(super) async fn rollback(args: &RollbackArgs) -> Result<Vec<String>> {
    let table = Table::open(&args.path).await?;
    let env = args.settings.env(MEMORY_BYTES)?;
    let services = table.services(env, args.settings.properties());
    let report = services.roll_back(&args.instant).await?;
    if args.json {
        let line = json!({
            "instant": report.target.as_str(),
            "action": report.action,
            "rollback": report.rollback.as_str(),
            "deleted": report.deleted,
            "commands": report.commands,
        });
        return Ok(vec![line.to_string()]);
    }
    let mut line = format!(
        "rolled back {} {} by {}: deleted {} files",
        report.action,
        report.target,
        report.rollback,
        report.deleted.len()
    );
    if !report.commands.is_empty() {
        line.push_str(&format!(", undid blocks in {} logs", report.commands.len()));
    }
    Ok(vec![line])
}
