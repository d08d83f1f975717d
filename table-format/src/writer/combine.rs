//! One change per key: what is left of several changes of a row within one instant.
//!
//! Java: HoodieWriteHelper#deduplicateRecords. By commit time the last change counts; by event time the one with the
//! highest ordering value, and of equal ones the last.

use std::collections::HashMap;

use arrow::array::StringArray;

use crate::env::Reservation;
use crate::record::RowKind;
use crate::writer::key_table::KeyTable;
use crate::writer::ordering::BatchOrder;

/// What is to be done with the keys of one group or partition: rows of the batch.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) upserts: Vec<u32>,
    pub(super) deletes: Vec<u32>,
}

impl Rows {
    /// Upserts only.
    pub(super) fn of_upserts(upserts: Vec<u32>) -> Self {
        Self {
            upserts,
            deletes: Vec::new(),
        }
    }
}

/// The change of each key among `rows` that counts, in the order of the batch.
pub(super) fn combine(
    keys: &StringArray,
    kinds: &[RowKind],
    order: Option<&BatchOrder>,
    rows: &[u32],
) -> Rows {
    // The image before an update says nothing that the image after it does not.
    let says_something = |row: &&u32| kinds[**row as usize] != RowKind::UpdateBefore;
    let mut table = KeyTable::with_room(keys.clone(), rows.len());
    let mut combined = Rows::default();
    let mut keep = |row: u32| {
        if kinds[row as usize] == RowKind::Delete {
            combined.deletes.push(row)
        } else {
            combined.upserts.push(row)
        }
    };
    match order {
        None => {
            for &row in rows.iter().rev().filter(says_something) {
                if table.insert(row) {
                    keep(row);
                }
            }
            combined.upserts.reverse();
            combined.deletes.reverse();
        }
        Some(order) => {
            for &row in rows.iter().filter(says_something) {
                if let Some(older) = table.find(keys.value(row as usize)) {
                    if is_beaten(order, kinds, older, row) {
                        table.replace(row);
                    }
                } else {
                    table.insert(row);
                }
            }
            for &row in rows {
                if table.find(keys.value(row as usize)) == Some(row) {
                    keep(row);
                }
            }
        }
    }
    combined
}

/// Whether the row `newer` takes the place of `older`, which came before it.
fn is_beaten(order: &BatchOrder, kinds: &[RowKind], older: u32, newer: u32) -> bool {
    let is_unordered_delete =
        |row: u32| kinds[row as usize] == RowKind::Delete && order.is_unordered(row as usize);
    is_unordered_delete(newer)
        || is_unordered_delete(older)
        || order.row(newer as usize) >= order.row(older as usize)
}

/// Deletes of one instant by event time: an earlier one with a higher ordering value wins over a later row.
///
/// Within an instant changes count as if they had come in one batch. Once the instant is committed nothing tells of the
/// delete of a copy-on-write table any more, as with Hudi.
#[derive(Debug)]
pub(super) struct Tombstones {
    of_partition: HashMap<String, HashMap<String, Box<[u8]>>>,
    bytes: u64,
    memory: Reservation,
}

impl Tombstones {
    pub(super) fn new(memory: Reservation) -> Self {
        Self {
            of_partition: HashMap::new(),
            bytes: 0,
            memory,
        }
    }

    /// Takes away the upserts that an earlier delete beats, and remembers the deletes.
    pub(super) fn apply(
        &mut self,
        partition_path: &str,
        keys: &StringArray,
        order: &BatchOrder,
        rows: &mut Rows,
    ) {
        if let Some(deleted) = self.of_partition.get(partition_path) {
            rows.upserts.retain(|&row| {
                deleted
                    .get(keys.value(row as usize))
                    .is_none_or(|delete| order.row(row as usize).as_ref() >= &delete[..])
            });
        }
        if rows.deletes.is_empty() {
            return;
        }
        let deleted = self
            .of_partition
            .entry(partition_path.to_owned())
            .or_default();
        for &row in rows
            .deletes
            .iter()
            .filter(|row| !order.is_unordered(**row as usize))
        {
            let key = keys.value(row as usize);
            let value = order.row(row as usize);
            let value: &[u8] = value.as_ref();
            match deleted.get_mut(key) {
                Some(known) if known[..] >= *value => {}
                Some(known) => *known = value.into(),
                None => {
                    self.bytes += (key.len() + value.len() + 2 * size_of::<String>()) as u64;
                    deleted.insert(key.to_owned(), value.into());
                }
            }
        }
        self.memory.resize(self.bytes);
    }
}
