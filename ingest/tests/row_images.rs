//! A row has the same values whether it is read by SELECT or from the binary log, for every type and edge value.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use ingest::batch::BatchBuilder;
use ingest::schema::SourceTable;
use ingest::source::mysql::binlog::{BinlogDecoder, BinlogEvent, RowDecoder};
use ingest::source::mysql::connection::Connection;
use ingest::source::mysql::discovery::discover;
use ingest::source::mysql::dump::BinlogStream;
use ingest::source::mysql::safe_position::current_position;
use regex::Regex;
use rstest::rstest;
use table_format::record::RowKind;

use crate::support::MariaDb;

/// Every type; the columns that only some servers know are added by the tests.
const TABLE: &str = "CREATE TABLE images.t (
  id BIGINT PRIMARY KEY, ti TINYINT, tiu TINYINT UNSIGNED, bo BOOL, si SMALLINT, siu SMALLINT UNSIGNED,
  mi MEDIUMINT, miu MEDIUMINT UNSIGNED, it INT, itu INT UNSIGNED, bi BIGINT, biu BIGINT UNSIGNED,
  zt TINYINT(3) ZEROFILL, zs SMALLINT(5) ZEROFILL, zm MEDIUMINT(8) ZEROFILL, zf INT(8) UNSIGNED ZEROFILL,
  zb BIGINT(20) ZEROFILL, fl FLOAT, flps FLOAT(7,3), db DOUBLE, dbps DOUBLE(12,4), zd DOUBLE(12,4) ZEROFILL,
  de DECIMAL(10,2), de0 DECIMAL(20,0), de38 DECIMAL(38,10), de65 DECIMAL(65,30), de00 DECIMAL(3,3),
  dez DECIMAL(12,3) ZEROFILL, dez65 DECIMAL(50,3) ZEROFILL,
  b1 BIT(1), b8 BIT(8), b12 BIT(12), b64 BIT(64), yr YEAR, da DATE,
  tm TIME, tm1 TIME(1), tm2 TIME(2), tm3 TIME(3), tm6 TIME(6), dt DATETIME, dt1 DATETIME(1), dt3 DATETIME(3), dt6 DATETIME(6),
  ts TIMESTAMP NULL, ts2 TIMESTAMP(2) NULL, ts4 TIMESTAMP(4) NULL, ts6 TIMESTAMP(6) NULL,
  ch CHAR(10), chl CHAR(10) CHARACTER SET latin1, ch4 CHAR(200), vc VARCHAR(100), vl VARCHAR(300), tx1 TINYTEXT, tx TEXT,
  tx3 MEDIUMTEXT, tx4 LONGTEXT, bn BINARY(8), bn2 BINARY(255), vb VARBINARY(300), bl1 TINYBLOB, bl BLOB, bl3 MEDIUMBLOB,
  bl4 LONGBLOB, en ENUM('a','b c','d,e','é','it''s'), st SET('x','y','z w'), js JSON, ge GEOMETRY, po POINT,
  la VARCHAR(20) CHARACTER SET latin1, gb VARCHAR(20) CHARACTER SET gbk, sj VARCHAR(20) CHARACTER SET sjis,
  u2 VARCHAR(20) CHARACTER SET ucs2, u16 CHAR(20) CHARACTER SET utf16, u32 VARCHAR(20) CHARACTER SET utf32,
  kr TEXT CHARACTER SET koi8r, as_ VARCHAR(20) CHARACTER SET ascii, lb VARCHAR(20) CHARACTER SET utf8mb3 COLLATE utf8mb3_bin,
  elat ENUM('é','ü') CHARACTER SET latin1,
  uu UUID, i4 INET4, i6 INET6,
  gv INT AS (id + 1) VIRTUAL, gs VARCHAR(30) AS (CONCAT('<', vc, '>')) PERSISTENT, inv INT INVISIBLE
)";

const ROWS: &[&str] = &[
    "INSERT INTO images.t (id) VALUES (1)",
    "INSERT INTO images.t (id, ti, tiu, bo, si, siu, mi, miu, it, itu, bi, biu, zt, zs, zm, zf, zb) VALUES
     (10, -128, 255, 2, -32768, 65535, -8388608, 16777215, -2147483648, 4294967295, -9223372036854775808, 18446744073709551615, 7, 7, 7, 42, 42),
     (11, 127, 0, 0, 32767, 0, 8388607, 0, 2147483647, 0, 9223372036854775807, 0, 255, 65535, 16777215, 4294967295, 18446744073709551615),
     (12, -1, 1, 1, -1, 1, -1, 1, -1, 1, -1, 1, 0, 0, 0, 0, 0)",
    "INSERT INTO images.t (id, fl, flps, db, dbps, zd) VALUES
     (20, 1.1, 3.142, 2.718281828459045, 1.5, 1.5), (21, -3.40282347e38, -9999.999, -1.7976931348623157e308, -99999999.9999, 0),
     (22, 1e-38, 0, 5e-324, 0.0001, 12345.6789), (23, -0.0, -0.0, -0.0, 0, 0), (24, 16777217, 0.1, 0.1, 0.1, 99999999)",
    "INSERT INTO images.t (id, de, de0, de38, de65, de00, dez, dez65) VALUES
     (30, 12.30, 12345678901234567890, 1.5, -0.1, 0.125, 5.125, 5.125),
     (31, -99999999.99, -99999999999999999999, -9999999999999999999999999999.9999999999,
      -99999999999999999999999999999999999.999999999999999999999999999999, -0.999, 0, 0),
     (32, 99999999.99, 99999999999999999999, 9999999999999999999999999999.9999999999,
      99999999999999999999999999999999999.999999999999999999999999999999, 0.999, 999999999.999, 99999999999999999999999999999999999999999999999.999),
     (33, -0.01, 0, 0.0000000001, 1e-30, 0.001, 0.001, 0.001), (34, 0, 100000000, 1000000000.0000000001, 1000000000, 0, 1, 1)",
    "INSERT INTO images.t (id, b1, b8, b12, b64) VALUES (40, 1, 165, 2049, 0x0102030405060708), (41, 0, 0, 0, 0), (42, 1, 255, 4095, 18446744073709551615)",
    "INSERT INTO images.t (id, yr, da, tm, tm1, tm2, tm3, tm6, dt, dt1, dt3, dt6, ts, ts2, ts4, ts6) VALUES
     (50, 2026, '2026-02-28', '12:34:56', '12:34:56.7', '12:34:56.78', '12:34:56.789', '12:34:56.789012', '2026-02-28 12:34:56', '2026-02-28 12:34:56.7',
      '2026-02-28 12:34:56.789', '2026-02-28 12:34:56.789012', '2026-02-28 12:34:56', '2026-02-28 12:34:56.78', '2026-02-28 12:34:56.7890', '2026-02-28 12:34:56.789012'),
     (51, 1901, '0001-01-01', '-838:59:59', '-838:59:58.9', '-00:00:00.01', '-00:00:01.001', '-00:00:00.000001', '0001-01-01', '0001-01-01', '1000-01-01 00:00:00.001',
      '0001-01-01 00:00:00.000001', '1970-01-01 00:00:01', '1970-01-01 00:00:01.01', '1970-01-01 00:00:01.0001', '1970-01-01 00:00:01.000001'),
     (52, 2155, '9999-12-31', '838:59:59', '24:00:00.5', '99:59:59.99', '100:00:00.999', '838:59:59.000000', '9999-12-31 23:59:59', '9999-12-31 23:59:59.9',
      '9999-12-31 23:59:59.999', '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07', '2038-01-19 03:14:07.99', '2038-01-19 03:14:07.9999', '2038-01-19 03:14:07.999999'),
     (53, 0, '0000-00-00', '00:00:00', '-12:00:00', '-00:00:01', '-00:59:00', '-01:00:00', '0000-00-00', '1969-12-31 23:59:59.5', '1969-12-31 23:59:59.999',
      '1900-01-01 00:00:00.000001', '0000-00-00 00:00:00', '2001-09-09 01:46:40.01', '2026-03-29 01:30:00.5', '2026-10-25 00:30:00'),
     (54, 1970, '2024-00-15', 0, 0, 0, 0, 0, '2024-05-00', '0000-01-01', '2024-00-00 01:02:03.004', '0000-00-00', NULL, NULL, NULL, NULL),
     (55, 2000, '2024-02-29', '-10:00:00', '-10:00:00.1', '-10:00:00.10', '-10:00:00.100', '-10:00:00.100000', '1970-01-01', '1970-01-01', '1970-01-01', '1970-01-01',
      '2000-02-29 23:59:59', '2000-02-29 23:59:59', '2000-02-29 23:59:59', '2000-02-29 23:59:59')",
    "INSERT INTO images.t (id, ch, chl, ch4, vc, vl, tx1, tx, tx3, tx4) VALUES
     (60, 'char', 'café', REPEAT('漢', 200), 'grüße 漢字 😀 \"q\" \\\\ /', REPEAT('x', 300), 'tiny', 'line\nbreak\ttab', 'medium', REPEAT('long ', 20000)),
     (61, '', '', '', '', '', '', '', '', ''), (62, 'pad  ', 'pad  ', 'p ', 'trail ', ' ', ' ', 'NULL', 'null', '{}'), (63, '  lead', ' ', ' ', '\\0', '\\0', 'é', 'é', 'é', 'é')",
    "INSERT INTO images.t (id, bn, bn2, vb, bl1, bl, bl3, bl4) VALUES
     (70, x'0102030405060708', REPEAT('b', 255), x'CAFE', x'00FF', 'blob', x'01', REPEAT(x'02', 70000)), (71, x'00', '', '', '', '', '', ''),
     (72, x'01', x'0100', x'0100', '\\0', x'20', x'0A', x'FF'), (73, x'2020', 'a ', 'a ', 'a ', 'a ', 'a ', 'a ')",
    "INSERT INTO images.t (id, en, st, js, ge, po, elat) VALUES
     (80, 'b c', 'x,z w', '{\"b\": 1, \"a\": [1.0, null, true, \"x\"], \"big\": 12345678901234567890}', ST_GeomFromText('POINT(1 2)', 4326), ST_GeomFromText('POINT(3.5 -4)'), 'ü'),
     (81, 'a', '', 'null', ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,2 2))'), NULL, 'é'),
     (82, 'é', 'x,y,z w', '\"top\"', NULL, NULL, 'é'), (83, '', 'y', '{}', NULL, NULL, ''), (84, 'it''s', 'z w', '[ ]', NULL, NULL, NULL)",
    "INSERT INTO images.t (id, la, gb, sj, u2, u16, u32, kr, as_, lb) VALUES
     (90, 'café €', '中文', 'カナ', 'a中', 'a😀', 'b😀', 'Привет', 'plain', 'été'), (91, '', '', '', '', '', '', '', '', ''), (92, 'ÿ', '字', '表', 'é', 'é ', 'é', 'Ё', '~', ' ')",
    "INSERT INTO images.t (id, uu, i4, i6, inv, vc) VALUES
     (100, '123e4567-e89b-12d3-a456-426655440000', '10.0.0.0', '2001:db8::ff00:42:8329', 7, 'g'),
     (101, '00000000-0000-0000-0000-000000000000', '0.0.0.0', '::', -1, ''),
     (102, 'ffffffff-ffff-ffff-ffff-ffffffffff00', '255.255.255.255', '::ffff:192.0.2.0', 2147483647, 'h'),
     (103, '123e4567-e89b-42d3-a456-426655440020', '1.2.3.32', '1:0:2:3:4:5:6:2020', 0, 'i'), (104, UUID(), '127.0.0.1', '::1.2.3.4', 0, NULL)",
];

/// The newest row of each key, out of batches in order; deleted keys are left out.
fn newest(batch: &RecordBatch, kinds: &[RowKind]) -> RecordBatch {
    use arrow::array::AsArray as _;
    let ids = batch
        .column(0)
        .as_primitive::<arrow::datatypes::Int64Type>();
    let mut newest = BTreeMap::new();
    for (row, kind) in kinds.iter().enumerate() {
        match kind {
            RowKind::Delete => newest.remove(&ids.value(row)),
            _ => newest.insert(ids.value(row), row as u32),
        };
    }
    let rows = UInt32Array::from_iter_values(newest.into_values());
    take_record_batch(batch, &rows).unwrap()
}

/// The table by SELECT in the binary protocol.
async fn snapshot(connection: &mut Connection, table: &Arc<SourceTable>) -> RecordBatch {
    let mut batch = BatchBuilder::new(Arc::clone(table)).unwrap();
    let sql = format!("SELECT {} FROM images.t ORDER BY id", table.select_list());
    let mut rows = connection.select(&sql).await.unwrap();
    while let Some(row) = rows.next_row().await.unwrap() {
        batch.append_binary_row(row, RowKind::Insert).unwrap();
    }
    batch.finish().unwrap().records
}

#[rstest]
#[case::plain(&["--binlog-row-image=FULL"])]
#[case::metadata(&["--binlog-row-metadata=FULL"])]
#[case::compressed(&["--log-bin-compress=ON", "--log-bin-compress-min-len=10", "--binlog-row-metadata=MINIMAL"])]
#[case::without_checksums(&["--binlog-checksum=NONE"])]
#[tokio::test]
async fn a_row_of_the_log_equals_the_row_of_the_table(#[case] options: &[&str]) {
    let server = MariaDb::start(options).await;
    let mut admin = server.admin().await;
    for statement in [
        "SET sql_mode = ''",
        "SET NAMES utf8mb4",
        "SET time_zone = '+00:00'",
        "CREATE DATABASE images",
        TABLE,
    ] {
        admin.execute(statement).await.unwrap();
    }
    let start = current_position(&mut admin).await.unwrap();
    for statement in ROWS {
        admin
            .execute(statement)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let changes = [
        "UPDATE images.t SET vc = 'changed', de = NULL, bn = x'0100', ch = 'c ' WHERE id IN (60, 61, 1)",
        "UPDATE images.t SET id = id + 1000 WHERE id IN (10, 50)",
        "DELETE FROM images.t WHERE id = 12",
    ];
    for statement in changes {
        admin.execute(statement).await.unwrap();
    }
    let end = current_position(&mut admin).await.unwrap();
    let mut connection = Connection::connect_snapshot(&server.lake()).await.unwrap();
    let pattern = Regex::new("images\\.t").unwrap();
    let table = Arc::new(
        discover(&mut connection, &pattern)
            .await
            .unwrap()
            .remove(0)
            .table,
    );
    let selected = snapshot(&mut connection, &table).await;

    let mut batch = BatchBuilder::new(Arc::clone(&table)).unwrap();
    let mut decoder = BinlogDecoder::default();
    let mut rows = None;
    let mut stream = BinlogStream::open(&server.lake(), 4711, &start)
        .await
        .unwrap();
    loop {
        let raw = stream.next_event().await.unwrap();
        let (header, event) = decoder.decode(raw).unwrap();
        match event {
            BinlogEvent::TableMap(map) => {
                rows = Some(RowDecoder::try_new(map, Arc::clone(&table), vec![0]).unwrap());
            }
            BinlogEvent::Rows(event) => {
                rows.as_ref().unwrap().append(&event, &mut batch).unwrap();
            }
            _ => {}
        }
        if !header.is_artificial() && u64::from(header.next_position) >= end.pos {
            break;
        }
    }
    let logged = batch.finish().unwrap();
    let logged = newest(&logged.records, &logged.kinds);
    assert!(selected.num_rows() > 40);
    assert_eq!(selected.num_rows(), logged.num_rows());
    for (index, field) in selected.schema().fields().iter().enumerate() {
        assert_eq!(
            selected.column(index),
            logged.column(index),
            "column {}",
            field.name()
        );
    }
}
