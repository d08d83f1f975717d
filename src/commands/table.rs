//! `lakebed table`: what a table is, and what has happened to it.

use std::io::Write as _;

use serde_json::{Map, Value, json};
use table_format::Result;
use table_format::config::TableConfig;
use table_format::table::Table;
use table_format::timeline::metadata::CommitMetadata;
use table_format::timeline::{Instant, State};

use super::Failure;

/// Subcommands of `lakebed table`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum TableCommand {
    /// Properties, schema and sizes
    #[command(after_help = "Example:\n  lakebed table show lake/shop/orders")]
    Show(TableArgs),
    /// The instants, oldest first
    #[command(after_help = "Example:\n  lakebed table timeline lake/shop/orders --json")]
    Timeline(TableArgs),
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
    let lines = match &command {
        TableCommand::Show(args) => show(args).await,
        TableCommand::Timeline(args) => timeline(args).await,
    };
    let lines = lines.map_err(Failure::other)?;
    let mut out = std::io::stdout().lock();
    for line in lines {
        if writeln!(out, "{line}").is_err() {
            // Whoever reads has enough.
            break;
        }
    }
    Ok(())
}

async fn show(args: &TableArgs) -> Result<Vec<String>> {
    let table = Table::open(&args.path).await?;
    let snapshot = table.snapshot(None).await?;
    let config = table.config();
    let columns: Vec<Value> = snapshot
        .schema()
        .fields()
        .iter()
        .map(|field| {
            json!({"name": field.name(), "type": field.data_type().to_string(), "nullable": field.is_nullable()})
        })
        .collect();
    let slices = snapshot.slices();
    let bases = slices.iter().filter_map(|slice| slice.base_file.as_ref());
    let logs = slices.iter().flat_map(|slice| &slice.log_files);
    let mut partitions: Vec<&str> = slices
        .iter()
        .map(|slice| slice.partition_path.as_str())
        .collect();
    partitions.dedup();
    let facts = json!({
        "name": config.name(),
        "database": config.database(),
        "location": table.storage().location(),
        "type": config.table_type().as_str(),
        "version": config.version().number(),
        "record_key": config.record_key_fields(),
        "partition_by": config.partition_fields(),
        "ordering": config.ordering_fields(),
        "merge_mode": config.merge_mode().as_str(),
        "last_commit": snapshot.instant().map(ToString::to_string),
        "partitions": partitions.len(),
        "file_groups": slices.len(),
        "base_files": bases.clone().count(),
        "base_bytes": bases.map(|file| file.size_bytes).sum::<u64>(),
        "log_files": logs.clone().count(),
        "log_bytes": logs.map(|file| file.size_bytes).sum::<u64>(),
    });
    if args.json {
        let properties: Map<String, Value> = config
            .properties()
            .iter()
            .map(|(key, value)| (key.to_owned(), value.into()))
            .collect();
        return Ok(vec![
            json!({"table": facts, "columns": columns, "properties": properties}).to_string(),
        ]);
    }
    Ok(shown(&facts, &columns, config))
}

/// What `show` prints for people.
fn shown(facts: &Value, columns: &[Value], config: &TableConfig) -> Vec<String> {
    let mut lines = Vec::new();
    if let Value::Object(facts) = facts {
        lines.extend(
            facts
                .iter()
                .map(|(name, value)| format!("{name:<14}{}", plain(value))),
        );
    }
    lines.push("columns".to_owned());
    lines.extend(columns.iter().map(|column| {
        let nullable = if column["nullable"] == true {
            ""
        } else {
            " not null"
        };
        format!(
            "  {:<24}{}{nullable}",
            plain(&column["name"]),
            plain(&column["type"])
        )
    }));
    lines.push("properties".to_owned());
    lines.extend(
        config
            .properties()
            .iter()
            .map(|(key, value)| format!("  {key}={value}")),
    );
    lines
}

async fn timeline(args: &TableArgs) -> Result<Vec<String>> {
    let table = Table::open(&args.path).await?;
    let timeline = table.timeline().await?;
    let mut lines = Vec::new();
    for instant in timeline.instants() {
        let is_commit = instant.state == State::Completed && instant.action.is_write();
        let metadata = if is_commit {
            Some(timeline.read_metadata(instant).await?)
        } else {
            None
        };
        lines.push(if args.json {
            instant_json(instant, metadata.as_ref()).to_string()
        } else {
            instant_text(instant, metadata.as_ref())
        });
    }
    Ok(lines)
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Requested => "requested",
        State::Inflight => "inflight",
        State::Completed => "completed",
    }
}

fn instant_json(instant: &Instant, metadata: Option<&CommitMetadata>) -> Value {
    let mut value = json!({
        "instant": instant.time.as_str(),
        "action": instant.action.as_str(),
        "state": state_name(instant.state),
        "completion": instant.completion.as_ref().map(|time| time.as_str()),
    });
    if let Some(metadata) = metadata {
        let extra: Map<String, Value> = metadata
            .extra_metadata
            .iter()
            .map(|(key, text)| (key.clone(), text.as_str().into()))
            .collect();
        value["operation"] = json!(metadata.operation_type);
        value["files"] = json!(metadata.write_stats().count());
        value["rows"] = json!(rows_written(metadata));
        value["bytes"] = json!(bytes_written(metadata));
        value["extra_metadata"] = Value::Object(extra);
    }
    value
}

fn instant_text(instant: &Instant, metadata: Option<&CommitMetadata>) -> String {
    let completion = instant.completion.as_ref().map_or("", |time| time.as_str());
    let mut line = format!(
        "{:<18} {:<14} {:<10} {completion:<18} ",
        instant.time.as_str(),
        instant.action.as_str(),
        state_name(instant.state)
    );
    if let Some(metadata) = metadata {
        line.push_str(&format!(
            "{:<14}{:>5} files {:>10} rows {:>12} bytes",
            metadata.operation_type.as_deref().unwrap_or(""),
            metadata.write_stats().count(),
            rows_written(metadata),
            bytes_written(metadata)
        ));
    }
    line.trim_end().to_owned()
}

fn rows_written(metadata: &CommitMetadata) -> i64 {
    metadata
        .write_stats()
        .filter_map(|stat| stat.num_writes)
        .sum()
}

fn bytes_written(metadata: &CommitMetadata) -> i64 {
    metadata
        .write_stats()
        .filter_map(|stat| stat.file_size_in_bytes)
        .sum()
}

/// A value without quotes; lists by comma.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
