//! Version 6: a failed delta commit is undone by command blocks, each written once however often the rollback dies.

use bytes::Bytes;

use crate::codec::log_block::{BlockKind, DataBlockBuilder, LogBlockReader};
use crate::error::Result;
use crate::storage::Storage;
use crate::table::Table;
use crate::testing::Fault;
use crate::timeline::metadata::{Payload, RollbackMetadata};
use crate::timeline::{Action, InstantTime};
use crate::writer::tests::failed_writes::{dying, services};
use crate::writer::tests::model::{env, local};

const PROPERTIES: &str = "hoodie.table.name=t\nhoodie.table.version=6\nhoodie.timeline.layout.version=1\n\
     hoodie.table.type=MERGE_ON_READ\nhoodie.table.timeline.timezone=UTC\n";
const BASE: &str = "20260101000000000";
const FAILED: &str = "20260102000000000";
/// A log of an older slice, to which the failed write added a version.
const LOG: &str = "p/.f0-0_20260101000000000.log.2_0-1-1";
/// A log that began with the failed write.
const OWN_LOG: &str = "p/.f1-0_20260102000000000.log.1_0-1-1";
const OWN_BASE: &str = "p/f2-0_0-1-1_20260102000000000.parquet";

fn block(instant: &str) -> Bytes {
    let mut builder = DataBlockBuilder::try_new(instant, "{}").unwrap();
    builder.append(|_| Ok(())).unwrap();
    builder.finish().unwrap().into()
}

async fn failed_table(storage: &Storage, has_markers: bool) {
    let inflight = format!(
        "{{\"partitionToWriteStats\":{{\"p\":[\
         {{\"fileId\":\"\",\"prevCommit\":\"null\",\"numInserts\":1}},\
         {{\"fileId\":\"f0-0\",\"prevCommit\":\"{BASE}\",\"numUpdateWrites\":1}}]}},\
         \"compacted\":false,\"extraMetadata\":{{}},\"operationType\":\"UPSERT\"}}"
    );
    let mut files = vec![
        (
            ".hoodie/hoodie.properties".to_owned(),
            Bytes::from(PROPERTIES),
        ),
        (format!(".hoodie/{BASE}.deltacommit"), Bytes::from("{}")),
        (
            format!(".hoodie/{FAILED}.deltacommit.requested"),
            Bytes::new(),
        ),
        (
            format!(".hoodie/{FAILED}.deltacommit.inflight"),
            inflight.into(),
        ),
        (
            "p/.hoodie_partition_metadata".to_owned(),
            Bytes::from("commitTime=1\n"),
        ),
        (format!("p/f0-0_0-1-1_{BASE}.parquet"), Bytes::from("x")),
        (
            "p/.f0-0_20260101000000000.log.1_0-1-1".to_owned(),
            block(BASE),
        ),
        (LOG.to_owned(), block(FAILED)),
        (OWN_LOG.to_owned(), block(FAILED)),
        (OWN_BASE.to_owned(), Bytes::from("x")),
    ];
    if has_markers {
        for (path, kind) in [(LOG, "APPEND"), (OWN_LOG, "APPEND"), (OWN_BASE, "CREATE")] {
            let marker = format!(".hoodie/.temp/{FAILED}/{path}.marker.{kind}");
            files.push((marker, Bytes::new()));
        }
    }
    for (path, bytes) in files {
        storage.create(&path, bytes).await.unwrap();
    }
}

async fn roll_back(storage: &Storage, time: &InstantTime) -> Result<()> {
    let table = Table::open_storage(storage.clone()).await?;
    table
        .services(env(), std::collections::BTreeMap::new())
        .roll_back(time)
        .await
        .map(drop)
}

#[tokio::test]
async fn a_failed_delta_commit_of_version_6_is_undone_by_one_command_a_slice() {
    let time: InstantTime = FAILED.parse().unwrap();
    for (has_markers, fault) in [
        (true, Fault::Fail),
        (true, Fault::ApplyThenFail),
        (false, Fault::Fail),
    ] {
        for crash_at in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let storage = local(&dir);
            failed_table(&storage, has_markers).await;
            let died = roll_back(&dying(&storage, crash_at, fault), &time).await;
            if died.is_err() {
                let _gone = roll_back(&dying(&storage, crash_at % 3, fault), &time).await;
                if let Err(error) = roll_back(&storage, &time).await {
                    assert_eq!(error.kind(), crate::ErrorKind::NotFound, "{error}");
                }
            }
            for (path, stays) in [(LOG, true), (OWN_LOG, false), (OWN_BASE, false)] {
                assert_eq!(
                    storage.exists(path).await.unwrap(),
                    stays,
                    "{path} {crash_at}"
                );
            }
            let mut commands = 0;
            for (path, file) in storage.list_recursive("p").await.unwrap() {
                if !file.name.contains(".log.") {
                    continue;
                }
                for block in LogBlockReader::new(storage.read(&path).await.unwrap()) {
                    let block = block.unwrap();
                    if block.kind == BlockKind::Command {
                        assert_eq!(block.header.target_instant_time(), Some(FAILED));
                        assert!(path.starts_with("p/.f0-0_20260101000000000.log."), "{path}");
                        commands += 1;
                    }
                }
            }
            assert_eq!(commands, 1, "crash at {crash_at}");
            let folder = format!(".hoodie/.temp/{FAILED}");
            assert!(storage.list_recursive(&folder).await.unwrap().is_empty());
            let table = Table::open_storage(storage.clone()).await.unwrap();
            let timeline = table.timeline().await.unwrap();
            assert_eq!(timeline.pending().count(), 0);
            if died.is_ok() {
                assert!(crash_at > 8);
                break;
            }
        }
    }
}

#[tokio::test]
async fn the_metadata_of_a_version_6_rollback_names_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    failed_table(&storage, true).await;
    let report = services(&storage)
        .await
        .roll_back(&FAILED.parse().unwrap())
        .await
        .unwrap();
    assert_eq!((report.deleted.len(), report.commands.len()), (2, 1));
    let table = Table::open_storage(storage.clone()).await.unwrap();
    let timeline = table.timeline().await.unwrap();
    let rollback = timeline.find(&report.rollback, Action::Rollback).unwrap();
    let bytes = timeline.read(rollback).await.unwrap();
    let metadata = RollbackMetadata::decode(&bytes).unwrap();
    let partition = &metadata.partition_metadata["p"];
    let undone = partition.log_files_from_failed_commit.as_ref().unwrap();
    assert!(
        undone.keys().all(|name| LOG.ends_with(name.as_str())),
        "{undone:?}"
    );
}
