//! A process that dies at any write of planning or executing a compaction.

use std::sync::Arc;

use object_store::path::Path;
use rstest::rstest;

use crate::config::TableVersion;
use crate::error::Result;
use crate::file_group::{BaseFile, LogFile};
use crate::service::compaction::Due;
use crate::storage::Storage;
use crate::table::Table;
use crate::testing::{Fault, FaultyStore};
use crate::timeline::State;
use crate::writer::tests::compaction::{Story, merge_on_read, rows};
use crate::writer::tests::model::{Shape, env};

/// The story's table behind a store that dies at this changing call.
fn dying(story: &Story, at: u64, fault: Fault) -> Storage {
    let faulty = FaultyStore::new(Arc::clone(story.storage.object_store()), at, fault);
    let root: Path = story.storage.object_path("").unwrap();
    Storage::with_store(Arc::new(faulty), root, story.storage.location())
}

async fn compact(storage: Storage) -> Result<()> {
    let table = Table::open_storage(storage).await?;
    let services = table.services(env(), std::collections::BTreeMap::new());
    services.schedule_compaction(Due::Now).await?;
    services.execute_pending_compactions().await?;
    Ok(())
}

#[rstest]
#[tokio::test]
async fn a_crash_at_any_write_of_a_compaction_changes_no_row(
    #[values(Fault::Fail, Fault::ApplyThenFail)] fault: Fault,
    #[values(TableVersion::Six, TableVersion::Nine)] version: TableVersion,
) {
    let mut died = 0;
    for crash_at in 0.. {
        let shape = Shape {
            is_partitioned: false,
            ..merge_on_read()
        };
        let mut story = Story::begin_version(shape, version).await;
        for first in [0, 200, 400] {
            story.write(&rows(first..first + 200, Some(1))).await;
        }
        story.write(&rows(5..600, Some(2))).await;
        story.write(&rows(20..25, None)).await;
        let is_done = compact(dying(&story, crash_at, fault)).await.is_ok();
        story.model.check(&story.storage).await;
        // Writers do not wait for the compaction, and do not take it for one of theirs.
        story.write(&rows(10..40, Some(3))).await;
        story.model.check(&story.storage).await;
        // The next attempt may die as well, while it removes what the first one left.
        if !is_done {
            drop(compact(dying(&story, crash_at % 11, fault)).await);
            story.model.check(&story.storage).await;
            story.write(&rows(35..70, Some(4))).await;
            story.model.check(&story.storage).await;
        }
        compact(story.storage.clone()).await.unwrap();
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
    assert!(died >= 9, "{died}");
}

/// All is completed, and no file bears an instant whose commit does not name it.
pub(super) async fn check_debris(story: &Story) {
    let timeline = story.table.timeline().await.unwrap();
    assert!(
        timeline
            .instants()
            .iter()
            .all(|instant| instant.state == State::Completed)
    );
    let mut committed = std::collections::BTreeSet::new();
    for instant in timeline.completed_writes() {
        let metadata = timeline.read_metadata(instant).await.unwrap();
        committed.extend(metadata.write_stats().filter_map(|stat| stat.path.clone()));
    }
    for (path, file) in story.storage.list_recursive("").await.unwrap() {
        let is_data =
            BaseFile::parse(&file.name, 0).is_some() || LogFile::parse(&file.name, 0).is_some();
        assert!(!is_data || committed.contains(&path), "{path} is debris");
    }
}
