//! Lets go of log records that newer ones have replaced, so that the folded logs take memory by their keys, not by the
//! number of changes to them.

use arrow::array::{Array, BooleanArray, StringArray, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::row::Rows;

use crate::error::{Error, Result};

use super::merge::{Content, LogRecords, Part, RecordRef};
use super::ordering::Ordering;

/// Fewer records than this are not worth it.
pub(super) const RECORDS_MIN: u64 = 1 << 14;

/// Drops the records of `logs` that no key refers to.
pub(super) fn prune(logs: &mut LogRecords) -> Result<()> {
    let mut is_live: Vec<Vec<bool>> = logs
        .parts
        .iter()
        .map(|part| vec![false; part.keys.len()])
        .collect();
    let referred = logs.folded.iter().map(|entry| entry.record);
    let referred = referred.chain(logs.under.iter().map(|(record, _)| *record));
    for record in referred {
        let part = is_live.get_mut(record.part as usize);
        if let Some(flag) = part.and_then(|part| part.get_mut(record.row as usize)) {
            *flag = true;
        }
    }
    // The new place of each row that stays.
    let mut places: Vec<Vec<u32>> = Vec::with_capacity(is_live.len());
    for (number, is_live) in is_live.iter().enumerate() {
        let mut next = 0_u32;
        let place = |live: &bool| {
            let place = next;
            next += u32::from(*live);
            place
        };
        places.push(is_live.iter().map(place).collect());
        if next as usize == is_live.len() {
            continue;
        }
        let rows: UInt32Array = (0_u32..)
            .zip(is_live)
            .filter_map(|(row, live)| live.then_some(row))
            .collect();
        let pruned = match logs.parts.get(number) {
            Some(part) => take_rows(part, &rows, logs.ordering())?,
            None => continue,
        };
        if let Some(part) = logs.parts.get_mut(number) {
            *part = pruned;
        }
    }
    let moved = |record: &mut RecordRef| {
        let part = places.get(record.part as usize);
        if let Some(row) = part.and_then(|part| part.get(record.row as usize)) {
            record.row = *row;
        }
    };
    logs.folded
        .iter_mut()
        .for_each(|entry| moved(&mut entry.record));
    logs.under.iter_mut().for_each(|(record, _)| moved(record));
    Ok(())
}

fn take_rows(part: &Part, rows: &UInt32Array, ordering: Option<&Ordering>) -> Result<Part> {
    let keys = take(&part.keys, rows, None)?;
    let keys = keys.as_any().downcast_ref::<StringArray>().cloned();
    let content = match &part.content {
        Content::Rows {
            batch,
            deleted,
            is_partial,
        } => {
            let deleted = deleted
                .as_ref()
                .map(|flags| take(flags, rows, None))
                .transpose()?;
            Content::Rows {
                batch: take_record_batch(batch, rows)?,
                deleted: deleted
                    .and_then(|flags| flags.as_any().downcast_ref::<BooleanArray>().cloned()),
                is_partial: *is_partial,
            }
        }
        Content::Deletes { unordered } => Content::Deletes {
            unordered: rows
                .values()
                .iter()
                .map(|row| unordered.get(*row as usize).copied().unwrap_or(true))
                .collect(),
        },
    };
    Ok(Part {
        keys: keys.ok_or_else(|| Error::internal("record keys are no text"))?,
        ordering: match (&part.ordering, ordering) {
            (Some(values), Some(ordering)) => Some(take_values(values, rows, ordering)),
            _ => None,
        },
        content,
    })
}

fn take_values(values: &Rows, rows: &UInt32Array, ordering: &Ordering) -> Rows {
    let mut taken = ordering.empty_rows(rows.len());
    for row in rows.values() {
        taken.push(values.row(*row as usize));
    }
    taken
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use rstest::rstest;

    use super::*;
    use crate::env::MemoryBudget;
    use crate::reader::columns::Columns;
    use crate::reader::pick::Inserts;

    /// Numbers that are the same in every run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: u64) -> i64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            i64::try_from((self.0 >> 33) % limit).unwrap()
        }
    }

    fn part(rows: &[(i64, i64, i64)], is_delete: bool, ordering: Option<&Ordering>) -> Part {
        let keys: StringArray = rows
            .iter()
            .map(|(key, _, _)| Some(key.to_string()))
            .collect();
        let times: ArrayRef = Arc::new(
            rows.iter()
                .map(|(_, time, _)| Some(*time))
                .collect::<Int64Array>(),
        );
        let values = rows
            .iter()
            .map(|(_, _, value)| Some(*value))
            .collect::<Int64Array>();
        let columns: Vec<ArrayRef> =
            vec![Arc::new(keys.clone()), Arc::clone(&times), Arc::new(values)];
        let content = if is_delete {
            Content::Deletes {
                unordered: vec![false; rows.len()],
            }
        } else {
            Content::Rows {
                batch: RecordBatch::try_new(Arc::new(schema()), columns).unwrap(),
                deleted: None,
                is_partial: false,
            }
        };
        Part {
            keys,
            ordering: ordering.map(|ordering| ordering.of_columns(&[times]).unwrap()),
            content,
        }
    }

    fn schema() -> Schema {
        let field = |name, data_type| Field::new(name, data_type, true);
        Schema::new(vec![
            field("key", DataType::Utf8),
            field("ts", DataType::Int64),
            field("value", DataType::Int64),
        ])
    }

    #[rstest]
    #[case(true)]
    #[case(false)]
    fn logs_take_room_by_their_keys_and_fold_as_before(#[case] by_event_time: bool) {
        let columns = Columns::for_tests(
            schema(),
            0,
            if by_event_time { vec![1] } else { Vec::new() },
        );
        let ordering = by_event_time
            .then(|| Arc::new(Ordering::try_new(&columns.schema, &columns.ordering).unwrap()));
        let mut logs = LogRecords::new(columns, ordering, MemoryBudget::new(1 << 20).book(0));
        let mut model: BTreeMap<i64, (i64, Option<i64>)> = BTreeMap::new();
        let mut numbers = Numbers(7);
        for block in 0..120_i64 {
            let is_delete = block % 5 == 4;
            let rows: Vec<(i64, i64, i64)> = (0..1_000)
                .map(|row| {
                    (
                        numbers.below(3_000),
                        numbers.below(1_000),
                        block * 1_000 + row,
                    )
                })
                .collect();
            for (key, time, value) in &rows {
                let newer = (*time, (!is_delete).then_some(*value));
                let older = model
                    .get(key)
                    .filter(|(older, _)| by_event_time && older > time);
                if older.is_none() {
                    model.insert(*key, newer);
                }
            }
            let part = part(&rows, is_delete, logs.ordering());
            logs.add(part).unwrap();
        }
        let held: usize = logs.parts.iter().map(|part| part.keys.len()).sum();
        assert!(held < 20_000, "{held} of 120000 records are held");
        let mut inserts = Inserts::of(&logs);
        let mut found = BTreeMap::new();
        while let Some(batch) = inserts.next(&logs, 512).unwrap() {
            let (keys, values) = (
                batch.column(0).as_string::<i32>(),
                batch.column(2).as_primitive::<Int64Type>(),
            );
            found.extend(
                (0..batch.num_rows())
                    .map(|row| (keys.value(row).parse::<i64>().unwrap(), values.value(row))),
            );
        }
        let expected: BTreeMap<i64, i64> = model
            .into_iter()
            .filter_map(|(key, (_, value))| Some((key, value?)))
            .collect();
        assert_eq!(found, expected);
    }
}
