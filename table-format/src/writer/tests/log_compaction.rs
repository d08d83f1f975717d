//! Log compactions beside writers: no row changes, and readers meet fewer records.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::path::Path;
use rstest::rstest;

use crate::config::{TableType, TableVersion};
use crate::error::{ErrorKind, Result};
use crate::service::Services;
use crate::service::compaction::Due;
use crate::storage::Storage;
use crate::table::Table;
use crate::testing::{Fault, FaultyStore};
use crate::writer::tests::compaction::{Story, merge_on_read, rows};
use crate::writer::tests::compaction_crash::check_debris;
use crate::writer::tests::model::{Shape, env};

fn shapes() -> impl Iterator<Item = Shape> {
    Shape::all().filter(|shape| shape.table_type == TableType::MergeOnRead)
}

/// Five logs in each slice, in which keys are changed again and again, deleted, and inserted anew.
async fn with_many_logs(shape: Shape) -> Story {
    let mut story = Story::with_logs(shape).await;
    for version in 3..6 {
        story.write(&rows(5..45, Some(version))).await;
        story.write(&rows(40..44, None)).await;
    }
    story.write(&rows(42..43, Some(9))).await;
    story
}

async fn fold(services: &Services) -> u64 {
    let planned = services.schedule_log_compaction(Due::Now).await.unwrap();
    let planned = planned.expect("there are logs to fold");
    let executed = services.execute_log_compaction(&planned.instant.time).await;
    let executed = executed.unwrap();
    assert_eq!(executed.log_files, planned.log_files);
    assert_eq!(executed.groups, planned.groups);
    executed.rows
}

#[tokio::test]
async fn folded_logs_hold_the_same_rows_whatever_is_written_meanwhile_and_later() {
    for shape in shapes() {
        let mut story = with_many_logs(shape).await;
        let services = story.services();
        let before = story.meta(false).await;
        fold(&services).await;
        story.model.check(&story.storage).await;
        assert_eq!(
            story.meta(false).await,
            before,
            "{shape:?}: meta columns stay"
        );
        // A write between plan and execution counts behind what is folded, though its log is older than the new one.
        story.write(&rows(8..20, Some(11))).await;
        let planned = services.schedule_log_compaction(Due::Now).await;
        let planned = planned.unwrap().unwrap().instant;
        story.write(&rows(10..15, Some(12))).await;
        story.write(&rows(16..18, None)).await;
        services
            .execute_log_compaction(&planned.time)
            .await
            .unwrap();
        story.model.check(&story.storage).await;
        story.write(&rows(12..13, Some(13))).await;
        story.model.check(&story.storage).await;
        story.writer.check_ranges(&story.storage).await;
        services.schedule_compaction(Due::Now).await.unwrap();
        services.execute_pending_compactions().await.unwrap();
        story.model.check(&story.storage).await;
        assert!(
            services
                .schedule_log_compaction(Due::Now)
                .await
                .unwrap()
                .is_none()
        );
        let findings = services.fsck(false).await.unwrap();
        assert!(findings.is_empty(), "{findings:?}");
    }
}

#[tokio::test]
async fn readers_meet_one_record_a_key() {
    let logged = async |story: &Story| {
        let services = story.services();
        let planned = services
            .schedule_compaction(Due::Now)
            .await
            .unwrap()
            .unwrap();
        let executed = services.execute_compaction(&planned.instant.time).await;
        let metadata = story.metadata(&executed.unwrap().instant).await;
        let stats = metadata.write_stats();
        stats.filter_map(|stat| stat.total_log_records).sum::<i64>()
    };
    let (plain, folded) = (
        with_many_logs(merge_on_read()).await,
        with_many_logs(merge_on_read()).await,
    );
    let records = fold(&folded.services()).await;
    assert_eq!(logged(&folded).await, i64::try_from(records).unwrap());
    assert!(logged(&plain).await > 3 * i64::try_from(records).unwrap());
}

#[tokio::test]
async fn it_is_due_when_enough_logs_are_not_folded_yet() {
    let mut story = Story::with_logs(merge_on_read()).await;
    let properties = [
        ("hoodie.log.compaction.inline", "true"),
        ("hoodie.log.compaction.blocks.threshold", "4"),
    ];
    let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let services = story.table.services(env(), BTreeMap::from(properties));
    assert!(services.compacts_logs_beside_writers().unwrap());
    assert!(!story.services().compacts_logs_beside_writers().unwrap());
    let mut folded = Vec::new();
    for version in 3..12 {
        story.write(&rows(5..30, Some(version))).await;
        folded.push(services.compact_logs_if_due().await.unwrap().len());
        story.model.check(&story.storage).await;
    }
    // The first writes left two logs; a new log is one of the four of the next time.
    assert_eq!(folded, [0, 1, 0, 0, 1, 0, 0, 1, 0]);
}

#[tokio::test]
async fn what_cannot_be_folded_is_refused() {
    let story = Story::with_logs_version(merge_on_read(), TableVersion::Six).await;
    let error = story
        .services()
        .schedule_log_compaction(Due::Now)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("table upgrade"), "{error}");
}

fn dying(story: &Story, at: u64, fault: Fault) -> Storage {
    let faulty = FaultyStore::new(Arc::clone(story.storage.object_store()), at, fault);
    let root: Path = story.storage.object_path("").unwrap();
    Storage::with_store(Arc::new(faulty), root, story.storage.location())
}

async fn compact_logs(storage: Storage) -> Result<()> {
    let table = Table::open_storage(storage).await?;
    let services = table.services(env(), BTreeMap::new());
    services.execute_pending_log_compactions().await?;
    services.schedule_log_compaction(Due::Now).await?;
    services.execute_pending_log_compactions().await?;
    Ok(())
}

#[rstest]
#[tokio::test]
async fn a_crash_at_any_write_of_a_log_compaction_changes_no_row(
    #[values(Fault::Fail, Fault::ApplyThenFail)] fault: Fault,
) {
    let mut died = 0;
    for crash_at in 0.. {
        let mut story = with_many_logs(merge_on_read()).await;
        let is_done = compact_logs(dying(&story, crash_at, fault)).await.is_ok();
        story.model.check(&story.storage).await;
        story.write(&rows(10..40, Some(21))).await;
        story.model.check(&story.storage).await;
        if !is_done {
            drop(compact_logs(dying(&story, crash_at % 7, fault)).await);
            story.model.check(&story.storage).await;
        }
        compact_logs(story.storage.clone()).await.unwrap();
        story.model.check(&story.storage).await;
        check_debris(&story).await;
        story.write(&rows(0..60, Some(22))).await;
        story.model.check(&story.storage).await;
        if is_done {
            break;
        }
        died += 1;
    }
    assert!(died >= 7, "{died}");
}
