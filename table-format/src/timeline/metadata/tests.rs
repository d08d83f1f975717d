//! Payloads against files that Hudi 1.2.0 wrote, and against ourselves.

use std::collections::BTreeMap;

use super::*;
use crate::codec::object_container::decode_single;
use crate::error::ErrorKind;

macro_rules! fixture {
    ($name:literal) => {
        &include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/testdata/timeline/",
            $name
        ))[..]
    };
}

/// Reads a file of Hudi, writes it again and reads that.
fn round_trip<T: Payload + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> T {
    let payload = T::decode(bytes).unwrap();
    let again = payload.encode_avro().unwrap();
    assert_eq!(T::decode(&again).unwrap(), payload);
    // Written with our schema, the record has the very length that Hudi's has: same fields, same order.
    if let (Ok(theirs), Ok(ours)) = (decode_single(bytes), decode_single(&again)) {
        assert_eq!(ours.datum.len(), theirs.datum.len());
    }
    payload
}

fn file_names(metadata: &CommitMetadata) -> Vec<&str> {
    metadata
        .write_stats()
        .filter_map(|stat| stat.path.as_deref())
        .collect()
}

#[test]
fn reads_delta_commits_of_every_version() {
    for (bytes, time) in [
        (fixture!("v6.deltacommit"), "20261121112435003"),
        (fixture!("v8.deltacommit"), "20261121112509338"),
        (fixture!("v9.deltacommit"), "20261121112359958"),
    ] {
        let metadata: CommitMetadata = round_trip(bytes);
        assert_eq!(metadata.operation().unwrap(), Some(WriteOperation::Upsert));
        assert!(metadata.schema().unwrap().contains("\"fields\""));
        assert_eq!(
            metadata.partition_to_write_stats.keys().collect::<Vec<_>>(),
            [""]
        );
        assert_eq!(file_names(&metadata).len(), 2, "{time}");
        let new = metadata
            .write_stats()
            .find(|stat| stat.log_files.is_none())
            .unwrap();
        assert_eq!(new.prev_commit.as_deref(), Some(NO_PREVIOUS_COMMIT));
        assert!(new.path.as_deref().unwrap().contains(time));
        assert!(new.file_size_in_bytes.unwrap() > 0);
        let log = metadata
            .write_stats()
            .find(|stat| stat.log_files.is_some())
            .unwrap();
        assert!(log.path.as_deref().unwrap().starts_with('.'));
        assert!(
            log.runtime_stats
                .as_ref()
                .unwrap()
                .total_upsert_time
                .unwrap()
                > 0
        );
    }
}

#[test]
fn reads_what_a_replace_commit_replaces() {
    for bytes in [fixture!("v6.replacecommit"), fixture!("v9.replacecommit")] {
        let metadata = CommitMetadata::decode(bytes).unwrap();
        assert_eq!(
            metadata.operation().unwrap(),
            Some(WriteOperation::InsertOverwrite)
        );
        let replaced: Vec<_> = metadata
            .partition_to_replace_file_ids
            .values()
            .flatten()
            .collect();
        assert!(!replaced.is_empty());
        let again = CommitMetadata::decode(&metadata.encode_replace_avro().unwrap()).unwrap();
        assert_eq!(again, metadata);
        assert_eq!(
            metadata.encode_avro().unwrap_err().kind(),
            ErrorKind::Internal
        );
    }
}

#[test]
fn a_replace_commit_has_the_bytes_of_hudi() {
    let bytes = fixture!("v9.replacecommit");
    let metadata = CommitMetadata::decode(bytes).unwrap();
    let again = metadata.encode_replace_avro().unwrap();
    let (theirs, ours) = (
        decode_single(bytes).unwrap(),
        decode_single(&again).unwrap(),
    );
    assert_eq!(ours.datum.len(), theirs.datum.len());
}

#[test]
fn reads_plans() {
    let plan: RollbackPlan = round_trip(fixture!("v9.rollback.requested"));
    assert_eq!(
        plan.instant_to_rollback.unwrap().commit_time,
        "20261121113046198"
    );
    assert_eq!(plan.rollback_requests.len(), 2);
    assert_eq!(plan.rollback_requests[0].files_to_be_deleted.len(), 1);

    let plan: RestorePlan = round_trip(fixture!("v9.restore.requested"));
    assert_eq!(
        plan.savepoint_to_restore_timestamp.as_deref(),
        Some("20261121112910090")
    );
    assert_eq!(plan.instants_to_rollback[0].action, "deltacommit");

    let plan: CompactionPlan = round_trip(fixture!("v9.compaction.requested"));
    let operations = plan.operations.unwrap();
    assert_eq!(plan.version, Some(2));
    assert!(
        operations[0]
            .metrics
            .as_ref()
            .unwrap()
            .contains_key("TOTAL_LOG_FILES_SIZE")
    );

    let plan: RequestedReplaceMetadata = round_trip(fixture!("v9.clustering.requested"));
    assert_eq!(plan.operation_type.as_deref(), Some("CLUSTER"));
    assert!(
        !plan
            .clustering_plan
            .unwrap()
            .input_groups
            .unwrap()
            .is_empty()
    );

    let plan: RequestedReplaceMetadata =
        round_trip(fixture!("v9_insert_overwrite.replacecommit.requested"));
    assert_eq!(plan, RequestedReplaceMetadata::default());
}

#[test]
fn reads_what_services_did() {
    let rollback: RollbackMetadata = round_trip(fixture!("v9.rollback"));
    assert_eq!(rollback.commits_rollback, ["20261121113046198"]);
    assert_eq!(rollback.total_files_deleted, 2);
    let rollback: RollbackMetadata = round_trip(fixture!("v6.rollback"));
    assert_eq!(rollback.instants_rollback[0].action, "deltacommit");
    for bytes in [fixture!("v9.restore"), fixture!("v6.restore")] {
        let restore: RestoreMetadata = round_trip(bytes);
        assert_eq!(restore.restore_instant_info.len(), 2);
        let undone = restore.hoodie_restore_metadata.values().flatten();
        assert_eq!(undone.flatten().count(), 2);
    }
    let clean: CleanMetadata = round_trip(fixture!("v9.clean"));
    assert!(clean.total_files_deleted > 0);
    let savepoint: SavepointMetadata = round_trip(fixture!("v9.savepoint"));
    assert!(
        savepoint
            .partition_metadata
            .values()
            .any(|files| !files.savepoint_data_file.is_empty())
    );
}

#[test]
fn a_minimal_commit_round_trips() {
    let mut metadata = CommitMetadata::new(WriteOperation::BulkInsert);
    metadata.extra_metadata = BTreeMap::from([("lakebed.position".to_owned(), "ü\"\n".to_owned())]);
    metadata.add_stat(WriteStat {
        partition_path: Some("day=1".to_owned()),
        path: Some("day=1/f_1_2.parquet".to_owned()),
        prev_commit: Some(NO_PREVIOUS_COMMIT.to_owned()),
        cdc_stats: Some(BTreeMap::from([("day=1/x.cdc".to_owned(), 7)])),
        log_version: Some(3),
        ..WriteStat::default()
    });
    let bytes = metadata.encode_avro().unwrap();
    assert_eq!(CommitMetadata::decode(&bytes).unwrap(), metadata);
    assert_eq!(
        metadata.encode_avro().unwrap(),
        bytes,
        "the same payload gives the same bytes"
    );
    assert!(!bytes.windows(10).any(|window| window == b"avro.codec"));
}

#[test]
fn plain_unions_read_back_as_what_hudi_requires() {
    let plan = CompactionPlan::decode(&CompactionPlan::default().encode_avro().unwrap()).unwrap();
    assert_eq!(
        (plan.version, plan.preserve_hoodie_metadata),
        (Some(2), Some(false))
    );
    let empty = CommitMetadata::new(WriteOperation::Upsert)
        .encode_avro()
        .unwrap();
    let schema = apache_avro::Schema::parse_str(CommitMetadata::SCHEMA).unwrap();
    let reader = apache_avro::Reader::builder(&empty[..])
        .reader_schema(&schema)
        .build()
        .unwrap();
    let values: Vec<_> = reader.map(Result::unwrap).collect();
    let text = format!("{values:?}");
    assert!(
        text.contains("(\"extraMetadata\", Union(1, Map({})))"),
        "{text}"
    );
    assert!(text.contains("(\"version\", Union(1, Null))"), "{text}");
}

#[test]
fn no_bytes_are_an_empty_payload() {
    assert_eq!(
        CommitMetadata::decode(b"").unwrap(),
        CommitMetadata::default()
    );
    assert_eq!(
        RequestedReplaceMetadata::decode(b"").unwrap(),
        RequestedReplaceMetadata::default()
    );
}

#[test]
fn broken_bytes_are_corrupt() {
    assert_eq!(
        CommitMetadata::decode(b"{\"a\":").unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    assert_eq!(
        CommitMetadata::decode(b"\0\0").unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    let bytes = fixture!("v9.deltacommit");
    for length in (1..bytes.len()).step_by(7) {
        let error = CommitMetadata::decode(&bytes[..length]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{length} bytes");
    }
}

#[test]
fn operations_round_trip_and_unknown_ones_are_named() {
    for name in [
        "UPSERT",
        "BULK_INSERT",
        "INSERT_OVERWRITE_TABLE",
        "ALTER_SCHEMA",
    ] {
        assert_eq!(name.parse::<WriteOperation>().unwrap().as_str(), name);
    }
    assert_eq!(
        "UPSERT_PREPPED".parse::<WriteOperation>().unwrap(),
        WriteOperation::Upsert
    );
    let error = "REWRITE".parse::<WriteOperation>().unwrap_err();
    assert!(error.to_string().contains("REWRITE"));
}
