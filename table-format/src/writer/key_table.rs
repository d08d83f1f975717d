//! A hash table over a column of record keys: from key text to row, without a copy of any key.

use std::hash::{BuildHasher, RandomState};

use arrow::array::{Array, StringArray};

const EMPTY: u32 = u32::MAX;

/// Finds the row of a key.
#[derive(Debug)]
pub(crate) struct KeyTable {
    keys: StringArray,
    slots: Vec<u32>,
    hasher: RandomState,
}

impl KeyTable {
    /// An empty table with room for `rows` rows of `keys`.
    pub(crate) fn with_room(keys: StringArray, rows: usize) -> Self {
        let slots = vec![EMPTY; (rows * 2).next_power_of_two().max(2)];
        Self {
            keys,
            slots,
            hasher: RandomState::new(),
        }
    }

    /// A table that holds all `keys`; of equal keys the first row counts.
    pub(crate) fn of_all(keys: StringArray) -> Self {
        let rows = keys.len();
        let mut table = Self::with_room(keys, rows);
        for row in (0..rows).filter_map(|row| u32::try_from(row).ok()) {
            table.insert(row);
        }
        table
    }

    /// Adds `row`; `false` if its key is there already.
    pub(crate) fn insert(&mut self, row: u32) -> bool {
        let slot = self.slot_of(self.keys.value(row as usize));
        if self.slots[slot] != EMPTY {
            return false;
        }
        self.slots[slot] = row;
        true
    }

    /// Puts `row` in the place of the row of the same key.
    pub(crate) fn replace(&mut self, row: u32) {
        let slot = self.slot_of(self.keys.value(row as usize));
        self.slots[slot] = row;
    }

    /// The row of `key`.
    pub(crate) fn find(&self, key: &str) -> Option<u32> {
        let row = self.slots[self.slot_of(key)];
        (row != EMPTY).then_some(row)
    }

    /// The slot that holds `key`, or the empty one where it belongs. At most half of the slots are taken, so one exists.
    fn slot_of(&self, key: &str) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(key.as_bytes()) as usize & mask;
        while self.slots[slot] != EMPTY && self.keys.value(self.slots[slot] as usize) != key {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_key_once() {
        let keys: Vec<String> = (0..1_000).map(|n| format!("k{}", n % 700)).collect();
        let mut table = KeyTable::with_room(StringArray::from(keys.clone()), keys.len());
        let inserted = (0..1_000).filter(|&row| table.insert(row)).count();
        assert_eq!(inserted, 700);
        for (row, key) in keys.iter().enumerate().take(700) {
            assert_eq!(table.find(key), Some(row as u32));
        }
        assert_eq!(table.find("absent"), None);
    }
}
