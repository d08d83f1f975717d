//! How fast do the server's bytes become Arrow columns: result rows of a snapshot, and row events of the binary log?

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark"
)]

mod support;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ingest::batch::BatchBuilder;
use ingest::source::mysql::binlog::{BinlogDecoder, BinlogEvent, RowDecoder};
use table_format::record::RowKind;

use support::{Order, order, orders_table};

const ROWS: u32 = 50_000;
/// Rows of one event: the server cuts them at 8 KiB.
const ROWS_PER_EVENT: u32 = 60;

fn snapshot(criterion: &mut Criterion) {
    let packets: Vec<Vec<u8>> = (1..=ROWS).map(|id| result_row(&order(id, 0))).collect();
    let bytes: usize = packets.iter().map(Vec::len).sum();
    let mut group = criterion.benchmark_group("snapshot_decode");
    group.throughput(Throughput::ElementsAndBytes {
        elements: u64::from(ROWS),
        bytes: bytes as u64,
    });
    group.bench_function("orders", |bencher| {
        let mut batch = BatchBuilder::new(orders_table()).unwrap();
        bencher.iter(|| {
            for packet in &packets {
                batch.append_binary_row(packet, RowKind::Insert).unwrap();
            }
            black_box(batch.finish().unwrap())
        });
    });
    group.finish();
}

fn binlog(criterion: &mut Criterion) {
    let events: Vec<Vec<u8>> = (1..=ROWS)
        .step_by(ROWS_PER_EVENT as usize)
        .flat_map(|first| [event(19, &table_map()), event(23, &write_rows(first))])
        .collect();
    let rows = ROWS.div_ceil(ROWS_PER_EVENT) * ROWS_PER_EVENT;
    let bytes: usize = events.iter().map(Vec::len).sum();
    let mut group = criterion.benchmark_group("binlog_decode");
    group.throughput(Throughput::ElementsAndBytes {
        elements: u64::from(rows),
        bytes: bytes as u64,
    });
    group.bench_function("orders", |bencher| {
        let table = orders_table();
        let mut batch = BatchBuilder::new(Arc::clone(&table)).unwrap();
        bencher.iter(|| {
            let mut decoder = BinlogDecoder::default();
            let mut row_decoder = None;
            for raw in &events {
                match decoder.decode_inner(raw).unwrap().1 {
                    BinlogEvent::TableMap(map) => {
                        let table = || Arc::clone(&table);
                        row_decoder.get_or_insert_with(|| {
                            RowDecoder::try_new(map, table(), vec![0]).unwrap()
                        });
                    }
                    BinlogEvent::Rows(event) => {
                        row_decoder
                            .as_ref()
                            .unwrap()
                            .append(&event, &mut batch)
                            .unwrap();
                    }
                    other => panic!("unexpected {other:?}"),
                }
            }
            assert_eq!(batch.rows(), rows as usize);
            black_box(batch.finish().unwrap())
        });
    });
    group.finish();
}

/// A row of the binary protocol.
fn result_row(row: &Order) -> Vec<u8> {
    let mut out = vec![0; 3];
    out.extend(row.id.to_le_bytes());
    out.extend(row.customer.to_le_bytes());
    short_text(&mut out, row.status);
    short_text(
        &mut out,
        &format!("{}.{:04}", row.total / 10_000, row.total % 10_000),
    );
    out.extend(row.quantity.to_le_bytes());
    short_text(&mut out, &row.note);
    out.extend([11, 0xEA, 0x07, 1, 1, 0, 0, 0]);
    out.extend(row.micros.to_le_bytes());
    out.extend(row.weight.to_le_bytes());
    out
}

fn short_text(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap());
    out.extend(text.as_bytes());
}

/// An event as in a log without checksums.
fn event(kind: u8, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(19 + body.len()).unwrap();
    let mut out = 0_u32.to_le_bytes().to_vec();
    out.push(kind);
    out.extend(1_u32.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend([0; 6]);
    out.extend(body);
    out
}

fn table_map() -> Vec<u8> {
    // Table id, flags, names; types; their metadata: lengths in bytes, (precision, scale), fractional digits, size.
    let mut out = vec![7, 0, 0, 0, 0, 0, 1, 0];
    short_text(&mut out, "shop");
    out.push(0);
    short_text(&mut out, "orders");
    out.push(0);
    out.extend([8, 8, 3, 15, 246, 3, 15, 18, 5]);
    out.extend([9, 48, 0, 18, 4, 0x20, 0x03, 6, 8]);
    out.push(0b1111_1110);
    out
}

fn write_rows(first: u32) -> Vec<u8> {
    let mut out = vec![7, 0, 0, 0, 0, 0, 0, 0, 8, 0xFF];
    for row in (first..first + ROWS_PER_EVENT).map(|id| order(id, 0)) {
        out.push(0);
        out.extend(row.id.to_le_bytes());
        out.extend(row.customer.to_le_bytes());
        short_text(&mut out, row.status);
        out.extend(packed_decimal(row.total));
        out.extend(row.quantity.to_le_bytes());
        out.extend(u16::try_from(row.note.len()).unwrap().to_le_bytes());
        out.extend(row.note.as_bytes());
        out.extend(packed_datetime(row.micros));
        out.extend(row.weight.to_le_bytes());
    }
    out
}

/// DECIMAL(18,4): 14 digits before the point in 3 + 4 bytes, 4 after it in 2, the sign bit flipped.
fn packed_decimal(total: i128) -> Vec<u8> {
    let (whole, fraction) = (total / 10_000, total % 10_000);
    let high = u32::try_from(whole / 1_000_000_000).unwrap().to_be_bytes();
    let mut out = high[1..].to_vec();
    out.extend(u32::try_from(whole % 1_000_000_000).unwrap().to_be_bytes());
    out.extend(u16::try_from(fraction).unwrap().to_be_bytes());
    out[0] ^= 0x80;
    out
}

/// DATETIME(6) of 2026-01-01 00:00:00.
fn packed_datetime(micros: u32) -> Vec<u8> {
    let year_month_day = (2026_u64 * 13 + 1) << 5 | 1;
    let packed = (1 << 39) | (year_month_day << 17);
    let mut out = packed.to_be_bytes()[3..].to_vec();
    out.extend(&micros.to_be_bytes()[1..]);
    out
}

criterion_group!(benches, snapshot, binlog);
criterion_main!(benches);
