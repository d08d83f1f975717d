//! What a clustering replaces, in the hands of the other services.

use std::collections::BTreeMap;

use crate::config::LockSettings;
use crate::error::ErrorKind;
use crate::service::Services;
use crate::service::compaction::Due;
use crate::timeline::{Action, InstantTime, State};
use crate::transaction::heartbeat_path;
use crate::writer::tests::clustering::{cluster, copy_on_write, services, several_groups};
use crate::writer::tests::compaction::{Story, merge_on_read, rows};
use crate::writer::tests::model::env;

/// File ids whose files are there, replaced ones among them.
async fn file_ids(story: &Story) -> Vec<String> {
    let files = story.storage.list_recursive("").await.unwrap();
    let bases = files
        .iter()
        .filter_map(|(_, file)| crate::file_group::BaseFile::parse(&file.name, 0));
    let mut ids: Vec<String> = bases.map(|file| file.file_id).collect();
    ids.sort();
    ids.dedup();
    ids
}

async fn fsck(story: &Story) {
    let services = Services::unopened(story.storage.clone(), env(), BTreeMap::new());
    assert_eq!(services.fsck(false).await.unwrap(), []);
}

#[tokio::test]
async fn replaced_groups_are_cleaned_after_their_retention_and_archived_only_then() {
    for shape in [copy_on_write(), merge_on_read()] {
        let mut story = several_groups(shape).await;
        let old = file_ids(&story).await;
        let executed = cluster(&story, &[]).await;
        fsck(&story).await;
        let settings = [
            ("hoodie.clean.commits.retained", "2"),
            ("hoodie.keep.min.commits", "3"),
            ("hoodie.keep.max.commits", "4"),
        ];
        let services = services(&story, &settings);
        let has_old = async |story: &Story| {
            let ids = file_ids(story).await;
            old.iter().filter(|id| ids.contains(id)).count()
        };
        for round in 0..8 {
            // Uncleaned, the clustering holds archival up: after it its files would come back into sight.
            services.archive().await.unwrap();
            story.model.check(&story.storage).await;
            let timeline = story.table.timeline().await.unwrap();
            let is_active = timeline
                .find(&executed.instant.time, Action::ReplaceCommit)
                .is_some();
            assert!(is_active || has_old(&story).await == 0, "round {round}");
            story
                .write(&rows(round * 5..round * 5 + 20, Some(round)))
                .await;
            if round > 3 {
                services.clean().await.unwrap();
            }
            story.model.check(&story.storage).await;
            fsck(&story).await;
        }
        assert_eq!(has_old(&story).await, 0);
        let timeline = story.table.timeline().await.unwrap();
        let active = timeline.find(&executed.instant.time, Action::ReplaceCommit);
        assert_eq!(active, None, "it is archived in the end");
        story.model.check(&story.storage).await;
        story.write(&rows(0..90, Some(9))).await;
        story.writer.check_ranges(&story.storage).await;
        story.model.check(&story.storage).await;
    }
}

#[tokio::test]
async fn a_plan_under_way_keeps_its_inputs_and_pleases_fsck() {
    let mut story = several_groups(copy_on_write()).await;
    let selected = "hoodie.clustering.plan.strategy.partition.selected";
    let planning = services(&story, &[(selected, "region=eu")]);
    let planned = planning.schedule_clustering(Due::Now).await.unwrap();
    let time = planned.unwrap().instant.time;
    fsck(&story).await;
    for round in 0..5 {
        let mut changes = rows(0..400, Some(round));
        changes.retain(|change| change.region == "us");
        story.write(&changes).await;
    }
    let cleaning = services(&story, &[("hoodie.clean.commits.retained", "1")]);
    cleaning.clean().await.unwrap();
    fsck(&story).await;
    planning.execute_clustering(&time).await.unwrap();
    story.model.check(&story.storage).await;
    fsck(&story).await;
}

#[tokio::test]
async fn a_savepoint_brings_the_groups_before_a_clustering_back() {
    let mut story = several_groups(copy_on_write()).await;
    let last = story.write(&rows(0..10, Some(3))).await;
    let services = services(&story, &[]);
    services
        .create_savepoint(Some(&last.time), "")
        .await
        .unwrap();
    let model = story.model.clone();
    cluster(&story, &[]).await;
    story.write(&rows(0..50, Some(4))).await;
    services.restore(&last.time).await.unwrap();
    model.check(&story.storage).await;
    fsck(&story).await;
}

fn optimistic() -> crate::env::Env {
    let mode = (
        "hoodie.write.concurrency.mode".to_owned(),
        "OPTIMISTIC_CONCURRENCY_CONTROL".to_owned(),
    );
    let provider = (
        "hoodie.write.lock.provider".to_owned(),
        "org.apache.hudi.client.transaction.lock.InProcessLockProvider".to_owned(),
    );
    let settings = LockSettings::from_properties(&[mode, provider].into());
    env().with_locks(settings.unwrap())
}

#[tokio::test]
async fn beside_other_writers_a_plan_in_live_hands_is_left_to_them() {
    let mut story = several_groups(copy_on_write()).await;
    let services = story.table.services(optimistic(), BTreeMap::new());
    let planned = services.schedule_clustering(Due::Now).await.unwrap();
    let time: InstantTime = planned.unwrap().instant.time;
    let heartbeat = heartbeat_path(&time);
    story
        .storage
        .create(&heartbeat, bytes::Bytes::new())
        .await
        .unwrap();
    let error = services.execute_clustering(&time).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    // Another engine's, begun without a heartbeat: only who names it takes it up.
    story.storage.delete(&heartbeat).await.unwrap();
    let inflight = format!(".hoodie/timeline/{time}.clustering.inflight");
    story
        .storage
        .create(&inflight, bytes::Bytes::new())
        .await
        .unwrap();
    assert_eq!(services.execute_pending_clusterings().await.unwrap(), []);
    services.execute_clustering(&time).await.unwrap();
    assert!(!story.storage.exists(&heartbeat).await.unwrap());
    let timeline = story.table.timeline().await.unwrap();
    let done = timeline.find(&time, Action::ReplaceCommit).unwrap();
    assert_eq!(done.state, State::Completed);
    story.model.check(&story.storage).await;
    story.write(&rows(0..20, Some(5))).await;
    story.model.check(&story.storage).await;
}
