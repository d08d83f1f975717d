//! How fast is a slice read: its base file alone, and with log files to merge over it?

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use futures::TryStreamExt;
use table_format::config::TableType;
use table_format::reader::ReadOptions;
use tokio::runtime::Runtime;

use support::lake::{Lake, env};
use support::throughput;

const ROWS: u32 = 200_000;

async fn read(lake: &Lake) -> usize {
    let snapshot = lake.table.snapshot(None).await.unwrap();
    let options = ReadOptions::new(env().memory);
    let mut rows = 0;
    for slice in snapshot.slices() {
        let mut batches = snapshot.read_slice(slice, &options).await.unwrap();
        while let Some(batch) = batches.try_next().await.unwrap() {
            rows += batch.num_rows();
        }
    }
    rows
}

fn read_path(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("read");
    group.sample_size(10);
    group.throughput(throughput(ROWS));
    for (name, updates) in [("base_file", 0), ("merge_quarter_updated", 5)] {
        let lake = runtime.block_on(async {
            let mut lake = Lake::create(TableType::MergeOnRead).await;
            lake.load(ROWS).await;
            for version in 0..updates {
                lake.update(1 + version * 40_000, 10_000, version + 1).await;
            }
            lake
        });
        group.bench_function(name, |bencher| {
            bencher.iter(|| assert_eq!(runtime.block_on(read(&lake)), ROWS as usize));
        });
    }
    group.finish();
}

criterion_group!(benches, read_path);
criterion_main!(benches);
