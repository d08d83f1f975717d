//! Seeded data that the benchmarks share: orders as a source table, as Arrow columns, and as the server's own bytes.

#![allow(dead_code, reason = "each benchmark uses a part")]

pub(crate) mod lake;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::SchemaRef;
use ingest::schema::{SourceColumn, SourceTable};

/// 2026-01-01 in microseconds.
const NEW_YEAR: i64 = 1_767_225_600_000_000;

/// `shop.orders` as discovery describes it.
pub(crate) fn orders_table() -> Arc<SourceTable> {
    let columns = [
        ("id", "bigint(20)"),
        ("customer", "int(10) unsigned"),
        ("status", "varchar(12)"),
        ("total", "decimal(18,4)"),
        ("quantity", "int(11)"),
        ("note", "varchar(200)"),
        ("created", "datetime(6)"),
        ("weight", "double"),
    ];
    let column = |(name, column_type): (&str, &str)| {
        let charset = column_type
            .starts_with("varchar")
            .then(|| "utf8mb4".to_owned());
        SourceColumn {
            name: name.to_owned(),
            column_type: column_type.to_owned(),
            nullable: name != "id",
            collation: charset.as_ref().map(|_| "utf8mb4_general_ci".to_owned()),
            charset,
            is_json_alias: false,
        }
    };
    Arc::new(SourceTable {
        database: "shop".to_owned(),
        name: "orders".to_owned(),
        columns: columns.into_iter().map(column).collect(),
        primary_key: vec![0],
    })
}

/// The values of one order.
pub(crate) struct Order {
    pub(crate) id: i64,
    pub(crate) customer: u32,
    pub(crate) status: &'static str,
    pub(crate) total: i128,
    pub(crate) quantity: i32,
    pub(crate) note: String,
    pub(crate) micros: u32,
    pub(crate) weight: f64,
}

/// The order with this id; `version` changes its values.
pub(crate) fn order(id: u32, version: u32) -> Order {
    let mixed = id.wrapping_mul(2_654_435_761).wrapping_add(version);
    Order {
        id: i64::from(id),
        customer: mixed % 100_000,
        status: ["new", "paid", "sent", "returned"][(mixed % 4) as usize],
        total: i128::from(mixed % 1_000_000_000),
        quantity: (mixed % 50) as i32,
        note: format!("note {mixed:032x}"),
        micros: mixed % 1_000_000,
        weight: f64::from(mixed) / 7.0,
    }
}

/// So many orders from id `first` on, as columns of the lake table.
pub(crate) fn orders(schema: &SchemaRef, first: u32, rows: u32, version: u32) -> RecordBatch {
    let rows: Vec<Order> = (first..first + rows).map(|id| order(id, version)).collect();
    let total = Decimal128Array::from_iter_values(rows.iter().map(|row| row.total));
    let created = rows.iter().map(|row| NEW_YEAR + i64::from(row.micros));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
        Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|row| i64::from(row.customer)),
        )),
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|row| row.status),
        )),
        Arc::new(total.with_precision_and_scale(18, 4).unwrap()),
        Arc::new(Int32Array::from_iter_values(
            rows.iter().map(|row| row.quantity),
        )),
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|row| &row.note),
        )),
        Arc::new(TimestampMicrosecondArray::from_iter_values(created).with_timezone("UTC")),
        Arc::new(Float64Array::from_iter_values(
            rows.iter().map(|row| row.weight),
        )),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}
