//! Savepoints: what they list, that it stays, and when there cannot be one.

use crate::error::ErrorKind;
use crate::service::cleaning::tests::table::{HandMade, base, log, t};
use crate::timeline::metadata::SavepointMetadata;
use crate::timeline::{Action, InstantTime};

const VERSIONS: &str = "hoodie.clean.fileversions.retained";
const COMMITS: &str = "hoodie.clean.commits.retained";

/// The files that the savepoint of a commit lists.
async fn listed(table: &HandMade, commit: &InstantTime) -> Vec<String> {
    let timeline = table.timeline().await;
    let savepoint = timeline.find(commit, Action::Savepoint).unwrap();
    let metadata: SavepointMetadata = timeline.read_payload(savepoint).await.unwrap();
    let partitions = metadata.partition_metadata.into_iter();
    let mut files: Vec<String> = partitions
        .flat_map(|(partition, files)| {
            let names = files.savepoint_data_file.into_iter();
            names.map(move |name| format!("{partition}/{name}"))
        })
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn hazard_21_a_savepoint_lists_the_files_that_show_its_commit() {
    let table = HandMade::cow().await;
    table
        .commit(1, Action::Commit, &[base("a", "f", 1), base("b", "g", 1)])
        .await;
    for step in [2, 3, 4] {
        table
            .commit(step, Action::Commit, &[base("a", "f", step)])
            .await;
    }
    let services = table.services(&[(VERSIONS, "1")]);
    let made = services
        .create_savepoint(Some(&t(2)), "before")
        .await
        .unwrap();
    assert_eq!((made.files, made.partitions), (2, 2));
    assert_eq!(
        listed(&table, &t(2)).await,
        [base("a", "f", 2), base("b", "g", 1)]
    );
    services.clean().await.unwrap();
    table
        .assert_left(&[base("a", "f", 2), base("a", "f", 4), base("b", "g", 1)])
        .await;
    let found = services.savepoints().await.unwrap();
    assert_eq!(found, [made]);
    let error = services
        .create_savepoint(Some(&t(2)), "")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);

    services.delete_savepoint(&t(2)).await.unwrap();
    let error = services.delete_savepoint(&t(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(services.savepoints().await.unwrap(), []);
    services.clean().await.unwrap();
    table
        .assert_left(&[base("a", "f", 4), base("b", "g", 1)])
        .await;
}

#[tokio::test]
async fn hazard_21_the_base_under_a_pending_compaction_is_listed() {
    let table = HandMade::mor().await;
    table
        .commit(1, Action::DeltaCommit, &[base("a", "f", 1)])
        .await;
    table
        .commit(2, Action::DeltaCommit, &[log("a", "f", 2)])
        .await;
    table.compaction(3, &[("a", "f", t(1))]).await;
    table
        .commit(4, Action::DeltaCommit, &[log("a", "f", 4)])
        .await;
    table
        .services(&[])
        .create_savepoint(None, "")
        .await
        .unwrap();
    let all = [log("a", "f", 2), log("a", "f", 4), base("a", "f", 1)];
    assert_eq!(listed(&table, &t(4)).await, all);
}

#[tokio::test]
async fn hazard_21_a_restore_finds_what_completed_before_the_commit_did() {
    let table = HandMade::cow().await;
    table
        .commit(1, Action::Commit, &[base("a", "f", 1), base("a", "g", 1)])
        .await;
    // Begun first and completed last: a restore to 3 undoes it, a query as of 3 sees it.
    table.files(&[base("a", "f", 2)]).await;
    table
        .complete(2, 5, Action::Commit, &[base("a", "f", 2)])
        .await;
    table.commit(3, Action::Commit, &[base("a", "g", 3)]).await;
    table
        .services(&[])
        .create_savepoint(Some(&t(3)), "")
        .await
        .unwrap();
    let both = [base("a", "f", 1), base("a", "f", 2), base("a", "g", 3)];
    assert_eq!(listed(&table, &t(3)).await, both);
}

#[tokio::test]
async fn groups_replaced_before_are_left_out() {
    let table = HandMade::cow().await;
    table
        .commit(1, Action::Commit, &[base("a", "f", 1), base("b", "g", 1)])
        .await;
    table.replace(2, &[("a", "f")], &[base("a", "h", 2)]).await;
    table.replace(3, &[("b", "g")], &[]).await;
    let services = table.services(&[]);
    services.create_savepoint(Some(&t(2)), "").await.unwrap();
    assert_eq!(
        listed(&table, &t(2)).await,
        [base("a", "h", 2), base("b", "g", 1)]
    );
}

#[tokio::test]
async fn what_was_cleaned_away_cannot_have_a_savepoint() {
    for kept in [(COMMITS, 1), (VERSIONS, 1)] {
        let table = HandMade::cow().await;
        for step in [1, 2, 3, 4] {
            table
                .commit(step, Action::Commit, &[base("a", "f", step)])
                .await;
        }
        // Its file keeps the version of 1; that of 2 goes.
        let services = table.services(&[]);
        services.create_savepoint(Some(&t(1)), "").await.unwrap();
        table.clean(kept).await;
        for step in [2, 3] {
            let error = services.create_savepoint(Some(&t(step)), "").await;
            let kind = error.map_err(|error| error.kind());
            assert_eq!(kind.unwrap_err(), ErrorKind::Conflict, "{kept:?} {step}");
        }
        services.create_savepoint(None, "").await.unwrap();
        let error = services
            .create_savepoint(Some(&t(9)), "")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn an_older_version_does_not_stand_in_for_one_that_went() {
    let table = HandMade::cow().await;
    for step in [1, 2, 3] {
        table
            .commit(step, Action::Commit, &[base("a", "f", step)])
            .await;
    }
    table.commit(4, Action::Commit, &[base("b", "g", 4)]).await;
    table.commit(5, Action::Commit, &[base("a", "f", 5)]).await;
    let services = table.services(&[]);
    services.create_savepoint(Some(&t(1)), "").await.unwrap();
    table.clean((VERSIONS, 1)).await;
    // Commit 4 wrote elsewhere, but the table as of it showed the version of 3.
    let error = services
        .create_savepoint(Some(&t(4)), "")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}
