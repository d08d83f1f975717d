//! How fast rows become Arrow columns: one thread, twelve narrow columns; result rows of a snapshot, and the row images of
//! a bulk insert and of single-row updates.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark"
)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ingest::batch::BatchBuilder;
use ingest::schema::{SourceColumn, SourceTable};
use ingest::source::mysql::binlog::{BinlogDecoder, BinlogEvent, RowDecoder};
use table_format::record::RowKind;

const ROWS_PER_EVENT: u64 = 100;
const EVENTS: u64 = 100;

/// Name, COLUMN_TYPE, type code and metadata in a table map.
const COLUMNS: [(&str, &str, u8, &[u8]); 12] = [
    ("id", "bigint", 8, &[]),
    ("customer", "int unsigned", 3, &[]),
    ("shop", "int", 3, &[]),
    ("quantity", "smallint", 2, &[]),
    ("status", "tinyint", 1, &[]),
    ("price", "decimal(10,2)", 246, &[10, 2]),
    ("weight", "double", 5, &[8]),
    ("day", "date", 10, &[]),
    ("created", "datetime", 18, &[0]),
    ("changed", "timestamp(6)", 17, &[6]),
    ("sku", "varchar(20)", 15, &[80, 0]),
    ("note", "varchar(100)", 15, &[144, 1]),
];

fn table() -> Arc<SourceTable> {
    let column = |(name, column_type, _, _): &(&str, &str, u8, &[u8])| SourceColumn {
        name: (*name).to_owned(),
        column_type: (*column_type).to_owned(),
        nullable: true,
        charset: Some("utf8mb4".to_owned()),
        collation: None,
        is_json_alias: false,
    };
    Arc::new(SourceTable {
        database: "shop".to_owned(),
        name: "orders".to_owned(),
        columns: COLUMNS.iter().map(column).collect(),
        primary_key: vec![0],
        chunk_column: None,
        charset: None,
    })
}

/// An event without a checksum.
fn event(event_type: u8, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(19 + body.len()).expect("a small event");
    let mut raw = vec![0; 4];
    raw.push(event_type);
    raw.extend_from_slice(&1_u32.to_le_bytes());
    raw.extend_from_slice(&size.to_le_bytes());
    raw.extend_from_slice(&[0; 6]);
    raw.extend_from_slice(body);
    raw
}

fn table_map() -> Vec<u8> {
    let mut body = vec![7, 0, 0, 0, 0, 0, 1, 0, 4];
    body.extend_from_slice(b"shop\0\x06orders\0\x0c");
    body.extend(COLUMNS.iter().map(|(_, _, code, _)| code));
    let metadata: Vec<u8> = COLUMNS
        .iter()
        .flat_map(|(_, _, _, metadata)| *metadata)
        .copied()
        .collect();
    body.push(metadata.len() as u8);
    body.extend_from_slice(&metadata);
    body.extend_from_slice(&[0xff, 0x0f]);
    event(19, &body)
}

fn image(id: u64, out: &mut Vec<u8>) {
    // One null in ten in the last column.
    let null = id.is_multiple_of(10);
    out.extend_from_slice(&[0, if null { 8 } else { 0 }]);
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&((id % 5000) as u32).to_le_bytes());
    out.extend_from_slice(&((id % 30) as u32).to_le_bytes());
    out.extend_from_slice(&3_u16.to_le_bytes());
    out.push(1);
    // 1234.56
    out.extend_from_slice(&[0x80, 0, 4, 0xd2, 56]);
    out.extend_from_slice(&1.25_f64.to_le_bytes());
    out.extend_from_slice(&(2026_u32 << 9 | 11 << 5 | 23).to_le_bytes()[..3]);
    let date_time: u64 =
        (1 << 39) | ((2026 * 13 + 11) << 22) | (23 << 17) | (9 << 12) | (30 << 6) | 15;
    out.extend_from_slice(&date_time.to_be_bytes()[3..]);
    out.extend_from_slice(&1_795_000_000_u32.to_be_bytes());
    out.extend_from_slice(&[1, 0xe2, 0x40]);
    out.extend_from_slice(b"\x09SKU-12345");
    if !null {
        out.extend_from_slice(b"\x10\0leave at the doo");
    }
}

/// Rows events: type, bitmaps, and how many images a row has.
fn rows_events(event_type: u8, images: usize) -> Vec<Vec<u8>> {
    let one = |number: u64| {
        let mut body = vec![7, 0, 0, 0, 0, 0, 1, 0, 12];
        for _ in 0..images {
            body.extend_from_slice(&[0xff, 0x0f]);
        }
        for row in 0..ROWS_PER_EVENT {
            for _ in 0..images {
                image(number * ROWS_PER_EVENT + row, &mut body);
            }
        }
        event(event_type, &body)
    };
    (0..EVENTS).map(one).collect()
}

fn decode_rows(criterion: &mut Criterion) {
    let table = table();
    for (name, event_type, images) in [("insert", 23, 1), ("update", 24, 2)] {
        let events = rows_events(event_type, images);
        let bytes = events.iter().map(|event| event.len() as u64).sum();
        let mut batch = BatchBuilder::new(Arc::clone(&table)).expect("known types");
        let mut run = || {
            let mut decoder = BinlogDecoder::default();
            let map = table_map();
            let Ok((_, BinlogEvent::TableMap(map))) = decoder.decode_inner(&map) else {
                panic!("not a table map")
            };
            let rows =
                RowDecoder::try_new(map, Arc::clone(&table), vec![0]).expect("the same table");
            for raw in &events {
                let Ok((_, BinlogEvent::Rows(event))) = decoder.decode_inner(raw) else {
                    panic!("not a rows event")
                };
                rows.append(&event, &mut batch).expect("rows of the table");
            }
            batch.finish().expect("whole rows")
        };
        let mut group = criterion.benchmark_group("event_decode");
        group.throughput(Throughput::Elements(EVENTS * ROWS_PER_EVENT));
        group.bench_function(format!("{name}/rows"), |bench| {
            bench.iter(|| black_box(run()))
        });
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function(format!("{name}/bytes"), |bench| {
            bench.iter(|| black_box(run()))
        });
        group.finish();
    }
}

/// A row of a result set in the binary protocol, with the values of [`image`].
fn result_row(id: u64) -> Vec<u8> {
    let null = id.is_multiple_of(10);
    // The bitmap begins two bits in: the last column is bit 13.
    let mut row = vec![0, 0, if null { 0x20 } else { 0 }];
    row.extend_from_slice(&id.to_le_bytes());
    row.extend_from_slice(&((id % 5000) as u32).to_le_bytes());
    row.extend_from_slice(&((id % 30) as u32).to_le_bytes());
    row.extend_from_slice(&3_u16.to_le_bytes());
    row.push(1);
    row.extend_from_slice(b"\x071234.56");
    row.extend_from_slice(&1.25_f64.to_le_bytes());
    row.extend_from_slice(&[4, 0xea, 7, 11, 23]);
    row.extend_from_slice(&[7, 0xea, 7, 11, 23, 9, 30, 15]);
    row.extend_from_slice(&[11, 0xea, 7, 11, 23, 9, 30, 15, 0x40, 0xe2, 1, 0]);
    row.extend_from_slice(b"\x09SKU-12345");
    if !null {
        row.extend_from_slice(b"\x10leave at the doo");
    }
    row
}

fn decode_result_rows(criterion: &mut Criterion) {
    let rows: Vec<_> = (0..EVENTS * ROWS_PER_EVENT).map(result_row).collect();
    let bytes = rows.iter().map(|row| row.len() as u64).sum();
    let mut batch = BatchBuilder::new(table()).expect("known types");
    let mut run = || {
        for row in &rows {
            let appended = batch.append_binary_row(row, RowKind::Insert);
            appended.expect("a row of the table");
        }
        batch.finish().expect("whole rows")
    };
    let mut group = criterion.benchmark_group("snapshot_decode");
    group.throughput(Throughput::Elements(EVENTS * ROWS_PER_EVENT));
    group.bench_function("rows", |bench| bench.iter(|| black_box(run())));
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("bytes", |bench| bench.iter(|| black_box(run())));
    group.finish();
}

criterion_group!(benches, decode_rows, decode_result_rows);
criterion_main!(benches);
