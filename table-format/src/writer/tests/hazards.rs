//! What no file of ours may hold or lack, where no other test has the number of the hazard in its name.

use std::collections::BTreeMap;

use rstest::rstest;

use crate::codec::log_block::{HeaderKey, LogBlockReader};
use crate::config::{TableType, TableVersion};
use crate::file_group::{BaseFile, LogFile};
use crate::writer::WriteOperation;
use crate::writer::tests::compaction::{Story, merge_on_read, rows};
use crate::writer::tests::model::{Shape, batch, env};

#[tokio::test]
async fn hazard_2_every_partition_with_a_file_says_that_it_is_one() {
    for shape in Shape::all() {
        let mut story = Story::begin(shape).await;
        story.write(&rows(0..20, Some(1))).await;
        let mut partitions = 0;
        for (path, file) in story.storage.list_recursive("").await.unwrap() {
            if BaseFile::parse(&file.name, 0).is_some() {
                partitions += 1;
                let folder = path.strip_suffix(&file.name).unwrap();
                let marker = format!("{folder}.hoodie_partition_metadata");
                assert!(story.storage.exists(&marker).await.unwrap(), "{marker}");
            }
        }
        assert!(partitions > 0, "{shape:?}");
    }
}

#[tokio::test]
async fn hazard_10_and_hazard_13_log_blocks_hold_whole_rows_and_no_positions() {
    let shapes = Shape::all().filter(|shape| shape.table_type == TableType::MergeOnRead);
    for shape in shapes {
        let story = Story::with_logs(shape).await;
        let mut blocks = 0;
        for (path, file) in story.storage.list_recursive("").await.unwrap() {
            if LogFile::parse(&file.name, 0).is_none() {
                continue;
            }
            for block in LogBlockReader::new(story.storage.read(&path).await.unwrap()) {
                let header = block.unwrap().header;
                assert_eq!(header.get(HeaderKey::RecordPositions), None, "{path}");
                assert!(!header.is_partial(), "{path}");
                blocks += 1;
            }
        }
        assert!(blocks > 1, "{shape:?}");
    }
}

#[rstest]
#[case(TableVersion::Nine, "CREATE")]
#[case(TableVersion::Eight, "CREATE")]
#[case(TableVersion::Six, "APPEND")]
#[tokio::test]
async fn hazard_16_log_files_have_the_markers_of_their_version(
    #[case] version: TableVersion,
    #[case] kind: &str,
) {
    let mut story = Story::with_logs_version(merge_on_read(), version).await;
    let mut write = story.writer.begin(WriteOperation::Upsert).await.unwrap();
    write.upsert(batch(&rows(0..60, Some(9)))).await.unwrap();
    let mut logs = 0;
    for (path, _) in story.storage.list_recursive(".hoodie/.temp").await.unwrap() {
        if path.contains(".log.") {
            assert!(path.ends_with(&format!(".marker.{kind}")), "{path}");
            logs += 1;
        }
    }
    assert!(logs > 0);
    write.commit(BTreeMap::new()).await.unwrap();
}

#[rstest]
#[case(TableVersion::Six, TableVersion::Nine)]
#[case(TableVersion::Nine, TableVersion::Six)]
#[case(TableVersion::Eight, TableVersion::Nine)]
#[tokio::test]
async fn hazard_26_an_open_writer_goes_on_in_the_version_that_the_table_has_got(
    #[case] from: TableVersion,
    #[case] to: TableVersion,
) {
    let mut story = Story::with_logs_version(merge_on_read(), from).await;
    let services = story.table.services(env(), BTreeMap::new());
    services.change_version(to).await.unwrap();
    let instant = story.write(&rows(10..70, Some(7))).await;
    let folder = match to {
        TableVersion::Six => ".hoodie",
        TableVersion::Eight | TableVersion::Nine => ".hoodie/timeline",
    };
    let path = format!("{folder}/{}", instant.file_name());
    assert!(story.storage.exists(&path).await.unwrap(), "{path}");
    assert_eq!(instant.completion.is_some(), to != TableVersion::Six);
    story.model.check(&story.storage).await;
    story.writer.check_ranges(&story.storage).await;
}
