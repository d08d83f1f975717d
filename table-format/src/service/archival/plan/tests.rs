use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::codec::properties::Properties;
use crate::config::TableConfig;
use crate::storage::Storage;

/// A timeline made of file names.
async fn timeline(names: &[&str]) -> ActiveTimeline {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(dir.path().to_str().unwrap()).unwrap();
    let properties: Properties = [
        ("hoodie.table.name", "t"),
        ("hoodie.table.version", "9"),
        ("hoodie.timeline.layout.version", "2"),
    ]
    .into_iter()
    .collect();
    let config = TableConfig::try_new(properties).unwrap();
    for name in names {
        let path = format!("{}/{name}", config.timeline_dir());
        storage.create(&path, Bytes::new()).await.unwrap();
    }
    ActiveTimeline::load(&storage, &config).await.unwrap()
}

fn options(pairs: &[(&str, &str)]) -> ArchivalOptions {
    let mut properties: BTreeMap<String, String> = [
        ("hoodie.keep.max.commits", "4"),
        ("hoodie.keep.min.commits", "2"),
        ("hoodie.clean.policy", "KEEP_LATEST_FILE_VERSIONS"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect();
    properties.extend(
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
    );
    ArchivalOptions::from_properties(&properties).unwrap()
}

fn time(text: &str) -> InstantTime {
    text.parse().unwrap()
}

/// Begin times of what is archived, and the limit that held back more.
async fn chosen(names: &[&str], options: &ArchivalOptions, clean: &LastClean) -> (String, String) {
    let timeline = timeline(names).await;
    let limits = limits(&timeline, options, true, clean);
    let choice = choose(&timeline, options, &limits);
    let times: Vec<&str> = choice
        .instants
        .iter()
        .map(|instant| instant.time.as_str())
        .collect();
    let limit = choice.held_back_by.map_or(String::new(), |limit| {
        format!("{} {:?}", limit.time, limit.reason)
    });
    (times.join(","), limit)
}

const SIX: [&str; 6] = [
    "11_12.commit",
    "21_22.commit",
    "31_32.commit",
    "41_42.commit",
    "51_52.commit",
    "61_62.commit",
];

#[tokio::test]
async fn the_oldest_commits_go_when_there_are_too_many() {
    let none = LastClean::default();
    let (times, limit) = chosen(&SIX, &options(&[]), &none).await;
    assert_eq!((times.as_str(), limit.as_str()), ("11,21,31,41", ""));
    let (times, _) = chosen(&SIX[..4], &options(&[]), &none).await;
    assert_eq!(times, "");
}

#[tokio::test]
async fn cleans_and_rollbacks_among_them_go_along_and_other_actions_stay() {
    let others = [
        "13_14.clean",
        "15_16.rollback",
        "17_18.restore",
        "19.rollback.inflight",
        "43_44.clean",
    ];
    let names = [&SIX[..], &others].concat();
    let (times, _) = chosen(&names, &options(&[]), &LastClean::default()).await;
    assert_eq!(times, "11,13,15,21,31,41");
}

#[tokio::test]
async fn the_cleaner_keeps_what_it_still_has_to_look_at() {
    let cleaner = [
        ("hoodie.clean.policy", "KEEP_LATEST_COMMITS"),
        ("hoodie.clean.commits.retained", "2"),
    ];
    // Two are retained, which makes one after the earliest, and two more stay.
    let timeline_of_six = timeline(&SIX).await;
    let options_with = options(&cleaner);
    assert_eq!(commits_to_keep(&timeline_of_six, &options_with), (3, 5));
    let (times, _) = chosen(&SIX, &options_with, &LastClean::default()).await;
    assert_eq!(times, "11,21,31");
    let dated = [
        "20261121100000000_20261121100000001.commit",
        "20261121120000000_20261121120000001.commit",
        "20261121130000000_20261121130000001.commit",
    ];
    let by_hours = options(&[
        ("hoodie.clean.policy", "KEEP_LATEST_BY_HOURS"),
        ("hoodie.clean.hours.retained", "1"),
    ]);
    assert_eq!(commits_to_keep(&timeline(&dated).await, &by_hours).0, 3);
}

#[tokio::test]
async fn a_pending_write_keeps_the_commit_before_it() {
    for (pending, expected, limit) in [
        ("35.inflight", "11,21", "31 PendingWrite"),
        ("35.compaction.requested", "11,21", "31 PendingWrite"),
        ("05.clustering.requested", "", "05 PendingWrite"),
        ("35.clean.requested", "11,21,31,41", ""),
    ] {
        let names = [&SIX[..], &[pending]].concat();
        let (times, held) = chosen(&names, &options(&[]), &LastClean::default()).await;
        assert_eq!(
            (times.as_str(), held.as_str()),
            (expected, limit),
            "{pending}"
        );
    }
}

#[tokio::test]
async fn a_savepoint_ends_archival_or_is_passed_by() {
    let names = [&SIX[..], &["21.savepoint.inflight", "21_99.savepoint"]].concat();
    let none = LastClean::default();
    let (times, limit) = chosen(&names, &options(&[]), &none).await;
    assert_eq!((times.as_str(), limit.as_str()), ("11", "21 Savepoint"));
    let beyond = options(&[("hoodie.archive.beyond.savepoint", "true")]);
    let (times, _) = chosen(&names, &beyond, &none).await;
    assert_eq!(times, "11,31,41,51");
}

#[tokio::test]
async fn replace_commits_wait_for_the_clean_of_what_they_replaced() {
    let mut names = SIX.to_vec();
    names[1] = "21_22.replacecommit";
    names.push("45_46.clean");
    let none = LastClean::default();
    let (times, limit) = chosen(&names, &options(&[]), &none).await;
    assert_eq!((times.as_str(), limit.as_str()), ("11", "21 ReplacedFiles"));
    let clean = |earliest: Option<&str>, savepoints: &[&str]| LastClean {
        time: Some(time("45")),
        earliest_to_retain: earliest.map(time),
        savepoints: savepoints.iter().map(|text| time(text)).collect(),
    };
    let by_commits = options(&[
        ("hoodie.clean.policy", "KEEP_LATEST_COMMITS"),
        ("hoodie.clean.commits.retained", "1"),
    ]);
    for (clean, options, expected) in [
        (clean(Some("21"), &[]), &by_commits, "11"),
        (clean(Some("31"), &[]), &by_commits, "11,21,31,41"),
        // It went past the replace commit, but a savepoint of that time protected the replaced files.
        (clean(Some("31"), &["11"]), &by_commits, "11"),
        (clean(Some("31"), &["31"]), &by_commits, "11,21,31,41"),
        // By versions, what is replaced is deleted at once.
        (clean(None, &[]), &options(&[]), "11,21,31,41"),
    ] {
        let (times, _) = chosen(&names, options, &clean).await;
        assert_eq!(times, expected, "{clean:?}");
    }
}

#[tokio::test]
async fn the_last_clean_is_a_limit_when_the_settings_say_so() {
    let clean = LastClean {
        time: Some(time("45")),
        earliest_to_retain: Some(time("31")),
        savepoints: Vec::new(),
    };
    let stops = options(&[("hoodie.archive.block.on.latest.clean.ectr", "true")]);
    let (times, limit) = chosen(&SIX, &stops, &clean).await;
    assert_eq!((times.as_str(), limit.as_str()), ("11,21", "31 Clean"));
}

#[tokio::test]
async fn delta_commits_that_count_towards_a_compaction_stay() {
    let deltas = [
        "11_12.deltacommit",
        "21_22.deltacommit",
        "31_32.commit",
        "41_42.deltacommit",
        "51_52.deltacommit",
        "61_62.deltacommit",
    ];
    let none = LastClean::default();
    for (commits, expected, limit) in [
        // Fewer than trigger one: the last compaction stays.
        ("5", "11,21", "31 Compaction"),
        ("3", "11,21,31", "41 Compaction"),
        ("2", "11,21,31,41", ""),
    ] {
        let options = options(&[("hoodie.compact.inline.max.delta.commits", commits)]);
        let (times, held) = chosen(&deltas, &options, &none).await;
        assert_eq!(
            (times.as_str(), held.as_str()),
            (expected, limit),
            "{commits}"
        );
    }
    let by_time = options(&[("hoodie.compact.inline.trigger.strategy", "TIME_ELAPSED")]);
    assert_eq!(chosen(&deltas, &by_time, &none).await.0, "11,21,31,41");
}
