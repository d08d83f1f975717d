//! How fast do rows become the Avro records of log blocks, and columns again?

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

mod support;

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use table_format::codec::avro::{RecordDecoder, RecordEncoder};
use table_format::codec::log_block::{DataBlockBuilder, LogBlockReader};
use table_format::schema::avro::arrow_to_avro;

use support::{orders, orders_schema};

const ROWS: u32 = 50_000;
const INSTANT: &str = "20260101000000000";

fn log_blocks(criterion: &mut Criterion) {
    let schema = orders_schema();
    let batch = orders(&schema, 1, ROWS, 0);
    let avro = arrow_to_avro(&schema, "orders_record", "hoodie.orders").unwrap();
    let encode = || {
        let rows = RecordEncoder::try_new(&schema, &avro)
            .unwrap()
            .bind(&batch)
            .unwrap();
        let mut block = DataBlockBuilder::try_new(INSTANT, &avro).unwrap();
        for row in 0..batch.num_rows() {
            block.append(|out| rows.encode(row, out)).unwrap();
        }
        block.finish().unwrap()
    };
    let block = Bytes::from(encode());
    let mut group = criterion.benchmark_group("log_block");
    group.throughput(Throughput::ElementsAndBytes {
        elements: u64::from(ROWS),
        bytes: block.len() as u64,
    });
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(encode())));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            let block = LogBlockReader::new(block.clone()).next().unwrap().unwrap();
            let mut decoder = RecordDecoder::try_new(block.header.schema().unwrap()).unwrap();
            for record in block.avro_records().unwrap() {
                decoder.decode(record.unwrap()).unwrap();
            }
            let rows = decoder.finish().unwrap();
            assert_eq!(rows.num_rows(), batch.num_rows());
            black_box(rows)
        });
    });
    group.finish();
}

criterion_group!(benches, log_blocks);
criterion_main!(benches);
