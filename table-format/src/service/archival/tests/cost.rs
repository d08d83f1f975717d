//! What archival costs depends on what is archived, not on what was archived before.

use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::lake::{create, env};
use crate::config::TableType;
use crate::storage::Storage;
use crate::table::Table;
use crate::testing::{Fault, FaultyStore};
use crate::timeline::metadata::{CommitMetadata, Payload, WriteOperation};

const ROUNDS: u64 = 250;
const COMMITS: u64 = 20;

#[tokio::test]
async fn archiving_ten_of_five_thousand_instants_reads_none_of_the_others() {
    let store = Arc::new(FaultyStore::new(
        Arc::new(InMemory::new()),
        u64::MAX,
        Fault::Fail,
    ));
    let storage = Storage::with_store(
        Arc::<FaultyStore>::clone(&store),
        Path::default(),
        "memory:",
    );
    let table = create(&storage, TableType::CopyOnWrite).await;
    let metadata = CommitMetadata::new(WriteOperation::Upsert);
    let bytes = Bytes::from(metadata.encode_avro().unwrap());
    let properties = [
        ("hoodie.keep.max.commits", "11"),
        ("hoodie.keep.min.commits", "10"),
        ("hoodie.clean.commits.retained", "2"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let services = table.services(env(), properties.into_iter().collect());
    let mut costs = Vec::new();
    for round in 0..ROUNDS {
        for commit in 0..COMMITS {
            let begin = 20_260_101_000_000_000 + (round * COMMITS + commit) * 10;
            let folder = table.config().timeline_dir();
            for (name, body) in [
                (format!("{begin}.commit.requested"), Bytes::new()),
                (format!("{begin}.inflight"), Bytes::new()),
                (format!("{begin}_{}.commit", begin + 5), bytes.clone()),
            ] {
                storage
                    .create(&format!("{folder}/{name}"), body)
                    .await
                    .unwrap();
            }
        }
        let (reads, calls) = (store.reads(), store.calls());
        let planned = services.plan_archival().await.unwrap();
        let planning = store.reads() - reads;
        let report = services.archive().await.unwrap();
        assert_eq!(planned, report.plan);
        let archived = report.plan.instants.len() as u64;
        assert!(archived >= COMMITS - 10);
        if report.merges == 0 {
            let reading = store.reads() - reads - planning;
            costs.push((planning, reading - archived, store.calls() - calls));
        }
    }
    let reopened = Table::open_storage(storage).await.unwrap();
    let archive = reopened.archived().await.unwrap();
    let all = archive.instants(&Default::default()).await.unwrap();
    assert_eq!(all.len() as u64, ROUNDS * COMMITS - 10);
    // After the first rounds, in which the archive is empty.
    let (first, last) = (costs[3], costs[costs.len() - 1]);
    assert!(
        last.0 <= first.0 && last.1 <= first.1 + 1,
        "{first:?} {last:?}"
    );
    assert!(last.2 <= first.2 + 4, "{first:?} {last:?}");
    // Properties, version, manifest.
    assert!(last.0 <= 4, "{last:?}");
}
