//! An archiver that dies at any call: no instant is lost, every reader sees the same, and the next run finishes the job.

use std::path::Path;
use std::sync::Arc;

use rstest::rstest;

use super::lake::{Answers, answers, commit, create_version, instants, services, times};
use crate::config::{TableType, TableVersion};
use crate::storage::Storage;
use crate::table::Table;
use crate::testing::{Fault, FaultyStore};
use crate::timeline::InstantTime;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A table whose next run archives, merges two levels, and removes old manifests and files.
async fn table_before_a_merge(dir: &Path, version: TableVersion) -> Table {
    let storage = Storage::open(dir.to_str().unwrap()).unwrap();
    let table = create_version(&storage, TableType::CopyOnWrite, version).await;
    for _ in 0..9 {
        commit(&table, 0..3, &["@a", "b", "c"]).await;
        services(&table, &[]).archive().await.unwrap();
    }
    commit(&table, 0..3, &["d", "e", "f"]).await;
    table
}

async fn check(table: &Table, times: &[InstantTime], expected: &Answers, what: &str) {
    assert_eq!(answers(table, times).await, *expected, "{what}");
}

#[rstest]
#[tokio::test]
async fn a_crash_at_any_call_loses_and_doubles_no_instant(
    #[values(Fault::Fail, Fault::ApplyThenFail)] fault: Fault,
    #[values(TableVersion::Six, TableVersion::Nine)] version: TableVersion,
) {
    let original = tempfile::tempdir().unwrap();
    let table = table_before_a_merge(original.path(), version).await;
    let (before, active) = instants(&table).await;
    let times = times(&before);
    let expected = answers(&table, &times).await;
    let (merges, least_crashes) = match version {
        TableVersion::Six => (0, 8),
        TableVersion::Eight | TableVersion::Nine => (2, 18),
    };
    let mut crashes = 0;
    for crash_at in 0.. {
        let what = format!("crash at {crash_at}");
        let dir = tempfile::tempdir().unwrap();
        copy(original.path(), dir.path());
        let storage = Storage::open(dir.path().to_str().unwrap()).unwrap();
        let faulty = FaultyStore::new(Arc::clone(storage.object_store()), crash_at, fault);
        let root = storage.object_path("").unwrap();
        let failing = Storage::with_store(Arc::new(faulty), root, storage.location());
        let dying = Table::open_storage(failing).await.unwrap();
        let died = services(&dying, &[]).archive().await;

        let table = Table::open_storage(storage).await.unwrap();
        check(&table, &times, &expected, &what).await;
        let report = services(&table, &[]).archive().await.unwrap();
        assert_eq!(
            instants(&table).await,
            (before.clone(), 2),
            "{what}: {report:?}"
        );
        check(&table, &times, &expected, &what).await;

        // What comes next goes on from there.
        commit(&table, 0..3, &["x", "y", "z"]).await;
        let (all, _) = instants(&table).await;
        services(&table, &[]).archive().await.unwrap();
        assert_eq!(instants(&table).await, (all, 2), "{what}");
        if let Ok(report) = died {
            assert_eq!(report.plan.instants.len(), active - 2);
            assert_eq!(report.merges, merges);
            break;
        }
        crashes += 1;
    }
    assert!(crashes > least_crashes, "{crashes}");
}
