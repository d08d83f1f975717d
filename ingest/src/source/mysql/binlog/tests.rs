//! Against log files of real servers (`testdata/binlog`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;
use rstest::rstest;
use table_format::record::{RowKind, WriteBatch};

use super::*;
use crate::batch::BatchBuilder;
use crate::error::{ErrorKind, Result};
use crate::schema::{SourceColumn, SourceTable};

const MARIADB: &[u8] = include_bytes!("../../../../testdata/binlog/mariadb-10.11.binlog");
const COMPRESSED: &[u8] =
    include_bytes!("../../../../testdata/binlog/mariadb-10.11-compressed.binlog");
const MYSQL: &[u8] = include_bytes!("../../../../testdata/binlog/mysql-8.0.binlog");
const MARIADB_COLUMNS: &str = include_str!("../../../../testdata/binlog/mariadb-10.11.columns.tsv");
const MYSQL_COLUMNS: &str = include_str!("../../../../testdata/binlog/mysql-8.0.columns.tsv");

/// A table of a column listing.
fn table(listing: &str, name: &str) -> Arc<SourceTable> {
    let lines = listing
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    let lines: Vec<_> = lines.filter(|fields| fields[0] == name).collect();
    let column = |fields: &Vec<&str>| SourceColumn {
        name: fields[1].to_owned(),
        column_type: fields[2].to_owned(),
        nullable: fields[4] == "YES",
        charset: (!fields[3].is_empty()).then(|| fields[3].to_owned()),
        collation: None,
        is_json_alias: false,
    };
    let keys = lines
        .iter()
        .enumerate()
        .filter(|(_, fields)| fields[5] == "PRI");
    Arc::new(SourceTable {
        database: "shop".to_owned(),
        name: name.to_owned(),
        columns: lines.iter().map(column).collect(),
        primary_key: keys.map(|(index, _)| index).collect(),
        chunk_column: None,
        charset: None,
    })
}

/// The events of a log file: each says in its header how long it is.
fn raw_events(log: &[u8]) -> Vec<&[u8]> {
    let mut rest = &log[4..];
    let mut events = Vec::new();
    while !rest.is_empty() {
        let size = u32::from_le_bytes(rest[9..13].try_into().unwrap()) as usize;
        events.push(&rest[..size]);
        rest = &rest[size..];
    }
    events
}

/// All changes of one table, in order.
fn changes(log: &[u8], table: &Arc<SourceTable>) -> Result<WriteBatch> {
    let mut decoder = BinlogDecoder::default();
    let mut batch = BatchBuilder::new(Arc::clone(table))?;
    let mut rows = None;
    for raw in raw_events(log) {
        match decoder.decode(raw)?.1 {
            BinlogEvent::TableMap(map) => {
                let is_wanted = map.table == table.name;
                rows = is_wanted
                    .then(|| RowDecoder::try_new(map, Arc::clone(table), table.primary_key.clone()))
                    .transpose()?;
            }
            BinlogEvent::Rows(event) => {
                if let Some(rows) = &rows {
                    rows.append(&event, &mut batch)?;
                }
            }
            _ => {}
        }
    }
    batch.finish()
}

/// The row of `types` with an id, by column name, as text.
fn row(batch: &WriteBatch, id: i64) -> BTreeMap<String, String> {
    let ids = batch.records.column(0).as_primitive::<Int64Type>();
    let at = ids.values().iter().position(|value| *value == id).unwrap();
    let text = |column: &ArrayRef| {
        // Printing a time zone takes a feature of arrow that nothing else needs.
        let local = column.as_primitive_opt::<TimestampMicrosecondType>();
        let local = local.map(|times| Arc::new(times.clone().with_timezone_opt(None::<Arc<str>>)));
        let column = local.map_or_else(|| Arc::clone(column), |times| times as ArrayRef);
        if column.is_null(at) {
            "NULL".to_owned()
        } else {
            array_value_to_string(&column, at).unwrap()
        }
    };
    let fields = batch
        .records
        .schema_ref()
        .fields()
        .iter()
        .zip(batch.records.columns());
    fields
        .map(|(field, column)| (field.name().clone(), text(column)))
        .collect()
}

#[rstest]
#[case::mariadb(MARIADB, MARIADB_COLUMNS)]
#[case::mariadb_compressed(COMPRESSED, MARIADB_COLUMNS)]
#[case::mysql(MYSQL, MYSQL_COLUMNS)]
fn decodes_the_largest_and_smallest_values(#[case] log: &[u8], #[case] columns: &str) {
    let batch = changes(log, &table(columns, "types")).unwrap();
    let largest = row(&batch, 3);
    for (column, expected) in [
        ("tiu", "255"),
        ("mi", "8388607"),
        ("itu", "4294967295"),
        ("biu", "18446744073709551615"),
        ("db", "5e-324"),
        ("de", "99999999.99"),
        (
            "de65",
            "99999999999999999999999999999999999.999999999999999999999999999999",
        ),
        ("b1", "true"),
        ("b12", "0fff"),
        ("yr", "2155"),
        ("da", "9999-12-31"),
        ("tm6", "838:59:59.000000"),
        ("dt6", "9999-12-31T23:59:59.999999"),
        ("ts3", "2038-01-19T03:14:07.999"),
        ("vc", &"é".repeat(100)),
        ("en", "é"),
        ("st", "x,y,z w"),
        ("uu", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
        ("la", "ÿ"),
        ("gb", "字"),
        ("js", r#""top""#),
    ] {
        assert_eq!(largest[column], expected, "{column}");
    }
    let smallest = row(&batch, 2);
    for (column, expected) in [
        ("ti", "-128"),
        ("mi", "-8388608"),
        ("bi", "-9223372036854775808"),
        ("de38", "-9999999999999999999999999999.9999999999"),
        ("tm", "-838:59:59"),
        ("da", "0001-01-01"),
        ("bn", "0000000000000000"),
        ("uu", "00000000-0000-0000-0000-000000000000"),
    ] {
        assert_eq!(smallest[column], expected, "{column}");
    }
    let odd = row(&batch, 5);
    for (column, expected) in [
        ("mi", "-1"),
        ("fl", "0.0"),
        ("yr", "0"),
        ("da", "NULL"),
        ("dt", "NULL"),
        ("ts", "NULL"),
        ("dt3", "1969-12-31T23:59:59.999"),
        ("tm", "-00:00:01"),
        ("tm6", "-00:00:00.000001"),
        ("ch", "pad"),
        ("vc", "trail "),
        ("bn", "0100000000000000"),
        ("vb", "0100"),
        ("en", ""),
        ("st", "y"),
    ] {
        assert_eq!(odd[column], expected, "{column}");
    }
}

#[rstest]
#[case::mariadb(MARIADB, MARIADB_COLUMNS)]
#[case::mariadb_compressed(COMPRESSED, MARIADB_COLUMNS)]
#[case::mysql(MYSQL, MYSQL_COLUMNS)]
fn an_update_of_the_key_is_a_delete_and_an_insert(#[case] log: &[u8], #[case] columns: &str) {
    let batch = changes(log, &table(columns, "lines")).unwrap();
    let lines: Vec<_> = (0..batch.kinds.len())
        .map(|at| {
            let column = |index| array_value_to_string(batch.records.column(index), at).unwrap();
            (batch.kinds[at], column(0), column(1))
        })
        .collect();
    let expected = [
        (RowKind::Insert, "1", "1"),
        (RowKind::Insert, "1", "2"),
        (RowKind::Insert, "3", "1"),
        // UPDATE lines SET line = line + 10 WHERE order_id = 1 ORDER BY line DESC
        (RowKind::Delete, "1", "2"),
        (RowKind::Insert, "1", "12"),
        (RowKind::Delete, "1", "1"),
        (RowKind::Insert, "1", "11"),
        (RowKind::Delete, "1", "11"),
        (RowKind::Delete, "1", "12"),
        (RowKind::Insert, "9", "9"),
    ];
    let expected = expected.map(|(kind, order, line)| (kind, order.to_owned(), line.to_owned()));
    assert_eq!(lines, expected);
}

#[test]
fn documents_of_mysql_read_as_the_server_prints_them() {
    let batch = changes(MYSQL, &table(MYSQL_COLUMNS, "docs")).unwrap();
    let documents = batch.records.column(1).as_string::<i32>();
    let expected = concat!(
        r#"{"blob":"base64:type15:AP8=","bool":true,"date":"2026-02-28","null":null,"text":"ä\"\\n","#,
        r#""time":"-12:34:56.789012","array":[],"int16":40000,"double":1e100,"object":{"a":2,"zz":1,"bbb":3},"#,
        r#""decimal":12.340,"datetime":"2026-02-28 12:34:56.789000","negative":-9223372036854775808,"#,
        r#""unsigned":18446744073709551615}"#
    );
    assert_eq!(documents.value(0), expected);
    assert_eq!([documents.value(1), documents.value(2)], ["[]", "null"]);
    assert!(documents.is_null(3));
    assert_eq!(
        [documents.value(4), documents.value(5), documents.value(6)],
        ["1.0", "\"x\"", "1.50"]
    );
}

#[rstest]
#[case::mariadb(MARIADB)]
#[case::mariadb_compressed(COMPRESSED)]
#[case::mysql(MYSQL)]
fn positions_follow_from_sizes(#[case] log: &[u8]) {
    let mut decoder = BinlogDecoder::default();
    let mut position = 4;
    for raw in raw_events(log) {
        let (header, _) = decoder.decode(raw).unwrap();
        position += header.event_size;
        assert_eq!(header.next_position, position, "{header:?}");
        assert!(!header.is_artificial());
    }
    assert_eq!(position as usize, log.len());
}

#[rstest]
#[case::mariadb(MARIADB, "0-1-")]
#[case::mysql(MYSQL, ":")]
fn statements_and_transactions_show(#[case] log: &[u8], #[case] gtid_part: &str) {
    let mut decoder = BinlogDecoder::default();
    let (mut statements, mut gtids, mut commits) = (Vec::new(), Vec::new(), 0);
    for raw in raw_events(log) {
        match decoder.decode(raw).unwrap().1 {
            BinlogEvent::Query(query) => {
                statements.push((query.database.into_owned(), query.sql.into_owned()))
            }
            BinlogEvent::Gtid(gtid) => gtids.push(gtid.text()),
            BinlogEvent::Xid => commits += 1,
            _ => {}
        }
    }
    assert!(
        gtids.iter().all(|gtid| gtid.contains(gtid_part)),
        "{gtids:?}"
    );
    let rename = ("shop".to_owned(), "RENAME TABLE late TO later".to_owned());
    assert!(statements.contains(&rename), "{statements:?}");
    assert!(commits > 10);
}

#[test]
fn compressed_statements_are_whole() {
    let mut decoder = BinlogDecoder::default();
    let mut types = Vec::new();
    for raw in raw_events(COMPRESSED) {
        let (header, event) = decoder.decode(raw).unwrap();
        types.push(header.event_type.0);
        if let BinlogEvent::Query(query) = event {
            assert!(
                query.sql.is_ascii() || query.sql.contains('é'),
                "{}",
                query.sql
            );
        }
    }
    // The file is worth its name: QUERY, WRITE, UPDATE and DELETE in their compressed forms.
    assert!(
        (165..=168).all(|wanted| types.contains(&wanted)),
        "{types:?}"
    );
}

#[test]
fn a_schema_that_is_not_in_force_is_refused() {
    let known = table(MARIADB_COLUMNS, "lines");
    let with = |change: fn(&mut SourceTable)| {
        let mut table = (*known).clone();
        change(&mut table);
        changes(COMPRESSED, &Arc::new(table))
            .map(|_| ())
            .unwrap_err()
            .kind()
    };
    assert_eq!(with(|table| drop(table.columns.pop())), ErrorKind::Conflict);
    assert_eq!(
        with(|table| table.columns[1].column_type = "int".to_owned()),
        ErrorKind::Conflict
    );
    assert_eq!(
        with(|table| table.columns[1].column_type = "smallint unsigned".to_owned()),
        ErrorKind::Conflict
    );
    assert_eq!(
        with(|table| table.columns[2].name = "other".to_owned()),
        ErrorKind::Conflict
    );
    assert_eq!(
        with(|table| table.columns[3].column_type = "decimal(10,3)".to_owned()),
        ErrorKind::Conflict
    );
}

#[test]
fn a_flipped_bit_fails_the_checksum() {
    let events = raw_events(MARIADB);
    let mut decoder = BinlogDecoder::default();
    decoder.decode(events[0]).unwrap();
    let mut broken = events[1].to_vec();
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(
        decoder.decode(&broken).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    assert!(decoder.decode(events[1]).is_ok());
}

/// An event without a checksum, to be decoded as an inner one.
fn event(event_type: u8, flags: u16, body: &[u8]) -> Vec<u8> {
    let size = (EventHeader::LENGTH + body.len()) as u32;
    let mut raw = vec![0; 4];
    raw.push(event_type);
    raw.extend_from_slice(&1_u32.to_le_bytes());
    raw.extend_from_slice(&size.to_le_bytes());
    raw.extend_from_slice(&[0; 4]);
    raw.extend_from_slice(&flags.to_le_bytes());
    raw.extend_from_slice(body);
    raw
}

#[rstest]
#[case::incident(26, 0, Some(ErrorKind::Corrupt))]
#[case::partial_json(39, 0, Some(ErrorKind::Unsupported))]
#[case::unknown(99, 0, Some(ErrorKind::Unsupported))]
#[case::unknown_but_ignorable(99, 0x80, None)]
#[case::annotation(160, 0, None)]
fn events_that_cannot_be_followed_stop_the_reader(
    #[case] event_type: u8,
    #[case] flags: u16,
    #[case] error: Option<ErrorKind>,
) {
    let raw = event(event_type, flags, &[0; 16]);
    let mut decoder = BinlogDecoder::default();
    let decoded = decoder
        .decode_inner(&raw)
        .map(|(_, event)| matches!(event, BinlogEvent::Ignored));
    match error {
        Some(kind) => assert_eq!(decoded.unwrap_err().kind(), kind),
        None => assert!(decoded.unwrap()),
    }
}

#[test]
fn an_xa_transaction_is_committed_at_once_or_only_prepared() {
    let mut decoder = BinlogDecoder::default();
    let mut decoded = |one_phase: u8| {
        let mut body = [0; 16];
        body[0] = one_phase;
        let raw = event(38, 0, &body);
        let (_, event) = decoder.decode_inner(&raw).unwrap();
        (
            matches!(event, BinlogEvent::Xid),
            matches!(event, BinlogEvent::XaPrepare),
        )
    };
    assert_eq!(decoded(1), (true, false));
    assert_eq!(decoded(0), (false, true));
}

#[test]
fn the_opening_rotate_of_mariadb_has_a_checksum_before_anyone_said_so() {
    let mut raw = event(4, 0x20, &[4, 0, 0, 0, 0, 0, 0, 0, b'b', b'.', b'1']);
    let size = raw.len() as u32 + 4;
    raw[9..13].copy_from_slice(&size.to_le_bytes());
    let sum = crc32fast::hash(&raw);
    raw.extend_from_slice(&sum.to_le_bytes());
    let mut decoder = BinlogDecoder::default();
    let (header, event) = decoder.decode(&raw).unwrap();
    assert!(header.is_artificial());
    assert!(matches!(event, BinlogEvent::Rotate { file, position: 4 } if file == "b.1"));
}

#[test]
fn a_compressed_transaction_is_read_event_by_event() {
    let inner: Vec<_> = raw_events(MYSQL).into_iter().skip(2).take(20).collect();
    let packed = zstd::encode_all(inner.concat().as_slice(), 3).unwrap();
    let length = u16::try_from(packed.len()).unwrap().to_le_bytes();
    // Payload size, compression, end; sizes are length-encoded integers.
    let mut body = vec![1, 3, 0xfc, length[0], length[1], 2, 1, 0, 0];
    body.extend_from_slice(&packed);
    let raw = event(40, 0, &body);
    let mut decoder = BinlogDecoder::default();
    let BinlogEvent::TransactionPayload(payload) = decoder.decode_inner(&raw).unwrap().1 else {
        panic!("not a payload")
    };
    let mut events = payload.events().unwrap();
    let mut found = Vec::new();
    while let Some(raw) = events.next_event().unwrap() {
        found.push(raw.to_vec());
    }
    assert_eq!(found, inner);

    let raw = event(40, 0, &body[..body.len() - 9]);
    let mut decoder = BinlogDecoder::default();
    let broken = decoder.decode_inner(&raw).and_then(|(_, event)| {
        let BinlogEvent::TransactionPayload(payload) = event else {
            panic!("not a payload")
        };
        let mut events = payload.events()?;
        while events.next_event()?.is_some() {}
        Ok(())
    });
    assert_eq!(broken.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn batches_of_both_servers_have_the_rows_once() {
    let table = table(MARIADB_COLUMNS, "types");
    let plain = changes(MARIADB, &table).unwrap();
    let compressed = changes(COMPRESSED, &table).unwrap();
    assert_eq!(plain.records, compressed.records);
    assert_eq!(plain.kinds, compressed.kinds);
    let both = [&plain.records, &compressed.records];
    assert!(
        concat_batches(plain.records.schema_ref(), both)
            .unwrap()
            .num_rows()
            > 20
    );
}

/// Decodes everything that decodes, rows of `types` into a batch.
fn decode_leniently(raws: &[Vec<u8>], table: &Arc<SourceTable>) {
    let mut decoder = BinlogDecoder::default();
    let mut rows = None;
    for raw in raws {
        match decoder.decode_inner(raw) {
            Ok((_, BinlogEvent::TableMap(map))) => {
                rows = RowDecoder::try_new(map, Arc::clone(table), vec![0]).ok();
            }
            Ok((_, BinlogEvent::Rows(event))) => {
                let mut batch = BatchBuilder::new(Arc::clone(table)).unwrap();
                if rows
                    .as_ref()
                    .is_some_and(|rows| rows.append(&event, &mut batch).is_ok())
                {
                    let _ = batch.finish();
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn mutated_logs_do_not_panic(
        which in 0..3_usize,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..40),
    ) {
        let (log, columns) = [(MARIADB, MARIADB_COLUMNS), (COMPRESSED, MARIADB_COLUMNS), (MYSQL, MYSQL_COLUMNS)][which];
        let mut raws: Vec<_> = raw_events(log).into_iter().map(<[u8]>::to_vec).collect();
        // Without checksums, so that the bytes reach the parsers.
        for raw in &mut raws {
            raw.truncate(raw.len() - 4);
        }
        for (event, at, byte) in flips {
            let event = event.get(&raws).clone();
            let place = at.index(event.len());
            let raw = raws.iter_mut().find(|raw| **raw == event).unwrap();
            raw[place] = byte;
        }
        decode_leniently(&raws, &table(columns, "types"));
    }

    #[test]
    fn random_bodies_do_not_panic(event_type: u8, body: Vec<u8>) {
        let table = table(MARIADB_COLUMNS, "types");
        decode_leniently(&[event(event_type, 0, &body)], &table);
        let _ = BinlogDecoder::default().decode(&body);
    }

    #[test]
    fn random_documents_do_not_panic(document: Vec<u8>) {
        let _ = jsonb::jsonb_to_text(&document, &mut String::new());
    }
}
