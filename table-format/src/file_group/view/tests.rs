use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::codec::properties::Properties;
use crate::file_group::visibility::Horizon;

/// A table in a directory, made of file names; timeline files are empty.
async fn slices(version: u32, names: &[&str], horizon: Horizon) -> Vec<String> {
    let dir = TempDir::new().unwrap();
    let storage = Storage::open(dir.path().to_str().unwrap()).unwrap();
    let layout = if version == 6 { "1" } else { "2" };
    let properties: Properties = [
        ("hoodie.table.name", "t"),
        ("hoodie.table.version", version.to_string().as_str()),
        ("hoodie.timeline.layout.version", layout),
    ]
    .into_iter()
    .collect();
    let config = TableConfig::try_new(properties).unwrap();
    storage
        .create("p/.hoodie_partition_metadata", Bytes::new())
        .await
        .unwrap();
    for name in names {
        let is_data = name.contains(".parquet") || name.contains(".log.");
        let dir = if is_data {
            "p".to_owned()
        } else {
            config.timeline_dir()
        };
        storage
            .create(&format!("{dir}/{name}"), Bytes::new())
            .await
            .unwrap();
    }
    let timeline = ActiveTimeline::load(&storage, &config).await.unwrap();
    let visibility = Visibility::new(&timeline, horizon);
    let slices = latest_slices(&storage, &config, &timeline, &visibility)
        .await
        .unwrap();
    slices
        .into_iter()
        .map(|slice| {
            let base = slice
                .base_file
                .map_or("-".to_owned(), |base| base.instant.to_string());
            let logs: Vec<_> = slice
                .log_files
                .iter()
                .map(|log| format!("{}.{}", log.instant, log.version))
                .collect();
            format!("{} {base} {}", slice.file_id, logs.join(","))
        })
        .collect()
}

#[tokio::test]
async fn logs_go_to_the_slice_that_was_there_when_they_completed() {
    // The example of the format notes: B begins before the compaction 5 and completes after it was scheduled.
    let names = [
        "1_1.deltacommit",
        "2_3.deltacommit",
        "4_6.deltacommit",
        "7_8.deltacommit",
        "f_0_1.parquet",
        ".f_2.log.1_0-0-0",
        ".f_4.log.1_0-0-0",
        ".f_7.log.1_0-0-0",
    ];
    let pending = [&names[..], &["5.compaction.requested", "f_1_5.parquet"]].concat();
    assert_eq!(
        slices(9, &pending, Horizon::Latest).await,
        ["f 1 2.1,4.1,7.1"]
    );
    let compacted = [&names[..], &["5_9.commit", "f_1_5.parquet"]].concat();
    assert_eq!(
        slices(9, &compacted, Horizon::Latest).await,
        ["f 5 4.1,7.1"]
    );
}

#[tokio::test]
async fn what_is_not_committed_is_not_seen() {
    let names = [
        "2_3.commit",
        "4.inflight",
        "5.deltacommit.requested",
        "a_0_1.parquet",
        "b_0_2.parquet",
        "b_0_4.parquet",
        "c_0_4.parquet",
        ".b_5.log.1_0-0-0",
        ".b_2.log.1_0-0-0.cdc",
        "b_0_2.parquet.crc",
    ];
    assert_eq!(slices(8, &names, Horizon::Latest).await, ["a 1 ", "b 2 "]);
}

#[tokio::test]
async fn logs_of_version_6_bear_the_base_instant_or_that_of_a_pending_compaction() {
    let names = [
        "1.deltacommit",
        "2.deltacommit",
        "3.compaction.requested",
        "4.deltacommit",
        "f_0_1.parquet",
        ".f_1.log.10_0-0-0",
        ".f_1.log.9_0-0-0",
        ".f_3.log.1_0-0-0",
        ".g_2.log.1_0-0-0",
    ];
    assert_eq!(
        slices(6, &names, Horizon::Latest).await,
        ["f 1 1.9,1.10,3.1", "g - 2.1"]
    );
}

#[tokio::test]
async fn horizons_hide_what_came_later() {
    let names = [
        "1_2.commit",
        "3_7.commit",
        "5_6.commit",
        "f_0_1.parquet",
        "f_0_3.parquet",
        "f_0_5.parquet",
    ];
    let time = |text: &str| text.parse::<InstantTime>().unwrap();
    assert_eq!(
        slices(9, &names, Horizon::BegunBy(time("4"))).await,
        ["f 3 "]
    );
    assert_eq!(
        slices(9, &names, Horizon::CompletedBy(time("2"))).await,
        ["f 1 "]
    );
    assert!(
        slices(9, &names, Horizon::BegunBy(time("0")))
            .await
            .is_empty()
    );
}
