//! The cases of Hudi's merge rules, each as Apache Hudi 1.2.0 answers it.

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{Field, Schema};
use rstest::rstest;

use super::*;
use crate::codec::delete_record::{DeleteRecord, OrderingValue};
use crate::env::MemoryBudget;
use crate::reader::pick::Inserts;

/// A record of key `k`.
#[derive(Debug, Clone, Copy)]
enum Record {
    /// Data with this ordering value.
    Data(i64),
    /// A delete, with or without an ordering value.
    Delete(Option<i64>),
    /// Data in which the ordering column is all that is changed.
    Partial(i64),
    /// A whole row whose value is null.
    Null(i64),
}
use Record::{Data, Delete, Null, Partial};

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("ts", DataType::Int64, true),
        Field::new("value", DataType::Int64, true),
    ])
}

fn rows(ts: i64) -> RecordBatch {
    rows_of(ts, Some(ts * 100))
}

fn rows_of(ts: i64, value: Option<i64>) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["k"])),
        Arc::new(Int64Array::from(vec![ts])),
        Arc::new(Int64Array::from(vec![value])),
    ];
    RecordBatch::try_new(Arc::new(schema()), columns).unwrap()
}

fn part(logs: &LogRecords, record: Record) -> Part {
    let keys = StringArray::from(vec!["k"]);
    let ordering_of = |batch: &RecordBatch| {
        logs.ordering()
            .map(|ordering| ordering.of_columns(&[Arc::clone(batch.column(1))]).unwrap())
    };
    match record {
        Data(ts) | Null(ts) => {
            let batch = match record {
                Null(_) => rows_of(ts, None),
                _ => rows(ts),
            };
            let content = Content::Rows {
                batch: batch.clone(),
                deleted: None,
                is_partial: false,
            };
            Part {
                keys,
                ordering: ordering_of(&batch),
                content,
            }
        }
        Partial(ts) => {
            let batch = rows(ts);
            let content = Content::Rows {
                batch: batch.project(&[0, 1]).unwrap(),
                deleted: None,
                is_partial: true,
            };
            Part {
                keys,
                ordering: ordering_of(&batch),
                content,
            }
        }
        Delete(ts) => {
            let ordering_value = ts.map_or(OrderingValue::Int(0), OrderingValue::Long);
            let unordered = vec![ordering_value.is_default()];
            let records = [DeleteRecord {
                record_key: "k".to_owned(),
                partition_path: None,
                ordering_value,
            }];
            let ordering = logs
                .ordering()
                .map(|ordering| ordering.of_deletes(&records).unwrap());
            Part {
                keys,
                ordering,
                content: Content::Deletes { unordered },
            }
        }
    }
}

/// The `(ts, value)` of what is left of `k` when these records lie over a base row, if there is one.
fn merged(by_event_time: bool, base: Option<i64>, records: &[Record]) -> Option<(i64, i64)> {
    let base = base.map(rows);
    merged_over(by_event_time, None, base.as_ref(), records)
}

/// The same with columns merged.
fn merged_over(
    by_event_time: bool,
    column_merge: Option<ColumnMerge>,
    base: Option<&RecordBatch>,
    records: &[Record],
) -> Option<(i64, i64)> {
    let columns = Columns::for_tests(
        schema(),
        0,
        if by_event_time { vec![1] } else { Vec::new() },
    );
    let ordering = by_event_time
        .then(|| Arc::new(Ordering::try_new(&columns.schema, &columns.ordering).unwrap()));
    let mut logs = LogRecords::new(columns, ordering, MemoryBudget::new(1 << 20).book(0))
        .with_column_merge(column_merge);
    for record in records {
        let part = part(&logs, *record);
        logs.add(part).unwrap();
    }
    let mut left: Vec<RecordBatch> = base
        .map(|rows| logs.merge_base(rows).unwrap())
        .into_iter()
        .collect();
    left.extend(Inserts::of(&logs).next(&logs, 10).unwrap());
    let left: Vec<_> = left.iter().filter(|batch| batch.num_rows() > 0).collect();
    assert!(
        left.iter().map(|batch| batch.num_rows()).sum::<usize>() <= 1,
        "the key is there twice"
    );
    let number = |column: usize| {
        left.first().map(|batch| {
            batch
                .column(column)
                .as_any()
                .downcast_ref::<Int64Array>()
                .unwrap()
                .value(0)
        })
    };
    number(1).zip(number(2))
}

#[rstest]
#[case::lower_loses(Some(10), &[Data(9)], Some(10))]
#[case::tie_goes_to_the_later(Some(10), &[Data(10)], Some(10))]
#[case::forgotten_delete_lets_the_base_row_return(Some(10), &[Delete(None), Data(1)], Some(10))]
#[case::delete_then_newer(Some(10), &[Delete(None), Data(11)], Some(11))]
#[case::ordered_delete_holds(Some(10), &[Delete(Some(20)), Data(15)], None)]
#[case::ordered_delete_ties_with_data(Some(10), &[Delete(Some(20)), Data(20)], Some(20))]
#[case::older_data_then_delete(Some(10), &[Data(1), Delete(None)], None)]
#[case::data_beats_an_older_delete(Some(10), &[Data(30), Delete(Some(20))], Some(30))]
#[case::base_beats_an_older_delete(Some(10), &[Delete(Some(9))], Some(10))]
#[case::delete_ties_with_the_base(Some(10), &[Delete(Some(10))], None)]
#[case::insert_after_delete(None, &[Data(5), Delete(None), Data(1)], Some(1))]
#[case::delete_of_nothing(None, &[Delete(None)], None)]
fn event_time_goes_by_ordering_values(
    #[case] base: Option<i64>,
    #[case] records: &[Record],
    #[case] expected: Option<i64>,
) {
    assert_eq!(
        merged(true, base, records),
        expected.map(|ts| (ts, ts * 100))
    );
}

#[rstest]
#[case(Some(10), &[Data(9)], Some(9))]
#[case(Some(10), &[Delete(Some(20)), Data(1)], Some(1))]
#[case(Some(10), &[Data(30), Delete(Some(1))], None)]
#[case(None, &[Data(2), Data(1)], Some(1))]
fn commit_time_goes_by_order(
    #[case] base: Option<i64>,
    #[case] records: &[Record],
    #[case] expected: Option<i64>,
) {
    assert_eq!(
        merged(false, base, records),
        expected.map(|ts| (ts, ts * 100))
    );
}

#[rstest]
#[case::over_base(false, Some(10), &[Null(11)], (11, 1_000))]
#[case::over_logs(false, Some(10), &[Data(12), Null(13), Null(9)], (9, 1_200))]
#[case::late_and_null(true, Some(10), &[Null(9)], (10, 1_000))]
#[case::late_fills_nothing(true, Some(10), &[Data(9)], (10, 1_000))]
#[case::a_delete_ends_it(true, None, &[Data(5), Delete(None), Data(6), Null(7)], (7, 600))]
fn nulls_are_filled_from_below(
    #[case] by_event_time: bool,
    #[case] base: Option<i64>,
    #[case] records: &[Record],
    #[case] expected: (i64, i64),
) {
    let merge = || Some(ColumnMerge::KeepOnNull);
    let base = base.map(rows);
    let found = merged_over(by_event_time, merge(), base.as_ref(), records);
    assert_eq!(found, Some(expected));
    let null_base = rows_of(20, None);
    let filled = merged_over(true, merge(), Some(&null_base), &[Data(9)]);
    assert_eq!(filled, Some((20, 900)));
}

#[rstest]
#[case::over_base(Some(10), &[Partial(11)], (11, 1_000))]
#[case::over_log(Some(10), &[Data(12), Partial(13), Partial(14)], (14, 1_200))]
#[case::under_data(Some(10), &[Partial(11), Data(12)], (12, 1_200))]
fn parts_of_rows_are_filled_from_below(
    #[case] base: Option<i64>,
    #[case] records: &[Record],
    #[case] expected: (i64, i64),
) {
    assert_eq!(merged(false, base, records), Some(expected));
    assert_eq!(merged(true, base, records), Some(expected));
}
