//! Which files go by each policy, and which stay whatever it says.

use chrono::TimeDelta;

use crate::service::cleaning::tests::table::{HandMade, base, log, t};
use crate::timeline::Action;

const COMMITS: &str = "hoodie.clean.commits.retained";
const VERSIONS: &str = "hoodie.clean.fileversions.retained";
const HOURS: &str = "hoodie.clean.hours.retained";

/// One group, written by each of these steps.
async fn history(steps: &[u32]) -> HandMade {
    let table = HandMade::cow().await;
    for &step in steps {
        table
            .commit(step, Action::Commit, &[base("a", "f", step)])
            .await;
    }
    table
}

fn bases(steps: &[u32]) -> Vec<String> {
    steps.iter().map(|&step| base("a", "f", step)).collect()
}

#[tokio::test]
async fn commits_keep_the_version_that_a_query_at_the_earliest_one_may_still_read() {
    let table = history(&[1, 2, 3, 4, 5]).await;
    let done = table.clean((COMMITS, 2)).await;
    assert_eq!(done[0].earliest_commit_to_retain, Some(t(4).to_string()));
    assert_eq!(done[0].files_count(), 2);
    assert!(done[0].bytes > 0);
    table.assert_left(&bases(&[3, 4, 5])).await;
    assert_eq!(table.slices(Some(&t(4))).await.len(), 1);
}

#[tokio::test]
async fn too_few_commits_leave_no_instant() {
    let table = history(&[1, 2, 3]).await;
    assert!(table.clean((COMMITS, 3)).await.is_empty());
    // With one more there is a commit to give up, but no version: that of 1 is the newest before 2.
    table.commit(4, Action::Commit, &bases(&[4])).await;
    assert!(table.clean((COMMITS, 3)).await.is_empty());
    assert_eq!(table.timeline().await.instants().len(), 4);
    table.assert_left(&bases(&[1, 2, 3, 4])).await;
}

#[tokio::test]
async fn a_pending_write_holds_the_earliest_commit_back() {
    let table = history(&[1, 2, 3]).await;
    table.pending(4, Action::Commit, &[]).await;
    for step in [5, 6, 7, 8] {
        table.commit(step, Action::Commit, &bases(&[step])).await;
    }
    let done = table.clean((COMMITS, 2)).await;
    assert_eq!(done[0].earliest_commit_to_retain, Some(t(3).to_string()));
    table.assert_left(&bases(&[2, 3, 5, 6, 7, 8])).await;
}

#[tokio::test]
async fn hours_are_counted_from_now() {
    let hour = 3_600;
    let steps = [hour, 2 * hour, 3 * hour, 4 * hour];
    // The clock stands at noon; 10 hours and a bit before it is 1:30.
    let table = history(&steps).await.at(TimeDelta::minutes(-30));
    let done = table.clean((HOURS, 9)).await;
    assert_eq!(
        done[0].earliest_commit_to_retain,
        Some(t(3 * hour).to_string())
    );
    table.assert_left(&bases(&steps[1..])).await;
    assert!(
        table.clean((HOURS, 1)).await.is_empty(),
        "no commit is so young"
    );
}

#[tokio::test]
async fn versions_are_counted_by_group() {
    let table = history(&[1, 2, 3]).await;
    table.commit(4, Action::Commit, &[base("a", "g", 4)]).await;
    let done = table.clean((VERSIONS, 1)).await;
    assert_eq!(done[0].earliest_commit_to_retain, None);
    table
        .assert_left(&[base("a", "f", 3), base("a", "g", 4)])
        .await;
}

#[tokio::test]
async fn replaced_groups_go_when_no_retained_commit_shows_them() {
    let table = history(&[1, 2]).await;
    table.replace(3, &[("a", "f")], &[base("a", "g", 3)]).await;
    for step in [4, 5] {
        table
            .commit(step, Action::Commit, &[base("b", "h", step)])
            .await;
    }
    // Earliest is the replace commit itself: as of it the group is gone, but a running query may have begun before.
    assert!(table.clean((COMMITS, 3)).await.is_empty());
    table.clean((COMMITS, 2)).await;
    let kept = [base("a", "g", 3), base("b", "h", 4), base("b", "h", 5)];
    table.assert_left(&kept).await;
}

#[tokio::test]
async fn replaced_groups_go_at_once_when_versions_are_counted() {
    let table = history(&[1]).await;
    table.replace(2, &[("a", "f")], &[base("a", "g", 2)]).await;
    table.clean((VERSIONS, 3)).await;
    table.assert_left(&[base("a", "g", 2)]).await;
}

#[tokio::test]
async fn logs_go_with_the_slice_that_they_completed_into() {
    let table = HandMade::mor().await;
    table
        .commit(1, Action::DeltaCommit, &[base("a", "f", 1)])
        .await;
    table
        .commit(2, Action::DeltaCommit, &[log("a", "f", 2)])
        .await;
    // Begun before the compaction was planned, completed after: part of the slice to come.
    table.files(&[log("a", "f", 3)]).await;
    table
        .complete(3, 5, Action::DeltaCommit, &[log("a", "f", 3)])
        .await;
    table
        .complete(4, 6, Action::Commit, &[base("a", "f", 4)])
        .await;
    table.files(&[base("a", "f", 4)]).await;
    table
        .commit(7, Action::DeltaCommit, &[log("a", "f", 7)])
        .await;
    table.clean((VERSIONS, 1)).await;
    let kept = [base("a", "f", 4), log("a", "f", 3), log("a", "f", 7)];
    table.assert_left(&kept).await;
}

#[tokio::test]
async fn a_log_whose_completion_is_archived_stays_with_the_slice_that_may_be_meant() {
    let table = HandMade::mor().await;
    // What began at 1 and 2 is archived; the log of 2 may have completed after the compaction was planned.
    table
        .files(&[base("a", "f", 1), log("a", "f", 1), log("a", "f", 2)])
        .await;
    table.commit(3, Action::Commit, &[base("a", "f", 3)]).await;
    table.clean((VERSIONS, 1)).await;
    let left = table.left().await;
    assert!(left.contains(&log("a", "f", 2)) && !left.contains(&base("a", "f", 1)));
}

#[tokio::test]
async fn what_a_pending_compaction_reads_stays() {
    for kept in [(VERSIONS, 1), (COMMITS, 1)] {
        let table = HandMade::mor().await;
        table
            .commit(1, Action::DeltaCommit, &[base("a", "f", 1)])
            .await;
        table.commit(2, Action::Commit, &[base("a", "f", 2)]).await;
        table
            .commit(3, Action::DeltaCommit, &[log("a", "f", 3)])
            .await;
        table.compaction(4, &[("a", "f", t(2))]).await;
        table.files(&[base("a", "f", 4)]).await;
        for step in [5, 6] {
            table
                .commit(step, Action::DeltaCommit, &[log("a", "f", step)])
                .await;
        }
        table.clean(kept).await;
        // The slice of 2 and its log are the plan's input; the base file of 4 is that of a compaction under way.
        let kept = [
            base("a", "f", 2),
            log("a", "f", 3),
            base("a", "f", 4),
            log("a", "f", 5),
            log("a", "f", 6),
        ];
        table.assert_left(&kept).await;
    }
}

#[tokio::test]
async fn what_a_pending_clustering_reads_stays() {
    let table = history(&[1, 2]).await;
    table.clustering(3, &bases(&[2])).await;
    for step in [4, 5] {
        table.commit(step, Action::Commit, &bases(&[step])).await;
    }
    table.clean((VERSIONS, 1)).await;
    table.assert_left(&bases(&[2, 5])).await;
}

#[tokio::test]
async fn files_of_pending_writes_stay() {
    let table = history(&[1, 2, 3]).await;
    let begun = [base("a", "f", 4), base("a", "new", 4)];
    table.pending(4, Action::Commit, &begun).await;
    table.clean((VERSIONS, 1)).await;
    let mut kept = bases(&[3]);
    kept.extend(begun);
    table.assert_left(&kept).await;
}

#[tokio::test]
async fn change_data_goes_with_its_slice() {
    let table = HandMade::cow().await;
    for step in [1, 2, 3] {
        let change = format!("{}.cdc", log("a", "f", step));
        table
            .commit(step, Action::Commit, &[base("a", "f", step), change])
            .await;
    }
    table.clean((VERSIONS, 1)).await;
    let change = format!("{}.cdc", log("a", "f", 3));
    table.assert_left(&[base("a", "f", 3), change]).await;
}

#[tokio::test]
async fn logs_of_version_6_go_with_the_slice_that_they_name() {
    let table = HandMade::new(6, "MERGE_ON_READ").await;
    table
        .commit(1, Action::DeltaCommit, &[base("a", "f", 1)])
        .await;
    table
        .commit(2, Action::DeltaCommit, &[log("a", "f", 1)])
        .await;
    table.commit(3, Action::Commit, &[base("a", "f", 3)]).await;
    table
        .commit(4, Action::DeltaCommit, &[log("a", "f", 3)])
        .await;
    let done = table.clean((VERSIONS, 1)).await;
    assert_eq!(done[0].files_count(), 2);
    table
        .assert_left(&[base("a", "f", 3), log("a", "f", 3)])
        .await;
    let clean = table.timeline().await;
    let clean = clean.instants().last().unwrap();
    assert_eq!(clean.file_name(), format!("{}.clean", clean.time));
}

#[tokio::test]
async fn a_partition_without_files_goes() {
    let table = history(&[1]).await;
    table.replace(2, &[("a", "f")], &[]).await;
    let pending = HandMade::cow().await;
    pending
        .commit(1, Action::Commit, &[base("a", "f", 1)])
        .await;
    pending.replace(2, &[("a", "f")], &[]).await;
    pending.pending(3, Action::Commit, &[]).await;
    for (table, is_gone) in [(table, true), (pending, false)] {
        let done = table.clean((VERSIONS, 1)).await;
        assert_eq!(done[0].deleted_partitions.len(), usize::from(is_gone));
        table.assert_left(&[]).await;
        let metadata = table.storage.exists("a/.hoodie_partition_metadata").await;
        // Hazard 2: whoever is writing has seen the metadata, and would not write it again.
        assert_eq!(metadata.unwrap(), !is_gone);
    }
}

#[tokio::test]
async fn a_metadata_table_is_out_of_use_before_files_go() {
    let table = history(&[1, 2, 3]).await;
    table.name_metadata_table().await;
    assert!(table.clean((VERSIONS, 5)).await.is_empty());
    assert!(
        table.names_metadata_table().await,
        "nothing was deleted, so it is as good as before"
    );
    table.clean((VERSIONS, 1)).await;
    assert!(!table.names_metadata_table().await);
}
