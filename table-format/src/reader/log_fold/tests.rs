//! Spilled logs give the same rows as held ones.

use std::collections::BTreeMap;

use arrow::array::{Array, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use proptest::prelude::{Strategy, any, prop, proptest};

use super::*;
use crate::codec::delete_record::{DeleteRecord, OrderingValue};
use crate::reader::merge::text_column;
use crate::reader::pick::Inserts;

/// A block: its kind, and its records by key and ordering value.
#[derive(Debug, Clone)]
struct Block {
    kind: Kind,
    records: Vec<(u8, i64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rows,
    /// Rows without their last column.
    Partial,
    /// Rows whose last column is null.
    Nulls,
    Deletes,
    /// Deletes without ordering value.
    Unordered,
}

fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let kind = prop::sample::select(vec![
        Kind::Rows,
        Kind::Rows,
        Kind::Partial,
        Kind::Nulls,
        Kind::Deletes,
        Kind::Unordered,
    ]);
    let records = prop::collection::vec((0_u8..40, 0_i64..9), 1..20);
    let block = (kind, records).prop_map(|(kind, records)| Block { kind, records });
    prop::collection::vec(block, 1..12)
}

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("ts", DataType::Int64, true),
        Field::new("value", DataType::Int64, true),
    ])
}

fn keys(records: &[(u8, i64)]) -> StringArray {
    let keys = records.iter().map(|(key, _)| Some(format!("k{key}")));
    keys.collect()
}

fn rows(records: &[(u8, i64)], first_value: Option<i64>) -> RecordBatch {
    let values = (0_i64..).zip(records);
    let values = values.map(|(row, _)| first_value.map(|first| first + row));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(keys(records)),
        Arc::new(Int64Array::from_iter_values(
            records.iter().map(|(_, ts)| *ts),
        )),
        Arc::new(values.collect::<Int64Array>()),
    ];
    RecordBatch::try_new(Arc::new(schema()), columns).unwrap()
}

fn part(fold: &LogFold, block: &Block, first_value: i64) -> Part {
    let rows_part =
        |batch, is_partial| rows_part(fold.columns(), fold.ordering(), batch, is_partial).unwrap();
    match block.kind {
        Kind::Rows => rows_part(rows(&block.records, Some(first_value)), false),
        Kind::Nulls => rows_part(rows(&block.records, None), false),
        Kind::Partial => {
            let rows = rows(&block.records, Some(first_value));
            rows_part(rows.project(&[0, 1]).unwrap(), true)
        }
        Kind::Deletes | Kind::Unordered => {
            let records = block.records.iter().map(|(key, ts)| DeleteRecord {
                record_key: format!("k{key}"),
                partition_path: None,
                ordering_value: match block.kind {
                    Kind::Deletes => OrderingValue::Long(*ts),
                    _ => OrderingValue::Int(0),
                },
            });
            let records = records.collect::<Vec<_>>();
            Part {
                keys: keys(&block.records),
                ordering: fold
                    .ordering()
                    .map(|ordering| ordering.of_deletes(&records).unwrap()),
                content: Content::Deletes {
                    unordered: vec![block.kind == Kind::Unordered; block.records.len()],
                },
            }
        }
    }
}

type Merged = BTreeMap<String, (Option<i64>, Option<i64>)>;

fn merge_part(mut logs: LogRecords, base: &RecordBatch, merged: &mut Merged) {
    let mut batches = vec![logs.merge_base(base).unwrap()];
    batches.extend(Inserts::of(&logs).next(&logs, 1_000).unwrap());
    for batch in batches {
        let keys = text_column(&batch, 0).unwrap();
        let number = |column: usize, row: usize| {
            let values = batch.column(column).as_primitive::<Int64Type>();
            values.is_valid(row).then(|| values.value(row))
        };
        for row in 0..batch.num_rows() {
            let values = (number(1, row), number(2, row));
            let before = merged.insert(keys.value(row).to_owned(), values);
            assert!(before.is_none(), "the key is there twice");
        }
    }
}

/// What the blocks make of a base file, and whether the logs were spilled.
fn merged(
    blocks: &[Block],
    by_event_time: bool,
    column_merge: Option<ColumnMerge>,
    ceiling: u64,
) -> (Merged, bool) {
    let order = if by_event_time { vec![1] } else { Vec::new() };
    let columns = Columns::for_tests(schema(), 0, order);
    let options = ReadOptions::new(MemoryBudget::new(ceiling));
    let mut fold = LogFold::new(&columns, column_merge, &options).unwrap();
    fold.expect(blocks.len() as u64);
    for (number, block) in (1_i64..).zip(blocks) {
        fold.add(part(&fold, block, number * 1_000)).unwrap();
        fold.pass(1).unwrap();
    }
    let base: Vec<(u8, i64)> = (0..30).map(|key| (key, i64::from(key % 8))).collect();
    let base = rows(&base, Some(0));
    let mut merged = Merged::new();
    let is_spilled = match fold.finish().unwrap() {
        FoldedLogs::Held(logs) => {
            merge_part(*logs, &base, &mut merged);
            false
        }
        FoldedLogs::Spilled(mut logs) => {
            let dealt = logs.dealer().deal(text_column(&base, 0).unwrap()).unwrap();
            for (bucket, rows) in dealt.iter().enumerate() {
                let base = arrow::compute::take_record_batch(&base, rows).unwrap();
                merge_part(logs.take_bucket(bucket).unwrap(), &base, &mut merged);
            }
            true
        }
    };
    (merged, is_spilled)
}

proptest! {
    #[test]
    fn spilled_logs_merge_like_held_ones(
        blocks in blocks(),
        by_event_time in any::<bool>(),
        keeps_on_null in any::<bool>(),
    ) {
        let column_merge = keeps_on_null.then_some(ColumnMerge::KeepOnNull);
        let held = merged(&blocks, by_event_time, column_merge.clone(), 1 << 30);
        let spilled = merged(&blocks, by_event_time, column_merge, 1);
        assert_eq!((held.1, spilled.1), (false, true));
        assert_eq!(held.0, spilled.0);
    }
}

#[test]
fn spilled_logs_stay_below_the_ceiling() {
    const CEILING: u64 = 16 << 20;
    const BLOCKS: i64 = 60;
    const BLOCK_ROWS: i64 = 10_000;
    let options = ReadOptions::new(MemoryBudget::new(CEILING));
    let columns = Columns::for_tests(schema(), 0, vec![1]);
    let mut fold = LogFold::new(&columns, None, &options).unwrap();
    fold.expect(BLOCKS as u64);
    for block in 0..BLOCKS {
        let numbers = block * BLOCK_ROWS..(block + 1) * BLOCK_ROWS;
        let keys: StringArray = numbers
            .clone()
            .map(|number| Some(format!("key {number}")))
            .collect();
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
        let rows: Vec<ArrayRef> = vec![Arc::new(keys), Arc::clone(&numbers), numbers];
        let rows = RecordBatch::try_new(Arc::new(schema()), rows).unwrap();
        let part = rows_part(fold.columns(), fold.ordering(), rows, false).unwrap();
        fold.add(part).unwrap();
        fold.pass(1).unwrap();
    }
    let FoldedLogs::Spilled(mut logs) = fold.finish().unwrap() else {
        panic!("the logs are held");
    };
    let mut rows = 0;
    for bucket in 0..logs.dealer().buckets() {
        let logs = logs.take_bucket(bucket).unwrap();
        let mut inserts = Inserts::of(&logs);
        while let Some(batch) = inserts.next(&logs, 8192).unwrap() {
            rows += batch.num_rows() as i64;
        }
    }
    assert_eq!(rows, BLOCKS * BLOCK_ROWS);
    let peak = options.memory.peak_bytes();
    assert!(peak <= CEILING, "{peak} bytes of {CEILING}");
    assert_eq!(options.memory.used_bytes(), 0);
}

#[test]
fn records_that_were_replaced_are_let_go_whatever_they_are_ordered_by() {
    const KEYS: i64 = 5_000;
    for order in [Vec::new(), vec![1]] {
        let options = ReadOptions::new(MemoryBudget::new(1 << 30));
        let columns = Columns::for_tests(schema(), 0, order);
        let mut fold = LogFold::new(&columns, None, &options).unwrap();
        fold.expect(20);
        let mut held = Vec::new();
        for version in 0..20 {
            let keys: StringArray = (0..KEYS).map(|key| Some(format!("key {key}"))).collect();
            let versions: ArrayRef = Arc::new(Int64Array::from(vec![version; KEYS as usize]));
            let rows: Vec<ArrayRef> = vec![Arc::new(keys), Arc::clone(&versions), versions];
            let rows = RecordBatch::try_new(Arc::new(schema()), rows).unwrap();
            let part = rows_part(fold.columns(), fold.ordering(), rows, false).unwrap();
            fold.add(part).unwrap();
            fold.pass(1).unwrap();
            held.push(options.memory.used_bytes());
        }
        assert!(held[19] < 5 * held[0], "{held:?}");
    }
}
