//! `lakebed table timeline`: what has happened to a table, by whom, how long it took, and what ran beside it.

mod picture;

use query::inspect::{InstantFacts, timeline as instants_of};
use serde_json::{Map, Value, json};
use table_format::table::Table;

use crate::display::{bytes, duration};
use crate::output::grid;
use picture::bars;

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

pub(super) async fn timeline(args: &TimelineArgs) -> query::Result<Vec<String>> {
    let table = Table::open(&args.path).await?;
    let instants = instants_of(&table, args.archived).await?;
    if args.json {
        return Ok(instants
            .iter()
            .map(|facts| as_json(facts).to_string())
            .collect());
    }
    Ok(as_text(&instants))
}

fn as_json(facts: &InstantFacts) -> Value {
    let instant = &facts.instant;
    let mut value = json!({
        "instant": instant.time.as_str(),
        "action": instant.action.as_str(),
        "state": facts.state(),
        "completion": instant.completion.as_ref().map(|time| time.as_str()),
        "duration_ms": facts.duration_millis(),
    });
    if is_written(facts) {
        let extra: Map<String, Value> = facts
            .extra_metadata
            .iter()
            .map(|(key, text)| (key.clone(), text.as_str().into()))
            .collect();
        value["operation"] = json!(facts.operation);
        value["files"] = json!(facts.files);
        value["rows"] = json!(facts.rows);
        value["inserts"] = json!(facts.inserts);
        value["updates"] = json!(facts.updates);
        value["deletes"] = json!(facts.deletes);
        value["bytes"] = json!(facts.bytes);
        value["writer"] = json!(facts.writer);
        value["extra_metadata"] = Value::Object(extra);
    }
    if facts.is_archived {
        value["archived"] = json!(true);
    }
    value
}

/// Whether the instant says what it wrote.
fn is_written(facts: &InstantFacts) -> bool {
    facts.state() == "completed" && facts.instant.action.is_write()
}

/// A line an instant. The last column draws how instants lie in time: what stands one below the other ran side by side.
pub(crate) fn as_text(instants: &[InstantFacts]) -> Vec<String> {
    let header = [
        "instant",
        "action",
        "state",
        "took",
        "operation",
        "files",
        "rows",
        "+",
        "~",
        "-",
        "size",
        "writer",
        "side by side",
    ];
    let is_right = [
        false, false, false, true, false, true, true, true, true, true, true, false, false,
    ];
    let rows: Vec<Vec<String>> = instants
        .iter()
        .zip(bars(instants))
        .map(|(facts, bar)| {
            let mut row = vec![
                facts.instant.time.to_string(),
                facts.instant.action.to_string(),
                match facts.is_archived {
                    true => "archived".to_owned(),
                    false => facts.state().to_owned(),
                },
                facts.duration_millis().map(duration).unwrap_or_default(),
            ];
            row.extend(written(facts));
            row.push(bar);
            row
        })
        .collect();
    grid(&header, &is_right, &rows)
}

fn written(facts: &InstantFacts) -> [String; 8] {
    if !is_written(facts) {
        return <[String; 8]>::default();
    }
    [
        facts.operation.clone().unwrap_or_default(),
        facts.files.to_string(),
        facts.rows.to_string(),
        facts.inserts.to_string(),
        facts.updates.to_string(),
        facts.deletes.to_string(),
        bytes(u64::try_from(facts.bytes).unwrap_or(0)),
        facts.writer.clone().unwrap_or_default(),
    ]
}
