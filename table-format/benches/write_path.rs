//! How fast do columns become committed files: base files of a load, upserts that rewrite them, log files, and their compaction?

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

mod support;

use std::collections::BTreeMap;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use table_format::config::TableType;
use table_format::service::compaction::Due;
use tokio::runtime::Runtime;

use support::lake::{Lake, env};
use support::throughput;

const ROWS: u32 = 200_000;
const CHANGED: u32 = 50_000;

fn write_path(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("write");
    group.sample_size(10);
    group.throughput(throughput(ROWS));
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
    group.throughput(throughput(CHANGED));
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

fn compaction(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("compact");
    group.sample_size(10);
    group.throughput(throughput(ROWS));
    group.bench_function("quarter_updated", |bencher| {
        bencher.iter_batched(
            || {
                runtime.block_on(async {
                    let mut lake = Lake::create(TableType::MergeOnRead).await;
                    lake.load(ROWS).await;
                    for version in 0..5 {
                        lake.update(1 + version * 40_000, 10_000, version + 1).await;
                    }
                    lake
                })
            },
            |lake| {
                runtime.block_on(async {
                    let services = lake.table.services(env(), BTreeMap::new());
                    let planned = services
                        .schedule_compaction(Due::Now)
                        .await
                        .unwrap()
                        .unwrap();
                    let time = planned.instant.time;
                    let executed = services.execute_compaction(&time).await.unwrap();
                    assert_eq!(executed.rows, u64::from(ROWS));
                });
                lake
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, write_path, compaction);
criterion_main!(benches);
