//! Seeded data that the benchmarks share: orders as columns, and a table to write them to.

#![allow(dead_code, reason = "each benchmark uses a part")]

pub(crate) mod lake;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use criterion::Throughput;

/// 2026-01-01 in microseconds.
const NEW_YEAR: i64 = 1_767_225_600_000_000;

/// The columns of `shop.orders`.
pub(crate) fn orders_schema() -> SchemaRef {
    let columns = [
        ("id", DataType::Int64),
        ("customer", DataType::Int64),
        ("status", DataType::Utf8),
        ("total", DataType::Decimal128(18, 4)),
        ("quantity", DataType::Int32),
        ("note", DataType::Utf8),
        (
            "created",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ),
        ("weight", DataType::Float64),
    ];
    let fields = columns.map(|(name, data_type)| Field::new(name, data_type, name != "id"));
    Arc::new(Schema::new(fields.to_vec()))
}

struct Order {
    id: i64,
    customer: i64,
    status: &'static str,
    total: i128,
    quantity: i32,
    note: String,
    created: i64,
    weight: f64,
}

/// The order with this id; `version` changes its values.
fn order(id: u32, version: u32) -> Order {
    let mixed = id.wrapping_mul(2_654_435_761).wrapping_add(version);
    Order {
        id: i64::from(id),
        customer: i64::from(mixed % 100_000),
        status: ["new", "paid", "sent", "returned"][(mixed % 4) as usize],
        total: i128::from(mixed % 1_000_000_000),
        quantity: i32::try_from(mixed % 50).unwrap(),
        note: format!("note {mixed:032x}"),
        created: NEW_YEAR + i64::from(mixed % 1_000_000),
        weight: f64::from(mixed) / 7.0,
    }
}

/// So many orders, and their bytes as Arrow columns.
pub(crate) fn throughput(rows: u32) -> Throughput {
    let columns = orders(&orders_schema(), 1, rows, 0);
    Throughput::ElementsAndBytes {
        elements: u64::from(rows),
        bytes: columns.get_array_memory_size() as u64,
    }
}

/// So many orders from id `first` on, as columns of the lake table.
pub(crate) fn orders(schema: &SchemaRef, first: u32, rows: u32, version: u32) -> RecordBatch {
    let rows: Vec<Order> = (first..first + rows).map(|id| order(id, version)).collect();
    let total = Decimal128Array::from_iter_values(rows.iter().map(|row| row.total));
    let created = rows.iter().map(|row| row.created);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
        Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|row| row.customer),
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
