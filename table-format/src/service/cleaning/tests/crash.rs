//! A process that dies at any change it makes: the next clean or savepoint finishes the job.

use std::sync::Arc;

use object_store::path::Path;
use rstest::rstest;

use crate::service::cleaning::tests::table::{HandMade, base, t};
use crate::storage::Storage;
use crate::testing::{Fault, FaultyStore};
use crate::timeline::Action;

const SETTINGS: [(&str, &str); 1] = [("hoodie.clean.fileversions.retained", "1")];

fn faulty(storage: &Storage, crash_at: u64, fault: Fault) -> Storage {
    let store = FaultyStore::new(Arc::clone(storage.object_store()), crash_at, fault);
    let root: Path = storage.object_path("").unwrap();
    Storage::with_store(Arc::new(store), root, storage.location())
}

/// Three partitions with old versions, one of which is emptied; the table names a metadata table.
async fn table() -> HandMade {
    let table = HandMade::cow().await;
    for step in [1, 2, 3] {
        let files = ["a", "b"].map(|partition| base(partition, "f", step));
        table.commit(step, Action::Commit, &files).await;
    }
    table.commit(4, Action::Commit, &[base("c", "f", 4)]).await;
    table.replace(5, &[("c", "f")], &[]).await;
    table.name_metadata_table().await;
    table
}

#[rstest]
#[case(Fault::Fail)]
#[case(Fault::ApplyThenFail)]
#[tokio::test]
async fn a_killed_clean_is_finished_by_the_next(#[case] fault: Fault) {
    let mut deaths = 0;
    for crash_at in 0.. {
        let table = table().await;
        let before = table.slices(None).await;
        let dying = table.services_on(faulty(&table.storage, crash_at, fault), &SETTINGS);
        let is_alive = dying.clean().await.is_ok();
        assert_eq!(table.slices(None).await, before, "crash at {crash_at}");
        // The next one may die too.
        let next = faulty(&table.storage, crash_at % 5, fault);
        if table.services_on(next, &SETTINGS).clean().await.is_err() {
            deaths += 1;
        }
        table.services(&SETTINGS).clean().await.unwrap();
        assert_eq!(table.slices(None).await, before, "crash at {crash_at}");
        table
            .assert_left(&[base("a", "f", 3), base("b", "f", 3)])
            .await;
        assert_eq!(table.timeline().await.pending().count(), 0);
        assert_eq!(table.cleans().await, 1, "crash at {crash_at}");
        let partitions = table.storage.list("").await.unwrap().dirs;
        assert_eq!(partitions, [".hoodie", "a", "b"]);
        if is_alive {
            assert!(crash_at > 9 && deaths > 3, "{crash_at} {deaths}");
            break;
        }
    }
}

#[rstest]
#[case(Fault::Fail)]
#[case(Fault::ApplyThenFail)]
#[tokio::test]
async fn a_savepoint_is_whole_or_can_be_made_again(#[case] fault: Fault) {
    for crash_at in 0.. {
        let table = table().await;
        let dying = table.services_on(faulty(&table.storage, crash_at, fault), &[]);
        let made = dying.create_savepoint(Some(&t(2)), "").await.is_ok();
        let services = table.services(&SETTINGS);
        if services.savepoints().await.unwrap().is_empty() {
            assert!(!made);
            services.create_savepoint(Some(&t(2)), "").await.unwrap();
        }
        services.clean().await.unwrap();
        let left = table.left().await;
        assert!(left.contains(&base("a", "f", 2)) && left.contains(&base("b", "f", 2)));

        let dying = table.services_on(faulty(&table.storage, crash_at, fault), &[]);
        let deleted = dying.delete_savepoint(&t(2)).await.is_ok();
        if !deleted
            && table
                .timeline()
                .await
                .find(&t(2), Action::Savepoint)
                .is_some()
        {
            services.delete_savepoint(&t(2)).await.unwrap();
        }
        assert_eq!(services.savepoints().await.unwrap(), []);
        services.clean().await.unwrap();
        assert!(!table.left().await.contains(&base("a", "f", 2)));
        if made && deleted {
            break;
        }
    }
}
