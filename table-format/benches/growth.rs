//! What grows with a table? Opening a writer, committing, planning an archive and archiving, at several numbers of file groups and
//! of instants. Prints a table; `cargo bench -p table-format --bench growth`. Not a criterion benchmark: each state is costly to
//! make, and is measured a few times.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark"
)]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use table_format::config::TableType;
use table_format::record::{RowKind, WriteBatch};
use table_format::storage::Storage;
use table_format::table::{Table, TableSpec};
use table_format::timeline::metadata::{CommitMetadata, Payload, WriteOperation};
use table_format::writer::{TableWriter, WriterOptions};
use tempfile::TempDir;

use support::lake::env;
use support::{orders, orders_schema};

const ROUNDS: usize = 3;
/// Commits that are measured in a round; as many go before.
const COMMITS: u32 = 5;

struct Growing {
    table: Table,
    schema: SchemaRef,
    _directory: TempDir,
}

/// Medians of what was measured.
#[derive(Debug)]
struct Costs {
    open: Duration,
    again: Duration,
    commit: Duration,
    due: Duration,
    plan: Duration,
}

impl Growing {
    /// A merge-on-read table of so many file groups, written by one commit.
    async fn create(groups: u32) -> Self {
        let directory = TempDir::new().unwrap();
        let storage = Storage::open(directory.path().to_str().unwrap()).unwrap();
        let schema = orders_schema();
        let spec = TableSpec {
            name: "orders".to_owned(),
            database: "shop".to_owned(),
            table_type: TableType::MergeOnRead,
            schema: SchemaRef::clone(&schema),
            record_key: vec!["id".to_owned()],
            partition_by: Vec::new(),
            ordering: Vec::new(),
            merge_mode: None,
            properties: BTreeMap::new(),
        };
        let table = Table::create(storage, env(), spec).await.unwrap();
        let mut writer = table.writer(env(), WriterOptions::default()).await.unwrap();
        let mut transaction = writer.begin(WriteOperation::BulkInsert).await.unwrap();
        for group in 0..groups {
            let mut insert = transaction.bulk_insert();
            insert
                .write(&orders(&schema, group * 10 + 1, 10, 0))
                .await
                .unwrap();
            transaction.add(insert.finish().await.unwrap());
        }
        transaction.commit(BTreeMap::new()).await.unwrap();
        Self {
            table,
            schema,
            _directory: directory,
        }
    }

    /// Puts completed instants on the timeline that are older than all others and wrote nothing.
    async fn add_instants(&self, instants: u64) {
        let commit = CommitMetadata::new(WriteOperation::Upsert);
        let bytes = Bytes::from(commit.encode_avro().unwrap());
        let storage = self.table.storage();
        let folder = self.table.config().timeline_dir();
        for n in 0..instants {
            let begin = 20_250_101_000_000_000 + n * 10;
            for (name, body) in [
                (format!("{begin}.deltacommit.requested"), Bytes::new()),
                (format!("{begin}.deltacommit.inflight"), Bytes::new()),
                (format!("{begin}_{}.deltacommit", begin + 5), bytes.clone()),
            ] {
                let path = format!("{folder}/{name}");
                storage.create(&path, body).await.unwrap();
            }
        }
    }

    fn services(&self) -> table_format::service::Services {
        self.table.services(env(), BTreeMap::new())
    }

    async fn change(&self, writer: &mut TableWriter, version: u32) {
        let mut transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
        let records = orders(&self.schema, 1, 10, version);
        let kinds = vec![RowKind::UpdateAfter; records.num_rows()];
        transaction
            .upsert(WriteBatch { records, kinds })
            .await
            .unwrap();
        transaction.commit(BTreeMap::new()).await.unwrap();
    }

    async fn measure(&self) -> Costs {
        let mut samples: [Vec<Duration>; 5] = Default::default();
        for round in 0..ROUNDS {
            let clock = Instant::now();
            let mut writer = self
                .table
                .writer(env(), WriterOptions::default())
                .await
                .unwrap();
            samples[0].push(clock.elapsed());
            // What was touched last is in the caches: a daemon's commits follow each other.
            let first = u32::try_from(round).unwrap() * 2 * COMMITS;
            for version in first..first + 2 * COMMITS {
                let clock = Instant::now();
                self.change(&mut writer, version + 1).await;
                if version >= first + COMMITS {
                    samples[2].push(clock.elapsed());
                }
            }
            let clock = Instant::now();
            let transaction = writer.begin(WriteOperation::Upsert).await.unwrap();
            samples[1].push(clock.elapsed());
            transaction.abort().await.unwrap();
            let never = [
                ("hoodie.keep.max.commits", "1000000"),
                ("hoodie.keep.min.commits", "999999"),
            ];
            let never = never.map(|(key, value)| (key.to_owned(), value.to_owned()));
            let services = self.table.services(env(), never.into_iter().collect());
            let clock = Instant::now();
            services.archive_if_due().await.unwrap();
            samples[3].push(clock.elapsed());
            let clock = Instant::now();
            self.services().plan_archival().await.unwrap();
            samples[4].push(clock.elapsed());
        }
        let [open, again, commit, due, plan] = samples.map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2]
        });
        Costs {
            open,
            again,
            commit,
            due,
            plan,
        }
    }
}

fn print(groups: u32, instants: u64, state: &str, costs: &Costs) {
    let millis = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
    println!(
        "| {groups} | {instants} {state} | {} | {} | {} | {} | {} |",
        millis(costs.open),
        millis(costs.again),
        millis(costs.commit),
        millis(costs.due),
        millis(costs.plan)
    );
}

#[tokio::main]
async fn main() {
    // `cargo test --benches` runs this too, and only wants to know that it works.
    let is_test = !std::env::args().any(|word| word == "--bench");
    let groups: &[u32] = if is_test {
        &[3]
    } else {
        &[100, 1_000, 5_000, 20_000]
    };
    let instants: &[u64] = if is_test { &[40] } else { &[10, 500, 5_000] };
    println!(
        "| file groups | instants | open writer, ms | begin again | begin, write 10 rows, commit | archive if due | plan archive |"
    );
    println!("|---|---|---|---|---|---|---|");
    for &groups in groups {
        let lake = Growing::create(groups).await;
        print(groups, 0, "", &lake.measure().await);
    }
    for &instants in instants {
        let lake = Growing::create(3).await;
        lake.add_instants(instants).await;
        print(3, instants, "active", &lake.measure().await);
        let clock = Instant::now();
        let report = lake.services().archive().await.unwrap();
        let took = clock.elapsed();
        print(3, instants, "archived", &lake.measure().await);
        println!(
            "archiving {} instants: {took:.1?}",
            report.plan.instants.len()
        );
    }
}
