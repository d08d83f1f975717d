//! A clean looks only where something may have become superfluous.

use std::collections::BTreeSet;

use crate::service::Services;
use crate::service::cleaning::tests::table::{HandMade, base, t};
use crate::timeline::Action;

const COMMITS: &str = "hoodie.clean.commits.retained";

/// Partition `a` changes at each step; `b` lies still, with an old version that no clean has seen.
async fn table() -> HandMade {
    let table = HandMade::cow().await;
    table
        .commit(1, Action::Commit, &[base("a", "f", 1), base("b", "g", 1)])
        .await;
    for step in [2, 3, 4] {
        table
            .commit(step, Action::Commit, &[base("a", "f", step)])
            .await;
    }
    table
}

async fn deleted(services: &Services) -> BTreeSet<String> {
    let done = services.clean().await.unwrap();
    let files = done.into_iter().flat_map(|summary| summary.files);
    files
        .flat_map(|(partition, names)| {
            names
                .into_iter()
                .map(move |name| format!("{partition}/{name}"))
        })
        .collect()
}

/// Makes an old version appear where the last clean has found none: whether it goes shows whether somebody looked.
async fn plant(table: &HandMade) -> String {
    let old = base("b", "g", 0);
    table.files(std::slice::from_ref(&old)).await;
    old
}

#[tokio::test]
async fn partitions_without_writes_are_not_looked_at() {
    let table = table().await;
    let settings = [(COMMITS, "2")];
    let first = deleted(&table.services(&settings)).await;
    assert_eq!(first, BTreeSet::from([base("a", "f", 1)]));
    let planted = plant(&table).await;
    table.commit(5, Action::Commit, &[base("a", "f", 5)]).await;
    let next = deleted(&table.services(&settings)).await;
    assert_eq!(next, BTreeSet::from([base("a", "f", 2)]));
    let full = [settings[0], ("hoodie.clean.incremental.enabled", "false")];
    assert_eq!(
        deleted(&table.services(&full)).await,
        BTreeSet::from([planted])
    );
}

#[tokio::test]
async fn a_look_that_found_nothing_is_remembered() {
    let table = HandMade::cow().await;
    for step in [1, 2, 3] {
        let file = format!("f{step}");
        table
            .commit(step, Action::Commit, &[base("b", &file, step)])
            .await;
    }
    let services = table.services(&[(COMMITS, "1")]);
    assert!(deleted(&services).await.is_empty());
    let planted = base("c", "g", 0);
    table.files(&[planted.clone(), base("c", "g", 1)]).await;
    table.commit(4, Action::Commit, &[base("a", "f", 4)]).await;
    assert!(deleted(&services).await.is_empty());
    // Another process knows nothing of it, and there is no clean on the timeline.
    let other = table.services(&[(COMMITS, "1")]);
    assert_eq!(deleted(&other).await, BTreeSet::from([planted]));
}

#[tokio::test]
async fn a_savepoint_that_went_makes_the_next_clean_look_everywhere() {
    let table = table().await;
    table
        .services(&[])
        .create_savepoint(Some(&t(1)), "")
        .await
        .unwrap();
    let services = table.services(&[(COMMITS, "1")]);
    assert_eq!(
        deleted(&services).await,
        BTreeSet::from([base("a", "f", 2)])
    );
    services.delete_savepoint(&t(1)).await.unwrap();
    table.commit(5, Action::Commit, &[base("c", "h", 5)]).await;
    let gone = deleted(&services).await;
    assert_eq!(gone, BTreeSet::from([base("a", "f", 1), base("a", "f", 3)]));
}

#[tokio::test]
async fn a_writer_that_was_late_is_not_forgotten() {
    let table = table().await;
    let hours = [("hoodie.clean.hours.retained", "11")];
    // Noon less 11 hours is after all commits but these two.
    let late = 3_600;
    table
        .commit(late, Action::Commit, &[base("a", "f", late)])
        .await;
    table.pending(late - 1, Action::Commit, &[]).await;
    deleted(&table.services(&hours)).await;
    table
        .complete(
            late - 1,
            12 * late + 1,
            Action::Commit,
            &[base("b", "g", late - 1)],
        )
        .await;
    table.files(&[base("b", "g", late - 1)]).await;
    table
        .commit(late + 1, Action::Commit, &[base("b", "g", late + 1)])
        .await;
    let table = table.at(chrono::TimeDelta::seconds(1));
    assert!(
        deleted(&table.services(&hours))
            .await
            .contains(&base("b", "g", 1))
    );
}

#[tokio::test]
async fn an_automatic_clean_waits_until_it_is_due() {
    let table = table().await;
    let due = |commits: &'static str| {
        table.services(&[
            (COMMITS, "1"),
            ("hoodie.clean.trigger.max.commits", commits),
        ])
    };
    assert!(due("5").clean_if_due().await.unwrap().is_empty());
    assert_eq!(due("4").clean_if_due().await.unwrap().len(), 1);
    table.commit(5, Action::Commit, &[base("a", "f", 5)]).await;
    assert!(due("2").clean_if_due().await.unwrap().is_empty());
    let off = table.services(&[(COMMITS, "1"), ("hoodie.clean.automatic", "false")]);
    assert!(off.clean_if_due().await.unwrap().is_empty());
    assert_eq!(due("1").clean_if_due().await.unwrap().len(), 1);
}
