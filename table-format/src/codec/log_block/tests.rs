//! Blocks against log files that Hudi 1.2.0 wrote, and against ourselves.

use bytes::Bytes;

use super::*;
use crate::codec::delete_record::OrderingValue;
use crate::error::{Error, ErrorKind};

macro_rules! fixture {
    ($name:literal) => {
        Bytes::from_static(include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/testdata/log/",
            $name
        )))
    };
}

fn blocks(file: Bytes) -> Vec<LogBlock> {
    LogBlockReader::new(file).collect::<Result<_>>().unwrap()
}

fn only_block(file: Bytes) -> LogBlock {
    let length = file.len() as u64;
    let mut blocks = blocks(file);
    let block = blocks.pop().unwrap();
    assert!(blocks.is_empty());
    assert_eq!((block.offset, block.length), (0, length));
    block
}

fn data_block(instant: &str, rows: &[&[u8]]) -> Vec<u8> {
    let mut builder = DataBlockBuilder::try_new(instant, "{}").unwrap();
    for row in rows {
        let append = |out: &mut Vec<u8>| {
            out.extend_from_slice(row);
            Ok(())
        };
        builder.append(append).unwrap();
    }
    builder.finish().unwrap()
}

fn kinds(file: Vec<u8>) -> Vec<BlockKind> {
    blocks(Bytes::from(file))
        .into_iter()
        .map(|block| block.kind)
        .collect()
}

#[test]
fn reads_each_kind_of_block_that_hudi_writes() {
    let block = only_block(fixture!("v6_avro.log"));
    assert_eq!(block.kind, BlockKind::AvroData);
    assert!(
        block
            .header
            .schema()
            .unwrap()
            .contains("_hoodie_record_key")
    );
    assert_eq!(
        block
            .avro_records()
            .unwrap()
            .collect::<Result<Vec<_>>>()
            .unwrap()
            .len(),
        1
    );

    let block = only_block(fixture!("v6_rollback.log"));
    assert_eq!(block.kind, BlockKind::Command);
    assert_eq!(block.header.get(HeaderKey::CommandBlockType), Some("0"));
    assert!(block.header.target_instant_time().unwrap() < block.header.instant_time().unwrap());

    let (instant, target) = (
        block.header.instant_time().unwrap(),
        block.header.target_instant_time().unwrap(),
    );
    let ours = encode_rollback_block(instant, target).unwrap();
    assert_eq!(ours, fixture!("v6_rollback.log"));

    let block = only_block(fixture!("v9_cdc.log"));
    assert_eq!(block.kind, BlockKind::CdcData);
    assert!(block.avro_records().unwrap().remaining() > 0);

    let block = only_block(fixture!("v9_parquet.log"));
    assert_eq!(block.kind, BlockKind::ParquetData);
    assert!(block.content.starts_with(b"PAR1") && block.content.ends_with(b"PAR1"));
}

#[test]
fn reads_deletes_of_hudi_and_writes_the_same_content() {
    let block = only_block(fixture!("v9_delete.log"));
    let deletes = block.delete_records().unwrap();
    assert_eq!(deletes.len(), 2);
    assert!(
        deletes
            .iter()
            .all(|delete| delete.ordering_value == OrderingValue::Int(0))
    );
    let instant = block.header.instant_time().unwrap();
    let again = only_block(Bytes::from(
        encode_delete_block(instant, None, &deletes).unwrap(),
    ));
    assert_eq!(again.content, block.content);
    assert_eq!(again.header.instant_time(), Some(instant));
}

#[test]
fn hazard_5_writes_the_bytes_of_hudi() {
    // Only the two headers that we write are there, in the order in which we write them.
    let file = fixture!("v6_avro.log");
    let block = only_block(file.clone());
    let (instant, schema) = (
        block.header.instant_time().unwrap(),
        block.header.schema().unwrap(),
    );
    let mut builder = DataBlockBuilder::try_new(instant, schema).unwrap();
    for record in block.avro_records().unwrap() {
        builder
            .append(|out| {
                out.extend_from_slice(record?);
                Ok(())
            })
            .unwrap();
    }
    assert_eq!(builder.finish().unwrap(), file);
}

#[test]
fn a_row_that_fails_to_encode_leaves_no_trace() {
    let mut builder = DataBlockBuilder::try_new("1", "{}").unwrap();
    let empty = builder.len();
    let failing = |out: &mut Vec<u8>| {
        out.push(1);
        Err(Error::invalid("no"))
    };
    assert_eq!(
        builder.append(failing).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert!(builder.is_empty() && builder.len() == empty);
    let block = only_block(Bytes::from(builder.finish().unwrap()));
    assert_eq!(block.avro_records().unwrap().count(), 0);
}

#[test]
fn a_truncated_last_block_is_corrupt_and_the_rest_is_read() {
    let (first, second) = (data_block("1", &[b"abc"]), data_block("2", &[b"def"]));
    for length in 1..second.len() {
        let file = [&first[..], &second[..length]].concat();
        assert_eq!(
            kinds(file),
            [BlockKind::AvroData, BlockKind::Corrupt],
            "{length} bytes"
        );
    }
}

#[test]
fn a_torn_block_in_the_middle_is_skipped() {
    let (torn, whole) = (data_block("1", &[b"abc"]), data_block("2", &[b"def"]));
    let file = [&torn[..20], &whole[..]].concat();
    assert_eq!(kinds(file), [BlockKind::Corrupt, BlockKind::AvroData]);
}

#[test]
fn hazard_5_stray_bytes_make_the_block_before_them_corrupt() {
    let block = data_block("1", &[b"abc"]);
    let file = [&block[..], b"stray bytes"].concat();
    assert_eq!(kinds(file), [BlockKind::Corrupt]);
    let wrong_trailing = {
        let mut block = block.clone();
        *block.last_mut().unwrap() += 8;
        block
    };
    assert_eq!(
        kinds([wrong_trailing, block].concat()),
        [BlockKind::Corrupt, BlockKind::AvroData]
    );
}

#[test]
fn bytes_that_are_no_log_file_are_an_error() {
    let mut reader = LogBlockReader::new(Bytes::from_static(b"PAR1 is not a log file"));
    assert_eq!(
        reader.next().unwrap().unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    assert!(reader.next().is_none());
}

#[test]
fn deletes_that_only_java_reads_are_refused_with_the_reason() {
    let mut frame = encode_delete_block("1", None, &[]).unwrap();
    let at = frame.len() - 12 - 9;
    frame[at..at + 4].copy_from_slice(&2_u32.to_be_bytes());
    let error = only_block(Bytes::from(frame)).delete_records().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[test]
fn any_broken_byte_is_an_error_or_another_block_but_no_panic() {
    let file = fixture!("v9_types.log");
    for at in 0..file.len() {
        let mut broken = file.to_vec();
        broken[at] ^= 0xff;
        for block in LogBlockReader::new(Bytes::from(broken)).map_while(Result::ok) {
            if let Ok(records) = block.avro_records() {
                let _ = records.count();
            }
        }
    }
}
