//! `lakebed table show`: properties, schema and sizes.

use serde_json::{Map, Value, json};
use table_format::Result;
use table_format::config::TableConfig;
use table_format::table::Table;

use super::TableArgs;

pub(super) async fn show(args: &TableArgs) -> Result<Vec<String>> {
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

/// A value without quotes; lists by comma.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
