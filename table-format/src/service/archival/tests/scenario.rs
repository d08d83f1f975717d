use bytes::Bytes;

use super::lake::{answers, commit, create, create_version, instants, services, times};
use crate::config::{TableType, TableVersion};
use crate::error::ErrorKind;
use crate::file_group::view::latest_slices;
use crate::file_group::{Horizon, Visibility};
use crate::service::{Limit, Reason};
use crate::storage::Storage;
use crate::table::Table;
use crate::timeline::Instant;
use crate::timeline::metadata::{CommitMetadata, Payload, SCHEMA_KEY, WriteOperation, WriteStat};

/// Delta commits are not counted for compaction.
const FEW: (&str, &str) = ("hoodie.compact.inline.max.delta.commits", "1");

fn local(dir: &tempfile::TempDir) -> Storage {
    Storage::open(dir.path().to_str().unwrap()).unwrap()
}

#[tokio::test]
async fn what_is_archived_is_still_answered() {
    for table_type in [TableType::CopyOnWrite, TableType::MergeOnRead] {
        let dir = tempfile::tempdir().unwrap();
        let table = create(&local(&dir), table_type).await;
        let archiver = services(&table, &[FEW]);
        let mut merges = 0;
        for round in 0..6_i64 {
            commit(
                &table,
                round * 3..round * 3 + 6,
                &["@a", "b", "c", "d", "e"],
            )
            .await;
            let (before, active) = instants(&table).await;
            let expected = answers(&table, &times(&before)).await;
            let planned = archiver.plan_archival().await.unwrap();
            let report = archiver.archive().await.unwrap();
            assert_eq!(report.plan, planned);
            assert_eq!(
                report.plan.instants.len(),
                active - 2,
                "{table_type:?} {report:?}"
            );
            merges += report.merges;
            assert_eq!(instants(&table).await, (before.clone(), 2));
            assert_eq!(answers(&table, &times(&before)).await, expected);
            let again = archiver.archive().await.unwrap();
            assert_eq!(
                (again.plan.instants, again.plan.left_over),
                (vec![], vec![])
            );
        }
        assert!(merges >= 2, "{merges} merges");
        let history = table
            .storage()
            .list(&table.config().archive_dir())
            .await
            .unwrap();
        assert!(history.files.len() < 16, "{history:?}");
        let timeline = table
            .storage()
            .list(&table.config().timeline_dir())
            .await
            .unwrap();
        assert_eq!(timeline.files.len(), 6, "{timeline:?}");
    }
}

#[tokio::test]
async fn version_6_is_archived_into_log_files() {
    for table_type in [TableType::CopyOnWrite, TableType::MergeOnRead] {
        let dir = tempfile::tempdir().unwrap();
        let table = create_version(&local(&dir), table_type, TableVersion::Six).await;
        let archiver = services(&table, &[FEW]);
        for round in 0..3_i64 {
            let ids = round * 3..round * 3 + 6;
            commit(&table, ids, &["@a", "b", "c", "d", "e"]).await;
            let (before, active) = instants(&table).await;
            let expected = answers(&table, &times(&before)).await;
            let report = archiver.archive().await.unwrap();
            assert_eq!(report.plan.instants.len(), active - 2, "{report:?}");
            assert_eq!(instants(&table).await, (before.clone(), 2));
            assert_eq!(answers(&table, &times(&before)).await, expected);
            let again = archiver.archive().await.unwrap();
            assert_eq!(
                (again.plan.instants, again.plan.left_over),
                (vec![], vec![])
            );
        }
        let archive = table.storage().list(".hoodie/archived").await.unwrap();
        let names: Vec<&str> = archive
            .files
            .iter()
            .map(|file| file.name.as_str())
            .collect();
        let expected = [1, 2, 3].map(|number| format!(".commits_.archive.{number}_1-0-1"));
        assert_eq!(names, expected);
    }
}

#[tokio::test]
async fn hazard_25_a_checkpoint_is_found_in_the_archive() {
    let dir = tempfile::tempdir().unwrap();
    let table = create(&local(&dir), TableType::CopyOnWrite).await;
    commit(&table, 0..2, &["@1", "@2", "x", "@3"]).await;
    for _ in 0..5 {
        commit(&table, 0..2, &["a", "b", "c"]).await;
        services(&table, &[]).archive().await.unwrap();
    }
    let (all, active) = instants(&table).await;
    assert_eq!((all.len(), active), (19, 2));
    let (at, extra) = table
        .last_extra_metadata("lakebed.checkpoint")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(extra["lakebed.checkpoint"], "3");
    assert_eq!(Some(&at), all.iter().nth(3));
    let none = table.last_extra_metadata("other").await.unwrap();
    assert_eq!(none, None);
}

#[tokio::test]
async fn it_is_due_above_the_greatest_number_and_only_when_automatic() {
    let dir = tempfile::tempdir().unwrap();
    let table = create(&local(&dir), TableType::CopyOnWrite).await;
    commit(&table, 0..2, &["a", "b", "c", "d"]).await;
    let archiver = services(&table, &[]);
    assert_eq!(archiver.archive_if_due().await.unwrap(), None);
    commit(&table, 0..2, &["e"]).await;
    let manual = services(&table, &[("hoodie.archive.automatic", "false")]);
    assert_eq!(manual.archive_if_due().await.unwrap(), None);
    let report = archiver.archive_if_due().await.unwrap().unwrap();
    assert_eq!(report.plan.instants.len(), 3);
    let wrong = services(&table, &[("hoodie.keep.min.commits", "9")]);
    let error = wrong.archive_if_due().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn leftovers_of_a_torn_run_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let table = create(&local(&dir), TableType::CopyOnWrite).await;
    commit(&table, 0..2, &["a", "b", "c", "d", "e"]).await;
    let (all, _) = instants(&table).await;
    let (first, third) = (all.iter().next().unwrap(), all.iter().nth(2).unwrap());
    let history = table.config().archive_dir();
    let torn = Bytes::from_static(b"torn");
    for name in [
        format!("{}_{}_0.parquet", first.time, third.time),
        format!(".{}_{}_0.parquet.crc", first.time, third.time),
        "manifest_1".to_owned(),
        ".manifest_1.crc".to_owned(),
        "_version_".to_owned(),
        "._version_.crc".to_owned(),
    ] {
        let body = if name == "_version_" {
            Bytes::from_static(b"0")
        } else {
            torn.clone()
        };
        let path = format!("{history}/{name}");
        table.storage().create(&path, body).await.unwrap();
    }
    services(&table, &[]).archive().await.unwrap();
    assert_eq!(instants(&table).await, (all, 2));
    let left = table.storage().list(&history).await.unwrap();
    assert!(
        left.files.iter().all(|file| !file.name.ends_with(".crc")),
        "{left:?}"
    );
}

/// Adds an instant with its three files; `name` is that of the completed one.
async fn instant(table: &Table, name: &str, commit: &CommitMetadata) {
    let completed = Instant::parse_file_name(name).unwrap();
    let folder = table.config().timeline_dir();
    let bytes = commit.encode_avro().unwrap();
    for (name, body) in [
        (
            format!("{}.{}.requested", completed.time, completed.action),
            Vec::new(),
        ),
        (name.to_owned(), bytes),
    ] {
        let path = format!("{folder}/{name}");
        table.storage().create(&path, body.into()).await.unwrap();
    }
}

/// A table whose delta commit 03 completes after the compaction 05 was requested: its log belongs onto 05's base file, that
/// of 02 below it.
async fn table_with_a_late_log(dir: &tempfile::TempDir, late: &CommitMetadata) -> Table {
    let storage = local(dir);
    let table = create(&storage, TableType::MergeOnRead).await;
    let delta = CommitMetadata::new(WriteOperation::Upsert);
    let compaction = CommitMetadata::new(WriteOperation::Compact);
    for (name, commit) in [
        ("01_01.deltacommit", &delta),
        ("02_04.deltacommit", &delta),
        ("03_07.deltacommit", late),
        ("05_08.commit", &compaction),
        ("11_12.deltacommit", &delta),
        ("21_22.deltacommit", &delta),
        ("31_32.deltacommit", &delta),
        ("41_42.deltacommit", &delta),
    ] {
        instant(&table, name, commit).await;
    }
    for name in [
        ".hoodie_partition_metadata",
        "f_0_01.parquet",
        ".f_02.log.1_0-0-0",
        LATE_LOG,
        "f_0_05.parquet",
    ] {
        storage.create(name, Bytes::new()).await.unwrap();
    }
    table
}

const LATE_LOG: &str = ".f_03.log.1_0-0-0";

#[tokio::test]
async fn a_log_that_completed_after_a_compaction_was_requested_stays_in_its_slice() {
    let dir = tempfile::tempdir().unwrap();
    // The archiver does not know of the file, and archives the instant: as Hudi does, which does not look at files.
    let unknown = CommitMetadata::new(WriteOperation::Upsert);
    let table = table_with_a_late_log(&dir, &unknown).await;
    let slice = || async {
        let timeline = table.timeline().await.unwrap();
        let visibility = Visibility::new(&timeline, Horizon::Latest);
        let slices = latest_slices(table.storage(), table.config(), &timeline, &visibility);
        let slice = slices.await.unwrap().remove(0);
        let logs: Vec<String> = slice.log_files.iter().map(ToString::to_string).collect();
        (slice.base_instant.to_string(), logs)
    };
    let before = slice().await;
    assert_eq!(before, ("05".to_owned(), vec![LATE_LOG.to_owned()]));
    let archived = services(&table, &[FEW]).archive().await.unwrap();
    assert_eq!(archived.plan.instants.len(), 6, "{archived:?}");
    assert_eq!(slice().await, before);
    assert_eq!(instants(&table).await.0.len(), 8);
}

#[tokio::test]
async fn a_late_log_holds_its_delta_commit_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut late = CommitMetadata::new(WriteOperation::Upsert);
    late.add_stat(WriteStat {
        partition_path: Some(String::new()),
        path: Some(LATE_LOG.to_owned()),
        log_files: Some(vec![LATE_LOG.to_owned()]),
        ..WriteStat::default()
    });
    let table = table_with_a_late_log(&dir, &late).await;
    let report = services(&table, &[FEW]).archive().await.unwrap();
    assert_eq!(report.plan.instants.len(), 2, "{report:?}");
    let limit = Limit {
        time: "03".parse().unwrap(),
        reason: Reason::LateLog,
    };
    assert_eq!(report.plan.held_back_by, Some(limit));
    // The next compaction takes the log in.
    table
        .storage()
        .create("f_0_31.parquet", Bytes::new())
        .await
        .unwrap();
    let report = services(&table, &[FEW, ("hoodie.keep.max.commits", "3")]);
    assert_eq!(report.archive().await.unwrap().plan.instants.len(), 4);
}

#[tokio::test]
async fn an_archived_schema_counts_when_no_active_commit_carries_one() {
    let dir = tempfile::tempdir().unwrap();
    let table = create(&local(&dir), TableType::CopyOnWrite).await;
    let json = r#"{"type":"record","name":"r","fields":[{"name":"newer","type":["null","long"],"default":null}]}"#;
    let mut written = CommitMetadata::new(WriteOperation::Upsert);
    written
        .extra_metadata
        .insert(SCHEMA_KEY.to_owned(), json.to_owned());
    instant(&table, "01_02.commit", &written).await;
    for name in ["11_12", "21_22", "31_32", "41_42"] {
        let service = CommitMetadata::new(WriteOperation::Compact);
        instant(&table, &format!("{name}.commit"), &service).await;
    }
    services(&table, &[]).archive().await.unwrap();
    let schema = table.schema().await.unwrap();
    assert_eq!(schema.field(0).name(), "newer");
    let snapshot = table.snapshot(None).await.unwrap();
    assert!(snapshot.schema().column_with_name("newer").is_some());
    let early = table.snapshot(Some(&"01".parse().unwrap())).await.unwrap();
    assert_eq!(early.instant().unwrap().as_str(), "01");
}
