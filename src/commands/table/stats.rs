//! `lakebed table stats`: how well a table is kept.

use query::inspect::{Sizes, TableStatistics, statistics};
use serde_json::{Value, json};
use table_format::table::Table;

use super::TableArgs;
use crate::display::{bytes, grouped};
use crate::output::grid;

pub(super) async fn stats(args: &TableArgs) -> query::Result<Vec<String>> {
    let table = Table::open(&args.path).await?;
    let statistics = statistics(&table).await?;
    if args.json {
        return Ok(vec![as_json(&statistics).to_string()]);
    }
    Ok(as_text(&statistics))
}

fn as_json(statistics: &TableStatistics) -> Value {
    let sizes = |sizes: &Sizes| {
        json!({
            "files": sizes.files,
            "total_bytes": sizes.total_bytes,
            "min_bytes": sizes.min_bytes,
            "median_bytes": sizes.median_bytes,
            "p95_bytes": sizes.p95_bytes,
            "max_bytes": sizes.max_bytes,
        })
    };
    json!({
        "partitions": statistics.partitions,
        "file_groups": statistics.file_groups,
        "file_groups_with_logs": statistics.file_groups_with_logs,
        "small_files": statistics.small_files,
        "base_files": sizes(&statistics.base_files),
        "log_files": sizes(&statistics.log_files),
        "other_files": sizes(&statistics.other_files),
        "writes": statistics.writes,
        "services": statistics.services,
        "rows_changed": statistics.rows_changed,
        "rows_written": statistics.rows_written,
        "bytes_written": statistics.bytes_written,
        "write_amplification": statistics.write_amplification(),
    })
}

fn as_text(statistics: &TableStatistics) -> Vec<String> {
    let amplification = statistics
        .write_amplification()
        .map_or("-".to_owned(), |ratio| {
            format!("{ratio:.2} rows written for each row changed")
        });
    let mut lines: Vec<String> = [
        ("partitions", grouped(statistics.partitions)),
        ("file groups", grouped(statistics.file_groups)),
        ("  with logs", grouped(statistics.file_groups_with_logs)),
        (
            "small files",
            format!(
                "{} base files below 100 MiB",
                grouped(statistics.small_files)
            ),
        ),
        ("writes", grouped(statistics.writes)),
        ("services", grouped(statistics.services)),
        ("rows changed", grouped(statistics.rows_changed)),
        ("rows written", grouped(statistics.rows_written)),
        ("bytes written", bytes(statistics.bytes_written)),
        ("amplification", amplification),
    ]
    .into_iter()
    .map(|(name, value)| format!("{name:<16}{value}"))
    .collect();
    lines.push(String::new());
    let header = [
        "files", "number", "total", "smallest", "median", "95 %", "largest",
    ];
    let rows = [
        ("base", &statistics.base_files),
        ("log", &statistics.log_files),
        ("other", &statistics.other_files),
    ]
    .map(|(name, sizes)| {
        vec![
            name.to_owned(),
            grouped(sizes.files),
            bytes(sizes.total_bytes),
            bytes(sizes.min_bytes),
            bytes(sizes.median_bytes),
            bytes(sizes.p95_bytes),
            bytes(sizes.max_bytes),
        ]
    });
    let is_right = [false, true, true, true, true, true, true];
    lines.extend(grid(&header, &is_right, &rows));
    lines
}
