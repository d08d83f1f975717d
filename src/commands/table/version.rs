//! `lakebed table upgrade` and `lakebed table downgrade`: other versions of the format.

use serde_json::json;
use table_format::config::TableVersion;
use table_format::service::VersionChange;
use table_format::table::Table;
use table_format::{Error, Result};

use super::settings::Settings;

/// What merging the logs may take, unless one slice alone has larger ones.
const MEMORY_BYTES: u64 = 512 << 20;

/// Arguments of `lakebed table upgrade`.
#[derive(Debug, clap::Args)]
pub(crate) struct UpgradeArgs {
    /// The table: a path or URL
    path: String,
    /// The version that it is to have: 8 or 9
    #[arg(long, value_name = "N", default_value = "9", value_parser = one_of::<8, 9>)]
    to: TableVersion,
    #[command(flatten)]
    settings: Settings,
    /// JSON instead of text: an object
    #[arg(long)]
    json: bool,
}

/// Arguments of `lakebed table downgrade`.
#[derive(Debug, clap::Args)]
pub(crate) struct DowngradeArgs {
    /// The table: a path or URL
    path: String,
    /// The version that it is to have: 8 or 6
    #[arg(long, value_name = "N", value_parser = one_of::<6, 8>)]
    to: TableVersion,
    #[command(flatten)]
    settings: Settings,
    /// JSON instead of text: an object
    #[arg(long)]
    json: bool,
}

fn one_of<const A: u32, const B: u32>(text: &str) -> std::result::Result<TableVersion, String> {
    let version: Option<TableVersion> = text.parse().ok();
    version
        .filter(|version| [A, B].contains(&version.number()))
        .ok_or_else(|| format!("expected {A} or {B}"))
}

pub(super) async fn upgrade(args: &UpgradeArgs) -> Result<Vec<String>> {
    let table = Table::open(&args.path).await?;
    let version = table.config().version();
    if version > args.to {
        return Err(Error::invalid(format!(
            "{} is of version {version} already; `lakebed table downgrade` takes it to version {}",
            args.path, args.to
        )));
    }
    change(&table, args.to, &args.settings, args.json).await
}

pub(super) async fn downgrade(args: &DowngradeArgs) -> Result<Vec<String>> {
    let table = Table::open(&args.path).await?;
    let version = table.config().version();
    if version < args.to {
        return Err(Error::invalid(format!(
            "{} is of version {version}; `lakebed table upgrade` takes it to version {}",
            args.path, args.to
        )));
    }
    change(&table, args.to, &args.settings, args.json).await
}

async fn change(
    table: &Table,
    to: TableVersion,
    settings: &Settings,
    json: bool,
) -> Result<Vec<String>> {
    let services = table.services(settings.env(MEMORY_BYTES)?, settings.properties());
    let changed = services.change_version(to).await?;
    Ok(vec![if json {
        as_json(&changed).to_string()
    } else {
        as_text(&changed)
    }])
}

fn as_json(changed: &VersionChange) -> serde_json::Value {
    json!({
        "from": changed.from.number(),
        "to": changed.to.number(),
        "merge_mode": changed.merge_mode.as_str(),
        "compactions": changed.compactions.len(),
        "timeline_files": changed.timeline_files,
        "archived_instants": changed.archived_instants,
    })
}

fn as_text(changed: &VersionChange) -> String {
    if changed.from == changed.to {
        return format!("the table is of version {} already", changed.to);
    }
    format!(
        "version {} to {}: {} compactions, {} timeline files, {} archived instants; merge mode {}",
        changed.from,
        changed.to,
        changed.compactions.len(),
        changed.timeline_files,
        changed.archived_instants,
        changed.merge_mode
    )
}
