//! The archive as Hudi 1.2.0 wrote it: a merged file, and one of level 0 with a clean between the commits.

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::codec::properties::Properties;
use crate::testing::{Fault, FaultyStore};

const ALL: [&str; 10] = [
    "20261121114036041_20261121114036478.deltacommit",
    "20261121114036653_20261121114037150.deltacommit",
    "20261121114037444_20261121114037923.deltacommit",
    "20261121114038232_20261121114038721.deltacommit",
    "20261121114039103_20261121114039689.deltacommit",
    "20261121114040012_20261121114040603.deltacommit",
    "20261121114040809_20261121114040906.clean",
    "20261121114041149_20261121114041830.deltacommit",
    "20261121114041975_20261121114042082.clean",
    "20261121114042229_20261121114042881.deltacommit",
];

fn config() -> TableConfig {
    let properties: Properties = [
        ("hoodie.table.name", "t"),
        ("hoodie.table.version", "9"),
        ("hoodie.timeline.layout.version", "2"),
    ]
    .into_iter()
    .collect();
    TableConfig::try_new(properties).unwrap()
}

/// The archive in a directory of its own, and a count of what is read.
async fn archive() -> (tempfile::TempDir, Arc<FaultyStore>, ArchivedTimeline) {
    let dir = tempfile::tempdir().unwrap();
    let history = dir.path().join(config().archive_dir());
    std::fs::create_dir_all(&history).unwrap();
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/archive");
    for entry in std::fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), history.join(entry.file_name())).unwrap();
    }
    let storage = Storage::open(dir.path().to_str().unwrap()).unwrap();
    let store = Arc::clone(storage.object_store());
    let store = Arc::new(FaultyStore::new(store, u64::MAX, Fault::Fail));
    let root = storage.object_path("").unwrap();
    let counted = Storage::with_store(Arc::<FaultyStore>::clone(&store), root, storage.location());
    let archive = ArchivedTimeline::load(&counted, &config()).await.unwrap();
    (dir, store, archive)
}

fn time(text: &str) -> InstantTime {
    text.parse().unwrap()
}

async fn names(archive: &ArchivedTimeline, selection: &Selection) -> Vec<String> {
    let instants = archive.instants(selection).await.unwrap();
    instants.iter().map(Instant::file_name).collect()
}

#[tokio::test]
async fn reads_what_hudi_archived() {
    let (_dir, _, archive) = archive().await;
    assert!(!archive.is_empty());
    assert_eq!(names(&archive, &Selection::default()).await, ALL);
    let mut schemas = 0;
    archive
        .visit(&Selection::default(), |archived| {
            if archived.instant.action.is_write() {
                let (_, commit) = archived.into_commit()?;
                assert!(commit.write_stats().count() > 0);
                schemas += usize::from(commit.new_schema()?.is_some());
            }
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(schemas, 8);
}

#[tokio::test]
async fn a_span_of_time_opens_the_files_that_may_hold_it() {
    let (_dir, store, archive) = archive().await;
    let by_begin = Selection::default()
        .begun_from(Some(&time("20261121114041000")))
        .begun_by(Some(&time("20261121114042000")));
    let before = store.reads();
    assert_eq!(names(&archive, &by_begin).await, ALL[7..9]);
    let one_file = store.reads() - before;
    assert_eq!(names(&archive, &Selection::default()).await.len(), 10);
    assert!(store.reads() - before > one_file * 2 - 1);
    let by_completion = Selection::default()
        .completed_after(Some(&time("20261121114037150")))
        .completed_by(Some(&time("20261121114038721")));
    assert_eq!(names(&archive, &by_completion).await, ALL[2..4]);
    let before = store.reads();
    let later = Selection::default().completed_after(Some(&time("20261121114042881")));
    assert_eq!(names(&archive, &later).await, [""; 0]);
    let much_later = Selection::default().begun_from(Some(&time("20261122")));
    let footers = store.reads() - before;
    assert_eq!(names(&archive, &much_later).await, [""; 0]);
    assert!(footers <= 4, "{footers}");
    assert_eq!(store.reads() - before, footers, "no file is opened");
}

#[tokio::test]
async fn single_instants_are_found_by_their_times() {
    let (_dir, store, archive) = archive().await;
    let times = [
        "20261121114036653",
        "20261121114036654",
        "20261121114050000",
    ];
    let times = times.into_iter().map(time).collect();
    let before = store.reads();
    let found = archive.instants_at(&times).await.unwrap();
    assert_eq!(
        found.iter().map(Instant::file_name).collect::<Vec<_>>(),
        ALL[1..2]
    );
    let one_file = store.reads() - before;
    assert_eq!(archive.instants_at(&BTreeSet::new()).await.unwrap(), []);
    assert_eq!(store.reads() - before, one_file);
}

#[tokio::test]
async fn the_newest_write_is_found_from_the_end() {
    let (_dir, store, archive) = archive().await;
    let before = store.reads();
    let all = Selection::default();
    let (newest, commit) = archive
        .newest_write(&all, |_, _| Ok(true))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(newest.file_name(), ALL[9]);
    assert!(commit.schema().is_some());
    let one_file = store.reads() - before;
    let limit = time("20261121114039000");
    let (older, _) = archive
        .newest_write(&all, |instant, _| Ok(instant.time < limit))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(older.file_name(), ALL[3]);
    assert!(store.reads() - before > one_file * 2);
    let none = archive.newest_write(&all, |_, _| Ok(false)).await.unwrap();
    assert_eq!(none, None);
}

#[tokio::test]
async fn a_file_that_was_merged_away_is_a_conflict() {
    let (dir, _, archive) = archive().await;
    let history = dir.path().join(config().archive_dir());
    std::fs::remove_file(history.join("20261121114040809_20261121114042229_0.parquet")).unwrap();
    let error = archive.instants(&Selection::default()).await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Conflict, "{error}");
}
