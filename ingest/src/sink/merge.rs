//! Changes of several source tables in one lake table, in the order in which the log has them.
//!
//! Each source table collects its rows in columns of its own. A row that moves from one shard to another is deleted in the
//! first and inserted in the second: written table by table, the delete might come last. Whoever moves rows inserts them
//! first as often as not: what a source transaction leaves in one shard is not deleted by what it deletes in another.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use table_format::record::{RowKind, WriteBatch};
use table_format::schema::adapt::adapt_batch;

use super::{Feed, LakeTable};
use crate::error::{Error, Result};

/// Which source tables the rows came from that wait to be written, in the log's order.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    runs: Vec<Run>,
}

/// Rows of one table in one source transaction.
#[derive(Debug)]
struct Run {
    table: usize,
    transaction: u64,
    rows: usize,
}

impl Arrivals {
    /// Notes that so many rows of a source table were collected. `transaction` is another number for each source transaction.
    pub(crate) fn note(&mut self, table: usize, transaction: u64, rows: usize) {
        match self.runs.last_mut() {
            Some(last) if (last.table, last.transaction) == (table, transaction) => {
                last.rows += rows;
            }
            _ => self.runs.push(Run {
                table,
                transaction,
                rows,
            }),
        }
    }
}

/// The rows of one source table that wait, on their way into the lake.
struct Waiting {
    table: usize,
    batch: WriteBatch,
    /// Which of the collected rows are left, ascending; all if `None`.
    left: Option<Vec<u32>>,
    collected: usize,
    taken: usize,
}

impl Waiting {
    /// The places in the batch of the next `count` collected rows.
    fn take(&mut self, count: usize) -> Range<usize> {
        let from = self.taken;
        self.collected += count;
        self.taken = match &self.left {
            None => self.collected,
            Some(left) => {
                from + left[from..].partition_point(|row| (*row as usize) < self.collected)
            }
        };
        from..self.taken
    }
}

impl LakeTable {
    /// Writes what several source tables have collected into the open instant, beginning one if there is none: a later change
    /// of a key wins, whichever table it came from.
    pub(crate) async fn upsert_merged(
        &mut self,
        tables: Vec<(usize, &mut Feed, WriteBatch)>,
        arrivals: Arrivals,
    ) -> Result<()> {
        let mut waiting = Vec::with_capacity(tables.len());
        for (table, feed, batch) in tables {
            let (mut batch, left) = self.arriving(feed, batch)?;
            batch.records = adapt_batch(&batch.records, &self.schema)?;
            waiting.push(Waiting {
                table,
                batch,
                left,
                collected: 0,
                taken: 0,
            });
        }
        let key = self.table.config().record_key_fields();
        let batch = in_order(waiting, &arrivals, &key)?;
        self.write(batch).await
    }
}

/// A row that waits: the number of its batch, and its place there.
type Place = (usize, usize);

fn in_order(mut waiting: Vec<Waiting>, arrivals: &Arrivals, key: &[String]) -> Result<WriteBatch> {
    let mut places = Vec::new();
    let mut keys = None;
    let is_same = |a: &Run, b: &Run| a.transaction == b.transaction;
    for transaction in arrivals.runs.chunk_by(is_same) {
        let begin = places.len();
        for run in transaction {
            let at = waiting.iter().position(|one| one.table == run.table);
            let at =
                at.ok_or_else(|| Error::internal("rows wait of a table that has collected none"))?;
            places.extend(waiting[at].take(run.rows).map(|row| (at, row)));
        }
        if transaction
            .iter()
            .any(|run| run.table != transaction[0].table)
        {
            let keys = match &mut keys {
                Some(keys) => keys,
                none => none.insert(Keys::of(&waiting, key)?),
            };
            let left = keys.left_elsewhere(&waiting, &places[begin..]);
            places.extend(left);
        }
    }
    let records: Vec<&RecordBatch> = waiting.iter().map(|one| &one.batch.records).collect();
    Ok(WriteBatch {
        records: interleave_record_batch(&records, &places)?,
        kinds: places
            .iter()
            .map(|(at, row)| waiting[*at].batch.kinds[*row])
            .collect(),
    })
}

/// The keys of all rows that wait.
struct Keys(Vec<Rows>);

impl Keys {
    fn of(waiting: &[Waiting], key: &[String]) -> Result<Self> {
        let Some(first) = waiting.first() else {
            return Ok(Self(Vec::new()));
        };
        let schema = first.batch.records.schema();
        let positions = key.iter().map(|name| schema.index_of(name));
        let positions = positions.collect::<Result<Vec<_>, _>>()?;
        let fields = positions
            .iter()
            .map(|position| SortField::new(schema.field(*position).data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        let keys = waiting.iter().map(|one| {
            let columns = one.batch.records.project(&positions)?;
            converter.convert_columns(columns.columns())
        });
        Ok(Self(keys.collect::<Result<_, _>>()?))
    }

    /// The rows of a source transaction that it leaves in one table although the last it does with their keys is to delete
    /// them in another.
    fn left_elsewhere(&self, waiting: &[Waiting], places: &[Place]) -> Vec<Place> {
        let is_delete = |(at, row): &Place| waiting[*at].batch.kinds[*row] == RowKind::Delete;
        // By key, the last place in each table, the newest one last.
        let mut last: HashMap<OwnedRow, Vec<Place>> = HashMap::new();
        for place in places {
            let key = self.0[place.0].row(place.1).owned();
            let of_key = last.entry(key).or_default();
            of_key.retain(|other| other.0 != place.0);
            of_key.push(*place);
        }
        let deleted = last
            .into_values()
            .filter(|of_key| of_key.last().is_some_and(is_delete));
        let left = deleted.filter_map(|of_key| of_key.into_iter().rfind(|place| !is_delete(place)));
        let mut left: Vec<_> = left.collect();
        left.sort_unstable();
        left
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int32Array};
    use arrow::datatypes::Int32Type;
    use table_format::record::RowKind;

    use super::*;

    fn waiting(table: usize, ids: &[i32], left: Option<Vec<u32>>) -> Waiting {
        let ids: ArrayRef = Arc::new(Int32Array::from(ids.to_vec()));
        let kinds = vec![RowKind::Insert; ids.len()];
        let records = RecordBatch::try_from_iter([("id", ids)]).unwrap();
        Waiting {
            table,
            batch: WriteBatch { records, kinds },
            left,
            collected: 0,
            taken: 0,
        }
    }

    fn ordered(waiting: Vec<Waiting>, runs: &[(usize, usize)]) -> Vec<i32> {
        let mut arrivals = Arrivals::default();
        for (table, rows) in runs {
            arrivals.note(*table, 1, *rows);
        }
        let batch = in_order(waiting, &arrivals, &["id".to_owned()]).unwrap();
        assert_eq!(batch.kinds.len(), batch.records.num_rows());
        let ids = batch.records.column(0).as_primitive::<Int32Type>();
        ids.values().to_vec()
    }

    #[test]
    fn rows_of_several_tables_come_in_the_order_of_the_log() {
        let tables = vec![waiting(3, &[1, 2, 3], None), waiting(7, &[10, 20], None)];
        let runs = [(7, 1), (3, 1), (3, 1), (7, 1), (3, 1)];
        assert_eq!(ordered(tables, &runs), [10, 1, 2, 20, 3]);
    }

    #[test]
    fn rows_that_a_filter_left_out_take_no_place() {
        // Of table 3, the collected rows 1 and 4 of five are left.
        let tables = vec![
            waiting(3, &[1, 4], Some(vec![1, 4])),
            waiting(7, &[10, 20], None),
        ];
        let runs = [(3, 2), (7, 1), (3, 2), (7, 1), (3, 1)];
        assert_eq!(ordered(tables, &runs), [1, 10, 20, 4]);
        let none = vec![waiting(3, &[], Some(vec![])), waiting(7, &[10], None)];
        assert_eq!(ordered(none, &[(3, 4), (7, 1)]), [10]);
    }

    #[test]
    fn a_row_that_a_transaction_moves_stays_whichever_comes_first() {
        let rows = |deletes: [bool; 2], transactions: [u64; 2]| {
            let mut tables = vec![waiting(0, &[5], None), waiting(1, &[5], None)];
            let mut arrivals = Arrivals::default();
            for (table, is_delete) in deletes.into_iter().enumerate() {
                if is_delete {
                    tables[table].batch.kinds = vec![RowKind::Delete];
                }
                arrivals.note(table, transactions[table], 1);
            }
            in_order(tables, &arrivals, &["id".to_owned()])
                .unwrap()
                .kinds
        };
        let (insert, delete) = (RowKind::Insert, RowKind::Delete);
        assert_eq!(rows([false, true], [1, 1]), [insert, delete, insert]);
        assert_eq!(rows([true, false], [1, 1]), [delete, insert]);
        assert_eq!(rows([true, true], [1, 1]), [delete, delete]);
        // In another transaction it is what the source says last that counts.
        assert_eq!(rows([false, true], [1, 2]), [insert, delete]);
    }
}
