//! A list and a map whose copies share what has not changed: a change copies one part of them, however many parts there are.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Entries of a part, at most (twice as many for a moment).
const PART_MAX: usize = 256;

/// A list in parts.
#[derive(Debug, Clone)]
pub(crate) struct SharedList<T> {
    parts: Vec<Arc<Vec<T>>>,
}

impl<T> Default for SharedList<T> {
    fn default() -> Self {
        Self { parts: Vec::new() }
    }
}

impl<T: Clone> SharedList<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    /// Those from a position on, with their positions.
    pub(crate) fn iter_from(&self, first: usize) -> impl Iterator<Item = (usize, &T)> {
        let (part, at) = self.place(first).unwrap_or((self.parts.len(), 0));
        let parts = self.parts.get(part..).unwrap_or_default();
        let items = parts.iter().flat_map(|part| part.iter());
        (first..).zip(items.skip(at))
    }

    pub(crate) fn get(&self, position: usize) -> Option<&T> {
        let (part, at) = self.place(position)?;
        self.parts.get(part)?.get(at)
    }

    /// How many items, which come first, meet a condition.
    pub(crate) fn partition_point(&self, meets: impl Fn(&T) -> bool) -> usize {
        let whole = self
            .parts
            .partition_point(|part| part.last().is_none_or(&meets));
        let before: usize = self.parts.iter().take(whole).map(|part| part.len()).sum();
        let within = self.parts.get(whole);
        before + within.map_or(0, |part| part.partition_point(&meets))
    }

    /// Replaces an item; nothing happens behind the end.
    pub(crate) fn set(&mut self, position: usize, item: T) {
        if let Some((part, at)) = self.place(position)
            && let Some(place) = self
                .parts
                .get_mut(part)
                .and_then(|part| Arc::make_mut(part).get_mut(at))
        {
            *place = item;
        }
    }

    /// Puts an item before the one at `position`, or at the end.
    pub(crate) fn insert(&mut self, position: usize, item: T) {
        let last = self.parts.len().checked_sub(1);
        let place = self
            .place(position)
            .or_else(|| last.and_then(|last| Some((last, self.parts.get(last)?.len()))));
        let Some((part, at)) = place else {
            self.parts.push(Arc::new(vec![item]));
            return;
        };
        if let Some(items) = self.parts.get_mut(part).map(Arc::make_mut) {
            items.insert(at, item);
            if items.len() > 2 * PART_MAX {
                let behind = items.split_off(PART_MAX);
                self.parts.insert(part + 1, Arc::new(behind));
            }
        }
    }

    pub(crate) fn remove(&mut self, position: usize) {
        if let Some((part, at)) = self.place(position)
            && let Some(items) = self.parts.get_mut(part).map(Arc::make_mut)
        {
            items.remove(at);
            if items.is_empty() {
                self.parts.remove(part);
            }
        }
    }

    /// The part of a position, and the place in it; `None` behind the end.
    fn place(&self, position: usize) -> Option<(usize, usize)> {
        let mut at = position;
        for (number, part) in self.parts.iter().enumerate() {
            if at < part.len() {
                return Some((number, at));
            }
            at -= part.len();
        }
        None
    }
}

impl<T> FromIterator<T> for SharedList<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut items = items.into_iter();
        let next = || {
            let part: Vec<T> = items.by_ref().take(PART_MAX).collect();
            (!part.is_empty()).then(|| Arc::new(part))
        };
        Self {
            parts: std::iter::from_fn(next).collect(),
        }
    }
}

/// A map from text in parts.
#[derive(Debug, Clone)]
pub(crate) struct SharedMap<V> {
    parts: Vec<Arc<HashMap<Arc<str>, V>>>,
    len: usize,
}

impl<V> Default for SharedMap<V> {
    fn default() -> Self {
        Self {
            parts: vec![Arc::default()],
            len: 0,
        }
    }
}

impl<V: Clone> SharedMap<V> {
    pub(crate) fn get(&self, key: &str) -> Option<&V> {
        self.parts.get(self.part_of(key))?.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        let part = self.part_of(key);
        let part = self
            .parts
            .get_mut(part)
            .filter(|part| part.contains_key(key))?;
        Arc::make_mut(part).get_mut(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        let entries = self.parts.iter().flat_map(|part| part.iter());
        entries.map(|(key, value)| (key.as_ref(), value))
    }

    /// Sets a value; returns the one before.
    pub(crate) fn insert(&mut self, key: &str, value: V) -> Option<V> {
        if let Some(known) = self.get_mut(key) {
            return Some(std::mem::replace(known, value));
        }
        if self.len >= PART_MAX * self.parts.len() {
            self.spread();
        }
        let part = self.part_of(key);
        if let Some(part) = self.parts.get_mut(part) {
            Arc::make_mut(part).insert(key.into(), value);
            self.len += 1;
        }
        None
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<V> {
        let part = self.part_of(key);
        let part = self
            .parts
            .get_mut(part)
            .filter(|part| part.contains_key(key))?;
        self.len -= 1;
        Arc::make_mut(part).remove(key)
    }

    fn part_of(&self, key: &str) -> usize {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        usize::try_from(hasher.finish() % self.parts.len().max(1) as u64).unwrap_or(0)
    }

    /// Deals the entries out to four times as many parts.
    fn spread(&mut self) {
        let mut wider = Self {
            parts: vec![Arc::default(); 4 * self.parts.len()],
            len: self.len,
        };
        for (key, value) in self.parts.iter().flat_map(|part| part.iter()) {
            let part = wider.part_of(key);
            if let Some(part) = wider.parts.get_mut(part) {
                Arc::make_mut(part).insert(Arc::clone(key), value.clone());
            }
        }
        *self = wider;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_list_is_like_a_vector(steps in prop::collection::vec((0_u8..4, 0_usize..2_000, 0_u32..100), 1..60), length in 0_usize..2_000) {
            let mut model: Vec<u32> = (0..length as u32).collect();
            let mut list: SharedList<u32> = model.iter().copied().collect();
            let before = list.clone();
            let first = model.clone();
            for (step, position, item) in steps {
                match step {
                    0 | 1 => {
                        let position = position.min(model.len());
                        model.insert(position, item);
                        list.insert(position, item);
                    }
                    2 if position < model.len() => {
                        model.remove(position);
                        list.remove(position);
                    }
                    _ if position < model.len() => {
                        model[position] = item;
                        list.set(position, item);
                    }
                    _ => {}
                }
                prop_assert_eq!(list.get(position), model.get(position));
                let found: Vec<u32> = list.iter_from(position).map(|(_, item)| *item).collect();
                prop_assert_eq!(&found[..], model.get(position..).unwrap_or_default());
            }
            prop_assert_eq!(list.is_empty(), model.is_empty());
            prop_assert_eq!(list.iter().copied().collect::<Vec<_>>(), model.clone());
            prop_assert_eq!(before.iter().copied().collect::<Vec<_>>(), first);
            model.sort_unstable();
            let list: SharedList<u32> = model.iter().copied().collect();
            for limit in [0, 7, 50, 1_000] {
                prop_assert_eq!(list.partition_point(|item| *item < limit), model.partition_point(|item| *item < limit));
            }
        }
    }

    #[test]
    fn a_map_is_like_a_hash_map_and_its_copies_stay_what_they_were() {
        let mut map = SharedMap::default();
        for key in 0..5_000 {
            assert_eq!(map.insert(&key.to_string(), key), None);
        }
        let before = map.clone();
        assert_eq!(map.insert("77", 1), Some(77));
        assert_eq!(map.remove("78"), Some(78));
        assert_eq!(map.remove("gone"), None);
        *map.get_mut("79").unwrap() = 2;
        assert!(map.get_mut("78").is_none());
        let found: HashMap<&str, i32> = map.iter().map(|(key, value)| (key, *value)).collect();
        assert_eq!((found.len(), found["77"], found["79"]), (4_999, 1, 2));
        assert_eq!(before.iter().count(), 5_000);
        assert_eq!(
            (before.get("77"), before.get("78"), before.get("79")),
            (Some(&77), Some(&78), Some(&79))
        );
    }
}
