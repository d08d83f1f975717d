//! Plans: ours stand on the timeline, those of others are executed.

use crate::error::ErrorKind;
use crate::service::cleaning::tests::table::{HandMade, base, t};
use crate::timeline::metadata::{CleanFileInfo, CleanMetadata, CleanerPlan, Payload};
use crate::timeline::{Action, State};

const VERSIONS: &str = "hoodie.clean.fileversions.retained";

async fn table() -> HandMade {
    let table = HandMade::cow().await;
    for step in [1, 2, 3] {
        table
            .commit(step, Action::Commit, &[base("a", "f", step)])
            .await;
    }
    table
}

/// Puts a plan of another engine on the timeline.
async fn foreign(table: &HandMade, paths: &[(&str, String)], is_bootstrap: bool) {
    let mut plan = CleanerPlan {
        policy: "KEEP_LATEST_FILE_VERSIONS".to_owned(),
        ..CleanerPlan::default()
    };
    for (partition, path) in paths {
        plan.file_paths_to_be_deleted_per_partition
            .entry((*partition).to_owned())
            .or_default()
            .push(CleanFileInfo {
                file_path: Some(path.clone()),
                is_bootstrap_base_file: Some(is_bootstrap),
            });
    }
    let path = format!(".hoodie/timeline/{}.clean.requested", t(9));
    let bytes = plan.encode_avro().unwrap();
    table.storage.create(&path, bytes.into()).await.unwrap();
}

#[tokio::test]
async fn a_plan_waits_to_be_executed_and_there_is_one_at_a_time() {
    let table = table().await;
    let services = table.services(&[(VERSIONS, "1")]);
    let preview = services.preview_clean().await.unwrap();
    assert_eq!((preview.len(), preview[0].files_count()), (1, 2));
    assert_eq!(preview[0].instant, None);
    assert_eq!(
        table.timeline().await.instants().len(),
        3,
        "a preview changes nothing"
    );
    let planned = services.schedule_clean().await.unwrap().unwrap();
    assert_eq!(table.left().await.len(), 3);
    let again = services.schedule_clean().await.unwrap().unwrap();
    assert_eq!(again.instant, planned.instant);
    let preview = services.preview_clean().await.unwrap();
    assert_eq!(preview.len(), 1, "the pending plan covers what is to go");
    let instant = planned.instant.unwrap();
    let done = services.execute_clean(&instant).await.unwrap();
    assert_eq!(done.files, planned.files);
    table.assert_left(&[base("a", "f", 3)]).await;
    let error = services.execute_clean(&instant).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(services.schedule_clean().await.unwrap().is_none());
}

#[tokio::test]
async fn the_record_tells_what_went() {
    let table = table().await;
    let done = table.clean((VERSIONS, 1)).await;
    let timeline = table.timeline().await;
    let clean = timeline.instants().last().unwrap();
    assert_eq!(
        (clean.action, clean.state),
        (Action::Clean, State::Completed)
    );
    let record: CleanMetadata = timeline.read_payload(clean).await.unwrap();
    assert_eq!(record.start_clean_time, clean.time.to_string());
    assert_eq!(record.last_completed_commit_timestamp, t(3).to_string());
    assert_eq!((record.total_files_deleted, record.version), (2, Some(2)));
    let partition = &record.partition_metadata["a"];
    assert_eq!(partition.policy, "KEEP_LATEST_FILE_VERSIONS");
    assert_eq!(partition.success_delete_files, done[0].files["a"]);
    assert_eq!(partition.delete_path_patterns, done[0].files["a"]);
    assert_eq!(partition.is_partition_deleted, Some(false));
}

#[tokio::test]
async fn pending_plans_of_others_are_finished_first() {
    let table = table().await;
    // The table has moved since, and Hudi names local files by `file:`.
    let path = format!("file:/elsewhere/t/{}", base("a", "f", 1));
    foreign(&table, &[("a", path)], false).await;
    let done = table.clean((VERSIONS, 2)).await;
    assert_eq!(done.len(), 1, "nothing is left for a clean of our own");
    assert_eq!(done[0].instant, Some(t(9)));
    table
        .assert_left(&[base("a", "f", 2), base("a", "f", 3)])
        .await;
    assert_eq!(table.timeline().await.pending().count(), 0);
}

#[tokio::test]
async fn a_plan_that_reaches_outside_is_refused() {
    for (path, is_bootstrap, kind) in [
        (base("b", "f", 1), false, ErrorKind::Corrupt),
        ("/t/a/".to_owned(), false, ErrorKind::Corrupt),
        (base("a", "f", 1), true, ErrorKind::Unsupported),
    ] {
        let table = table().await;
        foreign(&table, &[("a", format!("/t/{path}"))], is_bootstrap).await;
        let error = table.services(&[]).clean().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(
            error.to_string().contains("clean.requested") || error.to_string().contains("clean")
        );
        assert_eq!(table.left().await.len(), 3);
    }
}

#[tokio::test]
async fn a_savepoint_made_after_the_plan_is_honoured() {
    let table = table().await;
    let services = table.services(&[(VERSIONS, "1")]);
    let path = table.storage.location_of(&base("a", "f", 2));
    // Planned by an engine that saw no savepoint; the savepoint is put there behind its back.
    services.create_savepoint(Some(&t(2)), "").await.unwrap();
    foreign(&table, &[("a", path)], false).await;
    let done = services.clean().await.unwrap();
    assert_eq!(done[0].files_count(), 0);
    assert!(table.left().await.contains(&base("a", "f", 2)));
    let timeline = table.timeline().await;
    let clean = timeline.find(&t(9), Action::Clean).unwrap();
    let record: CleanMetadata = timeline.read_payload(clean).await.unwrap();
    assert_eq!(record.partition_metadata["a"].failed_delete_files.len(), 1);
    let extra = record.extra_metadata.unwrap();
    assert_eq!(extra["savepointed_timestamps"], t(2).to_string());
}
