use arrow::array::AsArray;
use arrow::datatypes::{
    Date32Type, Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType,
};

use super::*;
use crate::schema::SourceColumn;

fn table(columns: &[(&str, &str)]) -> Arc<SourceTable> {
    let column = |(name, column_type): &(&str, &str)| SourceColumn {
        name: (*name).to_owned(),
        column_type: (*column_type).to_owned(),
        nullable: true,
        charset: None,
        collation: None,
        is_json_alias: false,
    };
    Arc::new(SourceTable {
        database: "shop".to_owned(),
        name: "t".to_owned(),
        columns: columns.iter().map(column).collect(),
        primary_key: vec![0],
        chunk_column: None,
        charset: None,
    })
}

#[test]
fn reads_result_rows() {
    let columns = [
        ("id", "bigint unsigned"),
        ("n", "mediumint"),
        ("price", "decimal(10,2)"),
        ("at", "datetime(6)"),
        ("day", "date"),
        ("span", "time(3)"),
        ("doc", "json"),
        ("none", "int unsigned"),
    ];
    let mut builder = BatchBuilder::new(table(&columns)).unwrap();
    // The null bitmap has bit 9 set: the eighth column behind an offset of two.
    let mut row = vec![0, 0b0000_0000, 0b0000_0010];
    row.extend_from_slice(&u64::MAX.to_le_bytes());
    row.extend_from_slice(&(-5_i32).to_le_bytes());
    row.extend_from_slice(b"\x05-1.50");
    row.extend_from_slice(&[11, 0xb2, 0x07, 1, 1, 0, 0, 1, 7, 0, 0, 0]);
    row.push(0);
    row.extend_from_slice(&[12, 1, 1, 0, 0, 0, 2, 3, 4, 0xe8, 0x03, 0, 0]);
    row.extend_from_slice(b"\x08{\"a\": 1}");
    builder.append_binary_row(&row, RowKind::Insert).unwrap();
    assert_eq!(builder.rows(), 1);
    assert!(builder.bytes() > row.len() as u64);

    let batch = builder.finish().unwrap();
    let column = |index: usize| batch.records.column(index);
    assert_eq!(
        column(0).as_primitive::<Decimal128Type>().value(0),
        i128::from(u64::MAX)
    );
    assert_eq!(column(1).as_primitive::<Int32Type>().value(0), -5);
    assert_eq!(column(2).as_primitive::<Decimal128Type>().value(0), -150);
    assert_eq!(
        column(3)
            .as_primitive::<TimestampMicrosecondType>()
            .value(0),
        1_000_007
    );
    assert!(column(4).as_primitive::<Date32Type>().is_null(0));
    assert_eq!(column(5).as_string::<i32>().value(0), "-26:03:04.001");
    assert_eq!(column(6).as_string::<i32>().value(0), r#"{"a":1}"#);
    assert!(column(7).as_primitive::<Int64Type>().is_null(0));
    assert_eq!(batch.kinds, [RowKind::Insert]);
    assert_eq!((builder.rows(), builder.bytes()), (0, 0));
}

#[test]
fn a_zero_date_in_the_key_names_its_column() {
    let mut builder = BatchBuilder::new(table(&[("day", "date")])).unwrap();
    builder
        .append_binary_row(&[0, 0, 0], RowKind::Insert)
        .unwrap();
    let message = builder.finish().unwrap_err().to_string();
    assert!(message.starts_with("shop.t: key column day"), "{message}");
}

#[test]
fn broken_rows_name_the_column() {
    let mut builder = BatchBuilder::new(table(&[("id", "int"), ("name", "varchar(9)")])).unwrap();
    let truncated = builder.append_binary_row(&[0, 0, 1, 0, 0, 0, 9, b'x'], RowKind::Insert);
    assert_eq!(
        truncated.unwrap_err().to_string(),
        "shop.t.name: 9 bytes expected, 1 found"
    );
    let mut builder = BatchBuilder::new(table(&[("id", "int")])).unwrap();
    assert!(
        builder
            .append_binary_row(&[0, 0, 1, 0, 0, 0, 7], RowKind::Insert)
            .is_err()
    );
}

proptest::proptest! {
    #[test]
    fn random_rows_do_not_panic(bytes: Vec<u8>) {
        let columns = [
            ("a", "int"), ("b", "text"), ("c", "datetime"), ("d", "time(6)"), ("e", "json"),
            ("f", "decimal(38,2)"), ("g", "decimal(65,2)"), ("h", "bit(1)"), ("i", "date"),
        ];
        let mut builder = BatchBuilder::new(table(&columns)).unwrap();
        let mut row = vec![0, 0, 0];
        row.extend_from_slice(&bytes);
        let _ = builder.append_binary_row(&row, RowKind::Insert);
        let _ = builder.append_binary_row(&bytes, RowKind::Insert);
    }
}
