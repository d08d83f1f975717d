//! A growing hash map from record keys to numbers that holds no keys: the caller says which key a number stands for.

use std::hash::{BuildHasher, RandomState};

const EMPTY: u32 = u32::MAX;

/// Open addressing over numbers; at most half of the slots are taken.
#[derive(Debug, Default)]
pub(super) struct KeyMap {
    slots: Vec<u32>,
    /// The hash of each number's key, so that growing reads no keys.
    hashes: Vec<u64>,
    hasher: RandomState,
}

impl KeyMap {
    /// The number of `key`, or `None`.
    pub(super) fn find<'a>(&self, key: &str, key_of: impl Fn(u32) -> &'a str) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let slot = self.slot_of(self.hasher.hash_one(key.as_bytes()), key, key_of);
        self.slots
            .get(slot)
            .copied()
            .filter(|number| *number != EMPTY)
    }

    /// The number of `key`; when it is new it gets the next number, and the flag is true.
    pub(super) fn find_or_insert<'a>(
        &mut self,
        key: &str,
        key_of: impl Fn(u32) -> &'a str,
    ) -> (u32, bool) {
        if self.hashes.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let hash = self.hasher.hash_one(key.as_bytes());
        let slot = self.slot_of(hash, key, key_of);
        let next = self.hashes.len() as u32;
        match self.slots.get_mut(slot) {
            Some(taken) if *taken != EMPTY => (*taken, false),
            Some(free) => {
                *free = next;
                self.hashes.push(hash);
                (next, true)
            }
            None => (next, true),
        }
    }

    /// Bytes that the map takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u32>() + self.hashes.capacity() * size_of::<u64>()
    }

    fn slot_of<'a>(&self, hash: u64, key: &str, key_of: impl Fn(u32) -> &'a str) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while let Some(&number) = self.slots.get(slot) {
            let is_other = number != EMPTY
                && (self.hashes.get(number as usize) != Some(&hash) || key_of(number) != key);
            if !is_other {
                break;
            }
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(64);
        let mask = size - 1;
        let mut slots = vec![EMPTY; size];
        for (number, hash) in self.hashes.iter().enumerate() {
            let mut slot = *hash as usize & mask;
            while slots.get(slot).is_some_and(|taken| *taken != EMPTY) {
                slot = (slot + 1) & mask;
            }
            if let Some(free) = slots.get_mut(slot) {
                *free = number as u32;
            }
        }
        self.slots = slots;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::{prop, proptest};

    use super::*;

    proptest! {
        #[test]
        fn numbers_keys_like_a_plain_map(keys in prop::collection::vec("[a-c]{0,3}", 0..300)) {
            let mut map = KeyMap::default();
            let mut numbered: Vec<String> = Vec::new();
            let mut model: HashMap<&str, u32> = HashMap::new();
            for key in &keys {
                let known = numbered.clone();
                let (number, is_new) = map.find_or_insert(key, |number| &known[number as usize]);
                assert_eq!(is_new, !model.contains_key(key.as_str()));
                let next = model.len() as u32;
                assert_eq!(number, *model.entry(key).or_insert(next));
                if is_new {
                    numbered.push(key.clone());
                }
            }
            for (key, number) in &model {
                assert_eq!(map.find(key, |number| &numbered[number as usize]), Some(*number));
            }
            assert_eq!(map.find("absent", |number| &numbered[number as usize]), None);
        }
    }
}
