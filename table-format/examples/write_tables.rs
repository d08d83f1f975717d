//! Writes a table of each kind below a directory, for other engines to read: copy-on-write and merge-on-read, with and
//! without partitions, with one and with several key columns; loaded in bulk, then changed and thinned out.
//!
//! `cargo run -p table-format --example write_tables -- DIR`

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use table_format::Result;
use table_format::config::TableType;
use table_format::env::{Env, MemoryBudget};
use table_format::record::{RowKind, WriteBatch};
use table_format::storage::Storage;
use table_format::table::{Table, TableSpec};
use table_format::writer::{WriteOperation, WriterOptions};

const REGIONS: [&str; 3] = ["eu", "us", "apac"];

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("name a directory")?;
    let kinds = [
        ("cow_plain", TableType::CopyOnWrite, &["id"][..], &[][..]),
        (
            "cow_partitioned",
            TableType::CopyOnWrite,
            &["id"],
            &["region"],
        ),
        (
            "cow_composite",
            TableType::CopyOnWrite,
            &["region", "id"],
            &[],
        ),
        ("mor_plain", TableType::MergeOnRead, &["id"], &[]),
        (
            "mor_partitioned",
            TableType::MergeOnRead,
            &["name"],
            &["region"],
        ),
        (
            "mor_composite",
            TableType::MergeOnRead,
            &["region", "id"],
            &["day"],
        ),
    ];
    for (name, table_type, record_key, partition_by) in kinds {
        let owned = |columns: &[&str]| columns.iter().map(|&column| column.to_owned()).collect();
        let spec = TableSpec {
            name: name.to_owned(),
            database: "shop".to_owned(),
            table_type,
            schema: schema(),
            record_key: owned(record_key),
            partition_by: owned(partition_by),
            ordering: Vec::new(),
            merge_mode: None,
            properties: BTreeMap::new(),
        };
        write_table(Storage::open(&format!("{dir}/{name}"))?, spec).await?;
    }
    Ok(())
}

/// A full load by two writers side by side, a round of changes in two steps, and a round of deletes and new rows.
async fn write_table(storage: Storage, spec: TableSpec) -> Result<()> {
    let env = Env::system(MemoryBudget::new(64 << 20));
    let table = Table::create(storage, env.clone(), spec).await?;
    let mut writer = table.writer(env, WriterOptions::default()).await?;

    let mut load = writer.begin(WriteOperation::BulkInsert).await?;
    let (mut low, mut high) = (load.bulk_insert(), load.bulk_insert());
    let (low_rows, high_rows) = (rows(0..500, 0)?, rows(500..1_000, 0)?);
    tokio::try_join!(low.write(&low_rows), high.write(&high_rows))?;
    let (low, high) = tokio::try_join!(low.finish(), high.finish())?;
    load.add(low);
    load.add(high);
    load.commit(position("load")).await?;

    let mut changes = writer.begin(WriteOperation::Upsert).await?;
    changes
        .upsert(batch(100..140, 1, RowKind::UpdateAfter)?)
        .await?;
    changes
        .upsert(batch(120..700, 2, RowKind::UpdateAfter)?)
        .await?;
    changes.commit(position("changes")).await?;

    let mut deletes = writer.begin(WriteOperation::Upsert).await?;
    deletes.upsert(batch(650..720, 0, RowKind::Delete)?).await?;
    deletes
        .upsert(batch(990..1_100, 3, RowKind::Insert)?)
        .await?;
    deletes
        .upsert(batch(5_000..5_010, 0, RowKind::Delete)?)
        .await?;
    deletes.commit(position("deletes")).await?;
    Ok(())
}

fn position(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("lakebed.position".to_owned(), text.to_owned())])
}

fn schema() -> SchemaRef {
    let tag = Field::new("element", DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("region", DataType::Utf8, true),
        Field::new("day", DataType::Date32, true),
        Field::new("price", DataType::Decimal128(10, 2), true),
        Field::new("weight", DataType::Float64, true),
        Field::new("count", DataType::Int32, true),
        Field::new("is_open", DataType::Boolean, true),
        Field::new(
            "at",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            true,
        ),
        Field::new("tags", DataType::List(Arc::new(tag)), true),
    ]))
}

fn batch(ids: std::ops::Range<i64>, version: i64, kind: RowKind) -> Result<WriteBatch> {
    let records = rows(ids, version)?;
    let kinds = vec![kind; records.num_rows()];
    Ok(WriteBatch { records, kinds })
}

/// The columns that keys and partitions use depend on the id alone, the others on the version as well.
fn rows(ids: std::ops::Range<i64>, version: i64) -> Result<RecordBatch> {
    let ids: Vec<i64> = ids.collect();
    let every_seventh_is_null = |id: &i64| (id % 7 != 0).then_some(*id);
    let mut tags = ListBuilder::new(StringBuilder::new()).with_field(Field::new(
        "element",
        DataType::Utf8,
        true,
    ));
    for id in &ids {
        for tag in 0..id % 3 {
            tags.values().append_value(format!("t{tag}"));
        }
        tags.append(id % 5 != 0);
    }
    let price = ids
        .iter()
        .map(|id| every_seventh_is_null(id).map(|id| i128::from(id * 101 + version)));
    let at = ids
        .iter()
        .map(|id| Some(1_700_000_000_000_000 + id * 1_000_001 + version));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids.clone())),
        Arc::new(
            ids.iter()
                .map(|id| Some(format!("näme {:04}", id * 37 % 6_007)))
                .collect::<StringArray>(),
        ),
        Arc::new(
            ids.iter()
                .map(|id| REGIONS.get((id % 3).unsigned_abs() as usize).copied())
                .collect::<StringArray>(),
        ),
        Arc::new(
            ids.iter()
                .map(|id| i32::try_from(19_000 + id % 2).ok())
                .collect::<Date32Array>(),
        ),
        Arc::new(
            price
                .collect::<Decimal128Array>()
                .with_precision_and_scale(10, 2)?,
        ),
        Arc::new(
            ids.iter()
                .map(|&id| Some(id as f64 / 8.0))
                .collect::<Float64Array>(),
        ),
        Arc::new(
            ids.iter()
                .map(|_| i32::try_from(version).ok())
                .collect::<Int32Array>(),
        ),
        Arc::new(
            ids.iter()
                .map(|id| every_seventh_is_null(id).map(|id| id % 2 == 0))
                .collect::<BooleanArray>(),
        ),
        Arc::new(
            at.collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
        Arc::new(tags.finish()),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
