//! `lakebed table files`: the data files of a table.

use query::inspect::{FileFacts, FileKind, files as files_of};
use serde_json::{Value, json};
use table_format::table::Table;

use crate::display::bytes;
use crate::output::grid;

/// A table, and which of its files are listed.
#[derive(Debug, clap::Args)]
pub(crate) struct FilesArgs {
    /// The table: a path or URL
    path: String,
    /// The base files of the latest snapshot only, as a list that DuckDB's read_parquet takes
    #[arg(long)]
    latest: bool,
    /// JSON instead of text: an object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn files(args: &FilesArgs) -> query::Result<Vec<String>> {
    let table = Table::open(&args.path).await?;
    let mut files = files_of(&table).await?;
    if args.latest {
        files.retain(|file| file.is_latest);
    }
    if args.json {
        return Ok(files.iter().map(|file| as_json(file).to_string()).collect());
    }
    if args.latest {
        warn_of_logs(&args.path, &files);
        return Ok(vec![as_list(&files)]);
    }
    Ok(as_text(&files))
}

fn as_json(file: &FileFacts) -> Value {
    json!({
        "partition": file.partition,
        "file_id": file.file_id,
        "kind": file.kind.as_str(),
        "instant": file.instant,
        "bytes": file.bytes,
        "latest": file.is_latest,
        "location": file.location,
    })
}

/// `['…', '…']`: a list of SQL.
fn as_list(files: &[FileFacts]) -> String {
    let bases = files.iter().filter(|file| file.kind == FileKind::Base);
    let names: Vec<String> = bases
        .map(|file| format!("'{}'", file.location.replace('\'', "''")))
        .collect();
    format!("[{}]", names.join(", "))
}

/// Whoever reads base files alone should know that they are not the whole table.
fn warn_of_logs(path: &str, files: &[FileFacts]) {
    let logs = files
        .iter()
        .filter(|file| file.kind == FileKind::Log)
        .count();
    if logs > 0 {
        tracing::warn!(
            "{logs} log files hold changes that these files lack: `lakebed table compact {path}` merges them"
        );
    }
}

pub(crate) fn as_text(files: &[FileFacts]) -> Vec<String> {
    let header = [
        "partition",
        "file id",
        "kind",
        "instant",
        "size",
        "latest",
        "location",
    ];
    let rows: Vec<Vec<String>> = files
        .iter()
        .map(|file| {
            vec![
                file.partition.clone(),
                file.file_id.clone(),
                file.kind.as_str().to_owned(),
                file.instant.clone(),
                bytes(file.bytes),
                if file.is_latest { "yes" } else { "" }.to_owned(),
                file.location.clone(),
            ]
        })
        .collect();
    grid(&header, &[false, false, false, false, true], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sql() {
        let file = |location: &str, kind| FileFacts {
            partition: String::new(),
            file_id: "f".to_owned(),
            kind,
            instant: "1".to_owned(),
            bytes: 0,
            location: location.to_owned(),
            is_latest: true,
        };
        let files = [
            file("/a b/x.parquet", FileKind::Base),
            file("/o'x", FileKind::Base),
            file("l", FileKind::Log),
        ];
        assert_eq!(as_list(&files), "['/a b/x.parquet', '/o''x']");
        assert_eq!(as_list(&[]), "[]");
    }
}
