//! `lakebed table alter`: changes of columns that rewrite no file.

use std::collections::BTreeMap;

use anyhow::anyhow;
use arrow::datatypes::{DataType, TimeUnit};
use serde_json::json;
use table_format::schema::ColumnChange;
use table_format::table::Table;
use table_format::writer::WriterOptions;

use super::settings::Settings;
use crate::commands::Failure;

/// An alteration reads names, not rows; the index looks at footers.
const MEMORY_BYTES: u64 = 256 << 20;

/// Arguments of `lakebed table alter`.
#[derive(Debug, clap::Args)]
pub(crate) struct AlterArgs {
    /// The table: a path or URL
    path: String,
    /// Give a column another name; rows keep its values
    #[arg(long, value_name = "COLUMN=NAME", value_parser = renamed)]
    rename: Vec<ColumnChange>,
    /// Take a column away
    #[arg(long, value_name = "COLUMN", value_parser = dropped)]
    drop: Vec<ColumnChange>,
    /// Add a column, which is null in the rows that are there
    #[arg(long, value_name = "COLUMN:TYPE", value_parser = added)]
    add: Vec<ColumnChange>,
    /// Give a column a type that holds all its values
    #[arg(long, value_name = "COLUMN:TYPE", value_parser = widened)]
    widen: Vec<ColumnChange>,
    /// Let a column hold nulls
    #[arg(long, value_name = "COLUMN", value_parser = made_nullable)]
    nullable: Vec<ColumnChange>,
    #[command(flatten)]
    settings: Settings,
    /// JSON instead of text: an object
    #[arg(long)]
    json: bool,
}

pub(super) async fn alter(args: &AlterArgs) -> Result<Vec<String>, Failure> {
    let given = [
        &args.rename,
        &args.drop,
        &args.add,
        &args.widen,
        &args.nullable,
    ];
    let changes: Vec<ColumnChange> = given.into_iter().flatten().cloned().collect();
    if changes.is_empty() {
        return Err(Failure::usage(
            "nothing to change: give --rename, --drop, --add, --widen or --nullable",
        ));
    }
    let options = WriterOptions::from_properties(&args.settings.properties())
        .map_err(Failure::configuration)?;
    let env = args
        .settings
        .env(MEMORY_BYTES)
        .map_err(Failure::configuration)?;
    let table = Table::open(&args.path).await.map_err(Failure::other)?;
    let mut writer = table.writer(env, options).await.map_err(Failure::other)?;
    let instant = writer.alter(&changes, BTreeMap::new()).await;
    let instant = instant.map_err(|error| Failure::other(anyhow!("{}: {error}", args.path)))?;
    if !args.json {
        return Ok(vec![instant.time.to_string()]);
    }
    let schema = writer.schema().await;
    let columns = schema.fields().iter().map(|field| {
        json!({"name": field.name(), "type": field.data_type().to_string(), "nullable": field.is_nullable()})
    });
    let line = json!({
        "instant": instant.time.as_str(),
        "completion": instant.completion.as_ref().map(|time| time.as_str()),
        "action": instant.action.as_str(),
        "columns": columns.collect::<Vec<_>>(),
    });
    Ok(vec![line.to_string()])
}

fn renamed(text: &str) -> Result<ColumnChange, String> {
    let (column, to) = pair(text, '=', "price=amount")?;
    Ok(ColumnChange::Rename { column, to })
}

fn dropped(text: &str) -> Result<ColumnChange, String> {
    let column = text.to_owned();
    Ok(ColumnChange::Drop { column })
}

fn added(text: &str) -> Result<ColumnChange, String> {
    let (column, data_type) = column_and_type(text)?;
    Ok(ColumnChange::Add { column, data_type })
}

fn widened(text: &str) -> Result<ColumnChange, String> {
    let (column, data_type) = column_and_type(text)?;
    Ok(ColumnChange::Widen { column, data_type })
}

fn made_nullable(text: &str) -> Result<ColumnChange, String> {
    let column = text.to_owned();
    Ok(ColumnChange::MakeNullable { column })
}

fn pair(text: &str, between: char, example: &str) -> Result<(String, String), String> {
    match text.split_once(between) {
        Some((left, right)) if !left.trim().is_empty() && !right.trim().is_empty() => {
            Ok((left.trim().to_owned(), right.trim().to_owned()))
        }
        _ => Err(format!("`{text}` is not of the form {example}")),
    }
}

fn column_and_type(text: &str) -> Result<(String, DataType), String> {
    let (column, name) = pair(text, ':', "price:decimal(12,2)")?;
    let data_type = data_type(&name.to_ascii_lowercase()).ok_or_else(|| {
        format!(
            "column `{column}`: `{name}` is no type; there are boolean, int, bigint, float, double, decimal(p,s), string, \
             binary, date and timestamp"
        )
    })?;
    Ok((column, data_type))
}

/// A type by its name in Spark SQL.
fn data_type(name: &str) -> Option<DataType> {
    Some(match name {
        "boolean" => DataType::Boolean,
        "int" | "integer" => DataType::Int32,
        "bigint" | "long" => DataType::Int64,
        "float" | "real" => DataType::Float32,
        "double" => DataType::Float64,
        "string" => DataType::Utf8,
        "binary" => DataType::Binary,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => {
            let digits = name.strip_prefix("decimal")?.trim();
            let digits = digits.strip_prefix('(')?.strip_suffix(')')?;
            let (precision, scale) = digits.split_once(',')?;
            let (precision, scale): (u8, i8) =
                (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            let is_possible =
                (1..=38).contains(&precision) && scale >= 0 && scale.unsigned_abs() <= precision;
            return is_possible.then_some(DataType::Decimal128(precision, scale));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_from_words() {
        let add = |text| added(text).map(|change| format!("{change:?}"));
        assert!(
            add("d:decimal(12, 2)")
                .unwrap()
                .contains("Decimal128(12, 2)")
        );
        assert!(
            add("s.x:BIGINT")
                .unwrap()
                .contains("column: \"s.x\", data_type: Int64")
        );
        for wrong in [
            "d",
            "d:",
            "d:number",
            "d:decimal(2,3)",
            "d:decimal(99,3)",
            ":int",
        ] {
            assert!(add(wrong).is_err(), "{wrong}");
        }
        assert!(
            add("d:number")
                .unwrap_err()
                .contains("`d`: `number` is no type")
        );
        assert!(renamed("a=b").is_ok() && renamed("a").is_err() && renamed("=b").is_err());
    }
}
