//! `lakebed table history`: every retained version of a row, and the commit that made it.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::StreamExt;
use query::RowStream;
use query::inspect::{RowVersion, history as versions_of};
use table_format::env::MemoryBudget;
use table_format::schema::meta::is_meta_column;
use table_format::table::Table;

use crate::output::{Format, write_rows};

const MEMORY_BYTES: u64 = 512 << 20;

/// A table and a key.
#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// The table: a path or URL
    path: String,
    /// The record key: the value of the key column, or `a:1,b:2` when there are several (column `_hoodie_record_key`)
    key: String,
    /// JSON instead of text: an object a line
    #[arg(long)]
    json: bool,
}

/// Prints the versions; fails when the table has never had the key.
pub(super) async fn history(args: &HistoryArgs) -> anyhow::Result<()> {
    let table = Table::open(&args.path).await?;
    let memory = MemoryBudget::new(MEMORY_BYTES);
    let versions = versions_of(&table, &args.key, &memory).await?;
    let Some(rows) = as_rows(&versions)? else {
        anyhow::bail!(
            "no retained file of {} has a row with the record key `{}`; record keys are in column _hoodie_record_key",
            args.path,
            args.key
        );
    };
    let format = if args.json {
        Format::Json
    } else {
        Format::Table
    };
    let schema = rows.schema();
    let batches = futures::stream::iter([Ok(rows)]).boxed();
    write_rows(RowStream { schema, batches }, format, None).await?;
    Ok(())
}

/// Instant, operation and partition before the columns of the table; those are null where the row was deleted. `None`
/// without any version.
fn as_rows(versions: &[RowVersion]) -> anyhow::Result<Option<RecordBatch>> {
    let Some(schema) = versions.iter().find_map(|version| version.row.as_ref()) else {
        return Ok(None);
    };
    let schema = nullable(&schema.schema());
    let rows: Vec<RecordBatch> = versions
        .iter()
        .map(|version| match &version.row {
            Some(row) => RecordBatch::try_new(Arc::clone(&schema), row.columns().to_vec()),
            None => {
                let nulls = schema
                    .fields()
                    .iter()
                    .map(|field| arrow::array::new_null_array(field.data_type(), 1));
                RecordBatch::try_new(Arc::clone(&schema), nulls.collect())
            }
        })
        .collect::<Result<_, _>>()?;
    let rows = concat_batches(&schema, &rows)?;
    let text = |of: fn(&RowVersion) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(versions.iter().map(of)))
    };
    let mut fields = ["instant", "operation", "partition"]
        .map(|name| Field::new(format!("_history_{name}"), DataType::Utf8, false))
        .to_vec();
    let mut columns = vec![
        text(|version| &version.instant),
        text(|version| {
            if version.row.is_some() {
                "written"
            } else {
                "deleted"
            }
        }),
        text(|version| &version.partition),
    ];
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        if !is_meta_column(field.name()) {
            fields.push(field.as_ref().clone());
            columns.push(Arc::clone(column));
        }
    }
    Ok(Some(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?))
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
