//! The history on its own.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StructArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use rstest::rstest;

use super::alter::changed;
use super::column::InternalSchema;
use super::convert::convert;
use super::history::SchemaHistory;
use super::{ColumnChange, WrittenSchema};
use crate::error::ErrorKind;
use crate::timeline::InstantTime;

/// `a` becomes `b`, `gone` is dropped and added again as another column, `s.x` becomes `s.y`.
const HISTORY: &str = r#"{"schemas":[{"max_column_id":6,"version_id":20260101000000000,"type":"record","fields":[{"id":0,"name":"b","optional":true,"type":"int"},{"id":5,"name":"gone","optional":true,"type":"long"},{"id":2,"name":"s","optional":true,"type":{"type":"record","fields":[{"id":3,"name":"y","optional":true,"type":"int"}]}}]},{"max_column_id":4,"version_id":0,"type":"record","fields":[{"id":0,"name":"a","optional":true,"type":"int"},{"id":1,"name":"gone","optional":true,"type":"long"},{"id":2,"name":"s","optional":true,"type":{"type":"record","fields":[{"id":3,"name":"x","optional":true,"type":"int"}]}}]}]}"#;
/// As Apache Hudi 1.2.0 writes it.
const HUDI: &str = r#"{"max_column_id":18,"version_id":0,"type":"record","fields":[{"id":0,"name":"_hoodie_commit_time","optional":true,"type":"string","doc":""},{"id":5,"name":"id","optional":false,"type":"int"},{"id":10,"name":"dec","optional":true,"type":"decimal_fixed(10, 2)[5]"},{"id":11,"name":"arr","optional":true,"type":{"type":"array","element_id":14,"element":"string","element_optional":true}},{"id":12,"name":"m","optional":true,"type":{"type":"map","key_id":15,"key":"string","value_id":16,"value":"int","value_optional":true}},{"id":13,"name":"st","optional":true,"type":{"type":"record","fields":[{"id":17,"name":"x","optional":true,"type":"int"},{"id":18,"name":"y","optional":true,"type":"timestamp"}]}}]}"#;

fn time(text: &str) -> InstantTime {
    text.parse().unwrap()
}

fn rows() -> RecordBatch {
    let inner: ArrayRef = Arc::new(Int32Array::from(vec![7]));
    let inner = StructArray::from(vec![(
        Arc::new(Field::new("x", DataType::Int32, true)),
        inner,
    )]);
    RecordBatch::try_from_iter([
        ("a", Arc::new(Int32Array::from(vec![1])) as ArrayRef),
        ("gone", Arc::new(Int64Array::from(vec![2]))),
        ("s", Arc::new(inner)),
    ])
    .unwrap()
}

fn names(schema: &Schema) -> Vec<&str> {
    let fields = schema.fields().iter();
    fields.map(|field| field.name().as_str()).collect()
}

#[test]
fn columns_are_known_by_their_ids() {
    let history = SchemaHistory::parse(HISTORY.as_bytes()).unwrap();
    let (before, after) = (time("20251231000000000"), time("20260102000000000"));
    let renames = history.renames(&before, &after).unwrap().unwrap();
    assert_eq!(renames.new_name("a"), Some("b"));
    assert_eq!(renames.new_name("gone"), None);
    assert_eq!(
        renames.new_name("_hoodie_record_key"),
        Some("_hoodie_record_key")
    );
    let renamed = renames.apply(&rows()).unwrap();
    assert_eq!(names(&renamed.schema()), ["b", "s"]);
    let inner = renamed.column(1).as_struct();
    assert_eq!(inner.column_names(), ["y"]);
    assert!(history.renames(&after, &after).unwrap().is_none());
    assert!(history.renames(&before, &before).unwrap().is_none());
}

#[rstest]
#[case("{}")]
#[case("")]
#[case(r#"{"schemas":[]}"#)]
#[case(r#"{"schemas":[{"version_id":-1,"max_column_id":0,"type":"record","fields":[]}]}"#)]
#[case(r#"{ "schemas":[{"version_id":1,"max_column_id":0,"type":"record","fields":[]}]}"#)]
fn a_broken_history_is_an_error(#[case] text: &str) {
    let error = SchemaHistory::parse(text.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(SchemaHistory::parse(&[0xff]).is_err());
}

#[test]
fn schemas_are_written_as_hudi_writes_them() {
    let schema: InternalSchema = serde_json::from_str(HUDI).unwrap();
    assert_eq!(schema.to_json().unwrap(), HUDI);
    let arrow = schema.arrow_schema().unwrap();
    assert_eq!(names(&arrow), ["id", "dec", "arr", "m", "st"]);
    assert!(!arrow.field(0).is_nullable());
    assert_eq!(*arrow.field(1).data_type(), DataType::Decimal128(10, 2));
    let first = InternalSchema::first(&arrow).unwrap();
    let ids = |json: &str| -> Vec<String> {
        let ids = json.split("id\":").skip(1);
        ids.map(|rest| rest.split(',').next().unwrap().to_owned())
            .collect()
    };
    let expected = "15 0 0 1 2 3 4 5 6 7 10 8 11 12 9 13 14";
    assert_eq!(
        ids(&first.to_json().unwrap()).join(" "),
        expected.replacen("15", "14", 1)
    );
    assert_eq!(first.arrow_schema().unwrap(), arrow);
}

#[test]
fn what_a_write_brings_gets_new_ids_and_a_version() {
    let history = SchemaHistory::parse(HISTORY.as_bytes()).unwrap();
    let (now, known) = (time("20260301000000000"), time("20260102000000000"));
    let schema = history.at(&known).unwrap().arrow_schema().unwrap();
    let same = WrittenSchema::of_rows(&history, &now, &schema).unwrap();
    // The history lacks the meta columns, which a table has.
    assert!(same.is_change());
    let history = same.history().unwrap();
    let now = time("20260401000000000");
    let same = WrittenSchema::of_rows(&history, &now, &schema).unwrap();
    assert!(!same.is_change());
    assert_eq!(
        same.history().unwrap().newest_version(),
        Some(20_260_301_000_000_000)
    );
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new("new", DataType::Utf8, true)));
    let more = WrittenSchema::of_rows(&history, &now, &Schema::new(fields)).unwrap();
    assert!(more.is_change());
    assert!(
        more.schema()
            .to_json()
            .unwrap()
            .contains(r#"{"id":12,"name":"new","optional":true"#)
    );
    let history = more.history().unwrap();
    let known = history
        .renames(&time("20250101000000000"), &now)
        .unwrap()
        .unwrap();
    assert_eq!(known.new_name("a"), Some("b"));
    // Columns that Hudi could not read back would make it lose the table.
    let local = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
    let local = Schema::new(vec![Field::new("d", local, true)]);
    let refused = WrittenSchema::of_rows(&history, &now, &local).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("`d`"), "{refused}");
}

fn column(name: &str) -> String {
    name.to_owned()
}

#[test]
fn changes_keep_the_ids_of_columns() {
    let schema: InternalSchema = serde_json::from_str(HUDI).unwrap();
    let changes = [
        ColumnChange::Rename {
            column: column("st.x"),
            to: column("z"),
        },
        ColumnChange::Drop {
            column: column("arr"),
        },
        ColumnChange::Add {
            column: column("arr"),
            data_type: DataType::Int64,
        },
        ColumnChange::Add {
            column: column("st.more"),
            data_type: DataType::Utf8,
        },
        ColumnChange::Widen {
            column: column("dec"),
            data_type: DataType::Decimal128(12, 3),
        },
        ColumnChange::MakeNullable {
            column: column("id"),
        },
    ];
    let json = changed(&schema, &changes, 7, 30)
        .unwrap()
        .to_json()
        .unwrap();
    assert_eq!(
        json,
        r#"{"max_column_id":32,"version_id":7,"type":"record","fields":[{"id":0,"name":"_hoodie_commit_time","optional":true,"type":"string","doc":""},{"id":5,"name":"id","optional":true,"type":"int"},{"id":10,"name":"dec","optional":true,"type":"decimal_fixed(12, 3)[6]"},{"id":12,"name":"m","optional":true,"type":{"type":"map","key_id":15,"key":"string","value_id":16,"value":"int","value_optional":true}},{"id":13,"name":"st","optional":true,"type":{"type":"record","fields":[{"id":17,"name":"z","optional":true,"type":"int"},{"id":18,"name":"y","optional":true,"type":"timestamp"},{"id":32,"name":"more","optional":true,"type":"string"}]}},{"id":31,"name":"arr","optional":true,"type":"long"}]}"#
    );
}

#[rstest]
#[case(ColumnChange::Rename { column: column("nope"), to: column("x") }, "no column `nope`; there are id, dec, arr, m, st")]
#[case(ColumnChange::Rename { column: column("dec"), to: column("ID") }, "a column `id` already")]
#[case(ColumnChange::Rename { column: column("dec"), to: column("1a") }, "letters, digits and underscores")]
#[case(ColumnChange::Drop { column: column("_hoodie_commit_time") }, "Hudi's own")]
#[case(ColumnChange::Drop { column: column("arr.element") }, "holds others")]
#[case(ColumnChange::Add { column: column("m.x"), data_type: DataType::Int32 }, "holds others")]
#[case(ColumnChange::Add { column: column("st.x"), data_type: DataType::Int32 }, "`st.x` already")]
#[case(ColumnChange::Widen { column: column("id"), data_type: DataType::Boolean }, "not every Int32 is a Boolean")]
#[case(ColumnChange::Widen { column: column("st"), data_type: DataType::Utf8 }, "only plain columns")]
#[case(ColumnChange::MakeNullable { column: column("dec") }, "so already")]
fn changes_that_cannot_be_name_the_column(#[case] change: ColumnChange, #[case] message: &str) {
    let schema: InternalSchema = serde_json::from_str(HUDI).unwrap();
    let error = changed(&schema, &[change], 7, 30).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(message), "{error}");
}

#[test]
fn keys_are_not_touched() {
    let fixed = [("a key", vec![column("a.b"), column("id")])];
    let drop = |name: &str| ColumnChange::Drop {
        column: column(name),
    };
    for name in ["id", "a", "a.b"] {
        let error = drop(name).check_not_fixed(&fixed).unwrap_err();
        assert!(
            error.to_string().contains("is a key of the table"),
            "{error}"
        );
    }
    for name in ["i", "a.c", "idx"] {
        drop(name).check_not_fixed(&fixed).unwrap();
    }
}

#[test]
fn values_become_values_of_the_new_type() {
    let texts = |array: ArrayRef| {
        let texts = convert(&array, &DataType::Utf8).unwrap();
        let texts: Vec<_> = texts
            .as_string::<i32>()
            .iter()
            .map(|t| t.map(str::to_owned))
            .collect();
        texts
    };
    assert_eq!(
        texts(Arc::new(Int32Array::from(vec![Some(-7), None]))),
        [Some("-7".to_owned()), None]
    );
    assert_eq!(
        texts(Arc::new(Float64Array::from(vec![1.5, 1e10]))),
        [Some("1.5".to_owned()), Some("1.0E10".to_owned())]
    );
    let longs: ArrayRef = Arc::new(Int64Array::from(vec![12]));
    let decimal = convert(&longs, &DataType::Decimal128(21, 2)).unwrap();
    assert_eq!(
        decimal
            .as_primitive::<arrow::datatypes::Decimal128Type>()
            .value(0),
        1200
    );
    let dates: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["1970-01-02"]));
    let converted = convert(&dates, &DataType::Date32).unwrap();
    assert_eq!(
        converted
            .as_primitive::<arrow::datatypes::Date32Type>()
            .value(0),
        1
    );
    let none: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["soon"]));
    assert!(convert(&none, &DataType::Date32).is_err());
    assert_eq!(none.len(), 1);
}
