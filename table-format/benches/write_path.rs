//! How fast do columns become committed files: base files of a load, upserts that rewrite them, and log files?

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

mod support;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use table_format::config::TableType;
use tokio::runtime::Runtime;

use support::lake::Lake;

const ROWS: u32 = 200_000;
const CHANGED: u32 = 50_000;

fn write_path(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("write");
    group.sample_size(10);
    group.throughput(Throughput::Elements(u64::from(ROWS)));
    group.bench_function("base_files", |bencher| {
        bencher.iter_batched(
            || runtime.block_on(Lake::create(TableType::CopyOnWrite)),
            |mut lake| {
                runtime.block_on(lake.load(ROWS));
                lake
            },
            BatchSize::PerIteration,
        );
    });
    group.throughput(Throughput::Elements(u64::from(CHANGED)));
    let kinds = [
        ("copy_on_write", TableType::CopyOnWrite),
        ("log_files", TableType::MergeOnRead),
    ];
    for (name, table_type) in kinds {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    runtime.block_on(async {
                        let mut lake = Lake::create(table_type).await;
                        lake.load(ROWS).await;
                        lake
                    })
                },
                |mut lake| {
                    runtime.block_on(lake.update(50_001, CHANGED, 1));
                    lake
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, write_path);
criterion_main!(benches);
