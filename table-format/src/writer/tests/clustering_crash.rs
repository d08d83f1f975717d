//! A process that dies at any write of planning or executing a clustering.

use std::sync::Arc;

use object_store::path::Path;
use rstest::rstest;

use crate::config::TableVersion;
use crate::error::Result;
use crate::service::compaction::Due;
use crate::storage::Storage;
use crate::table::Table;
use crate::testing::{Fault, FaultyStore};
use crate::writer::tests::clustering::{copy_on_write, several_groups};
use crate::writer::tests::compaction::{Story, merge_on_read, rows};
use crate::writer::tests::compaction_crash::check_debris;
use crate::writer::tests::model::{Shape, env};

/// The story's table behind a store that dies at this changing call.
pub(super) fn dying(story: &Story, at: u64, fault: Fault) -> Storage {
    let faulty = FaultyStore::new(Arc::clone(story.storage.object_store()), at, fault);
    let root: Path = story.storage.object_path("").unwrap();
    Storage::with_store(Arc::new(faulty), root, story.storage.location())
}

async fn cluster(storage: Storage) -> Result<()> {
    let table = Table::open_storage(storage).await?;
    let sort = (
        "hoodie.clustering.plan.strategy.sort.columns".to_owned(),
        "price".to_owned(),
    );
    let services = table.services(env(), [sort].into());
    services.execute_pending_clusterings().await?;
    services.schedule_clustering(Due::Now).await?;
    services.execute_pending_clusterings().await?;
    Ok(())
}

#[rstest]
#[case(copy_on_write(), Fault::Fail, TableVersion::Nine)]
#[case(copy_on_write(), Fault::ApplyThenFail, TableVersion::Nine)]
#[case(merge_on_read(), Fault::Fail, TableVersion::Nine)]
#[case(merge_on_read(), Fault::ApplyThenFail, TableVersion::Nine)]
#[case(copy_on_write(), Fault::Fail, TableVersion::Six)]
#[case(merge_on_read(), Fault::ApplyThenFail, TableVersion::Six)]
#[tokio::test]
async fn a_crash_at_any_write_of_a_clustering_changes_no_row(
    #[case] shape: Shape,
    #[case] fault: Fault,
    #[case] version: TableVersion,
) {
    let mut died = 0;
    for crash_at in 0.. {
        let mut story = Story::begin_version(shape, version).await;
        for first in [0, 200, 400] {
            story.write(&rows(first..first + 200, Some(1))).await;
        }
        story.write(&rows(5..80, Some(2))).await;
        story.write(&rows(20..25, None)).await;
        let is_done = cluster(dying(&story, crash_at, fault)).await.is_ok();
        story.model.check(&story.storage).await;
        // The next attempt may die as well, while it removes what the first one left.
        if !is_done {
            drop(cluster(dying(&story, crash_at % 11, fault)).await);
            story.model.check(&story.storage).await;
        }
        cluster(story.storage.clone()).await.unwrap();
        story.model.check(&story.storage).await;
        check_debris(&story).await;
        story.write(&rows(0..650, Some(5))).await;
        story.writer.check_ranges(&story.storage).await;
        story.model.check(&story.storage).await;
        if is_done {
            break;
        }
        died += 1;
    }
    assert!(died >= 8, "{died}");
}

/// The plan of a failed execution stays when that is rolled back.
#[tokio::test]
async fn a_rollback_of_a_failed_execution_keeps_the_plan() {
    let mut story = several_groups(copy_on_write()).await;
    let services = story.services();
    let planned = services.schedule_clustering(Due::Now).await.unwrap();
    let time = planned.unwrap().instant.time;
    let table = Table::open_storage(dying(&story, 5, Fault::Fail))
        .await
        .unwrap();
    let failing = table.services(env(), std::collections::BTreeMap::new());
    failing.execute_clustering(&time).await.unwrap_err();
    let rolled_back = services.roll_back(&time).await.unwrap();
    assert!(!rolled_back.deleted.is_empty());
    story.model.check(&story.storage).await;
    assert_eq!(services.pending_clusterings().await.unwrap().len(), 1);
    services.execute_clustering(&time).await.unwrap();
    story.model.check(&story.storage).await;
    check_debris(&story).await;
    story.write(&rows(0..50, Some(5))).await;
    story.model.check(&story.storage).await;
}
