//! `lakebed table timeline`: what has happened to a table.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use table_format::Result;
use table_format::table::Table;
use table_format::timeline::archived::Selection;
use table_format::timeline::metadata::CommitMetadata;
use table_format::timeline::{ActiveTimeline, Instant, State};

/// A table, and which of its instants are shown.
#[derive(Debug, clap::Args)]
pub(crate) struct TimelineArgs {
    /// The table: a path or URL
    path: String,
    /// The archived instants, too
    #[arg(long)]
    archived: bool,
    /// JSON instead of text: an object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn timeline(args: &TimelineArgs) -> Result<Vec<String>> {
    let table = Table::open(&args.path).await?;
    let timeline = table.timeline().await?;
    let mut lines = if args.archived {
        archived(&table, &timeline, args.json).await?
    } else {
        Vec::new()
    };
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

/// The archived instants, by begin time. What is on the active timeline still, or in the archive twice, is shown once.
async fn archived(table: &Table, timeline: &ActiveTimeline, is_json: bool) -> Result<Vec<String>> {
    let mut lines: BTreeMap<Instant, String> = BTreeMap::new();
    table
        .archived()
        .await?
        .visit(&Selection::default(), |archived| {
            let instant = archived.instant.clone();
            if timeline.find(&instant.time, instant.action).is_some() {
                return Ok(());
            }
            let metadata = if instant.action.is_write() {
                Some(archived.into_commit()?.1)
            } else {
                None
            };
            let line = if is_json {
                let mut value = instant_json(&instant, metadata.as_ref());
                value["archived"] = json!(true);
                value.to_string()
            } else {
                format!("{} archived", instant_text(&instant, metadata.as_ref()))
            };
            lines.insert(instant, line);
            Ok(())
        })
        .await?;
    Ok(lines.into_values().collect())
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
