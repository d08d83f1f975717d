//! The key-range index: a key lives in the file group whose range of the first record-key field holds it.
//!
//! Ranges are what the groups hold, not what they promise: they come from statistics and log blocks, so they are right for
//! files of any writer. **Invariant:** a key that exists lies in the range of its group; hence a key in no range is new.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::file_group::FileSlice;
use crate::index::key_value::{KeyColumn, KeyRange, KeyValue};

/// The file groups of a table by partition and range.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyRangeIndex {
    partitions: HashMap<String, PartitionRanges>,
}

/// One file group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Its newest files.
    pub(crate) slice: FileSlice,
    /// What it holds; `None` when it has no rows.
    pub(crate) range: Option<KeyRange>,
    /// About how long its base file is, or would be after compaction.
    pub(crate) bytes: u64,
}

/// The file groups of one partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct PartitionRanges {
    /// Sorted by the lower bound; groups without rows come first.
    groups: Vec<Group>,
    /// For each group the position of the largest upper bound among it and those before it.
    reach: Vec<usize>,
}

/// Where a row goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Into an existing group, by position.
    Group(usize),
    /// Into the n-th new group.
    New(usize),
}

/// The answer for a list of rows, in its order.
#[derive(Debug, Default)]
pub(crate) struct Located {
    /// The only candidate of each row; `None` when there is none, or there are several.
    pub(crate) only: Vec<Option<usize>>,
    /// Positions in the list whose rows lie in several ranges, and these.
    pub(crate) several: Vec<(usize, Vec<usize>)>,
}

/// How much a group may grow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// A group of at least this length takes no new keys.
    pub(crate) small_group_bytes: u64,
    /// A new group is full at this length.
    pub(crate) group_bytes_max: u64,
    /// About what one row adds to a group.
    pub(crate) row_bytes: u64,
    /// New keys go to base files: a group with logs takes none.
    pub(crate) base_files_only: bool,
}

impl KeyRangeIndex {
    /// The groups of a partition; an empty set if it is new.
    pub(crate) fn partition(&self, path: &str) -> Option<&PartitionRanges> {
        self.partitions.get(path)
    }

    /// Adds a group, or replaces the one of the same file id.
    pub(crate) fn put(&mut self, group: Group) {
        self.partitions
            .entry(group.slice.partition_path.clone())
            .or_default()
            .put(group);
    }

    /// Takes a group out.
    pub(crate) fn remove(&mut self, partition_path: &str, file_id: &str) {
        if let Some(partition) = self.partitions.get_mut(partition_path) {
            partition
                .groups
                .retain(|group| group.slice.file_id != file_id);
            partition.rebuild();
        }
    }

    /// The partitions, each with its groups.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (&str, &PartitionRanges)> {
        self.partitions
            .iter()
            .map(|(path, ranges)| (path.as_str(), ranges))
    }

    /// All groups.
    #[cfg(test)]
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.partitions
            .values()
            .flat_map(|partition| &partition.groups)
    }

    /// The range of a group; nothing if the group has no rows or is not there.
    pub(crate) fn range_of(&self, partition_path: &str, file_id: &str) -> Option<&KeyRange> {
        let groups = &self.partitions.get(partition_path)?.groups;
        let group = groups.iter().find(|group| group.slice.file_id == file_id)?;
        group.range.as_ref()
    }

    /// The group of `slice`, if it consists of the very same files.
    pub(crate) fn find(&self, slice: &FileSlice) -> Option<&Group> {
        let groups = &self.partitions.get(&slice.partition_path)?.groups;
        groups.iter().find(|group| group.slice == *slice)
    }
}

impl FromIterator<Group> for KeyRangeIndex {
    fn from_iter<I: IntoIterator<Item = Group>>(groups: I) -> Self {
        let mut index = Self::default();
        for group in groups {
            let path = group.slice.partition_path.clone();
            index.partitions.entry(path).or_default().groups.push(group);
        }
        index
            .partitions
            .values_mut()
            .for_each(PartitionRanges::rebuild);
        index
    }
}

impl PartitionRanges {
    /// The groups, by position.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    fn put(&mut self, group: Group) {
        match self
            .groups
            .iter_mut()
            .find(|known| known.slice.file_id == group.slice.file_id)
        {
            Some(known) => *known = group,
            None => self.groups.push(group),
        }
        self.rebuild();
    }

    fn rebuild(&mut self) {
        self.groups
            .sort_by(|a, b| lower_bound(a).cmp(&lower_bound(b)));
        self.reach.clear();
        let mut furthest = 0;
        for position in 0..self.groups.len() {
            if upper_bound(&self.groups[position]) > upper_bound(&self.groups[furthest]) {
                furthest = position;
            }
            self.reach.push(furthest);
        }
    }

    /// Which groups may hold the keys of `rows`.
    pub(crate) fn locate(&self, keys: &KeyColumn<'_>, rows: &[u32]) -> Located {
        let mut located = Located::default();
        let mut candidates = Vec::new();
        for (position, &row) in rows.iter().enumerate() {
            self.candidates(keys, row as usize, &mut candidates);
            match candidates.as_slice() {
                [] => located.only.push(None),
                [only] => located.only.push(Some(*only)),
                several => {
                    located.only.push(None);
                    located.several.push((position, several.to_vec()));
                }
            }
        }
        located
    }

    fn candidates(&self, keys: &KeyColumn<'_>, row: usize, out: &mut Vec<usize>) {
        out.clear();
        let mut end = self.begins_at_or_before(keys, row);
        // No group before `end` reaches the key once the furthest of them does not.
        while end > 0 && is_at_or_after(&self.groups[self.reach[end - 1]], keys, row) {
            end -= 1;
            if is_at_or_after(&self.groups[end], keys, row) {
                out.push(end);
            }
        }
    }

    /// How many groups have a lower bound at or below the key.
    fn begins_at_or_before(&self, keys: &KeyColumn<'_>, row: usize) -> usize {
        self.groups.partition_point(|group| match &group.range {
            None | Some(KeyRange { min: None, .. }) => true,
            Some(KeyRange { min: Some(min), .. }) => keys.compare(row, min) != Ordering::Less,
        })
    }

    /// Spreads new keys over the neighbouring groups that have room, else over new groups. `rows` lie in no range.
    ///
    /// Keys are taken in ascending order, and a new group holds keys of one gap only, so ranges stay disjoint.
    pub(crate) fn place(
        &self,
        keys: &KeyColumn<'_>,
        rows: &[u32],
        room: Room,
    ) -> Vec<(u32, Target)> {
        let mut ascending = rows.to_vec();
        ascending.sort_by(|&a, &b| keys.compare_rows(a as usize, b as usize));
        let mut bytes: Vec<u64> = self.groups.iter().map(|group| group.bytes).collect();
        let mut new_bytes: Vec<u64> = Vec::new();
        let mut open: Option<(usize, usize)> = None;
        let mut placed = Vec::with_capacity(rows.len());
        for row in ascending {
            let gap = self.begins_at_or_before(keys, row as usize);
            let neighbour = |position: usize| {
                let group = self.groups.get(position)?;
                group.range.as_ref()?;
                if room.base_files_only
                    && (group.slice.base_file.is_none() || !group.slice.log_files.is_empty())
                {
                    return None;
                }
                (bytes[position] < room.small_group_bytes).then_some(position)
            };
            let target = match open {
                Some((of_gap, new)) if of_gap == gap && new_bytes[new] < room.group_bytes_max => {
                    Target::New(new)
                }
                _ => match gap
                    .checked_sub(1)
                    .and_then(neighbour)
                    .or_else(|| neighbour(gap))
                {
                    Some(position) => Target::Group(position),
                    None => {
                        new_bytes.push(0);
                        open = Some((gap, new_bytes.len() - 1));
                        Target::New(new_bytes.len() - 1)
                    }
                },
            };
            match target {
                Target::Group(position) => bytes[position] += room.row_bytes,
                Target::New(new) => new_bytes[new] += room.row_bytes,
            }
            placed.push((row, target));
        }
        placed
    }
}

/// Orders groups by where they begin: no rows, then no bound, then by value.
fn lower_bound(group: &Group) -> (bool, Option<&KeyValue>) {
    (
        group.range.is_some(),
        group.range.as_ref().and_then(|range| range.min.as_ref()),
    )
}

/// Orders groups by where they end: no rows, then by value, then no bound.
fn upper_bound(group: &Group) -> (bool, bool, Option<&KeyValue>) {
    match &group.range {
        None => (false, false, None),
        Some(KeyRange { max, .. }) => (true, max.is_none(), max.as_ref()),
    }
}

fn is_at_or_after(group: &Group, keys: &KeyColumn<'_>, row: usize) -> bool {
    match &group.range {
        None => false,
        Some(KeyRange { max: None, .. }) => true,
        Some(KeyRange { max: Some(max), .. }) => keys.compare(row, max) != Ordering::Greater,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use proptest::prelude::*;

    use super::*;

    fn group(file_id: usize, range: Option<(i64, i64)>, bytes: u64) -> Group {
        let instant: crate::timeline::InstantTime = "20261121093000123".parse().unwrap();
        let bound = |value: i64| Some(KeyValue::Number(i128::from(value)));
        Group {
            slice: FileSlice {
                partition_path: String::new(),
                file_id: file_id.to_string(),
                base_instant: instant,
                base_file: None,
                log_files: Vec::new(),
            },
            range: range.map(|(min, max)| KeyRange {
                min: bound(min),
                max: bound(max),
            }),
            bytes,
        }
    }

    fn partition(groups: Vec<Group>) -> PartitionRanges {
        let index: KeyRangeIndex = groups.into_iter().collect();
        index.partition("").cloned().unwrap_or_default()
    }

    const ROOM: Room = Room {
        small_group_bytes: 100,
        group_bytes_max: 100,
        row_bytes: 10,
        base_files_only: false,
    };

    proptest! {
        #[test]
        fn all_groups_that_may_hold_a_key_are_found(
            ranges in prop::collection::vec(prop::option::weighted(0.9, (0_i64..100, 0_i64..30)), 0..12),
            keys in prop::collection::vec(-5_i64..140, 1..20),
        ) {
            let ranges: Vec<_> = ranges.into_iter().map(|range| range.map(|(min, length)| (min, min + length))).collect();
            let groups = ranges.iter().enumerate().map(|(id, range)| group(id, *range, 0)).collect();
            let partition = partition(groups);
            let column: ArrayRef = Arc::new(Int64Array::from(keys.clone()));
            let rows: Vec<u32> = (0..).take(keys.len()).collect();
            let located = partition.locate(&KeyColumn::new(&column), &rows);
            for (position, key) in keys.iter().enumerate() {
                let mut found: Vec<usize> = match located.several.iter().find(|(at, _)| *at == position) {
                    Some((_, several)) => several.clone(),
                    None => located.only[position].into_iter().collect(),
                };
                found.sort_unstable();
                let holds = |group: &Group| {
                    let id: usize = group.slice.file_id.parse().unwrap();
                    ranges[id].is_some_and(|(min, max)| (min..=max).contains(key))
                };
                let expected: Vec<usize> =
                    partition.groups().iter().enumerate().filter(|(_, group)| holds(group)).map(|(at, _)| at).collect();
                prop_assert_eq!(found, expected, "key {}", key);
            }
        }
    }

    fn place(groups: Vec<Group>, keys: &[i64]) -> Vec<(i64, Target)> {
        let partition = partition(groups);
        let column: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
        let rows: Vec<u32> = (0..).take(keys.len()).collect();
        let placed = partition.place(&KeyColumn::new(&column), &rows, ROOM);
        placed
            .into_iter()
            .map(|(row, target)| (keys[row as usize], target))
            .collect()
    }

    #[test]
    fn ascending_keys_go_to_the_tail_until_it_is_full() {
        let groups = vec![group(0, Some((0, 9)), 100), group(1, Some((10, 19)), 80)];
        let placed = place(groups, &[25, 21, 22, 23]);
        let tail = Target::Group(1);
        let expected = [
            (21, tail),
            (22, tail),
            (23, Target::New(0)),
            (25, Target::New(0)),
        ];
        assert_eq!(placed, expected);
    }

    #[test]
    fn new_groups_stay_within_one_gap() {
        let groups = vec![group(0, Some((10, 19)), 100), group(1, Some((30, 39)), 100)];
        let placed = place(groups, &[50, 5, 25, 6]);
        let expected = [
            (5, Target::New(0)),
            (6, Target::New(0)),
            (25, Target::New(1)),
            (50, Target::New(2)),
        ];
        assert_eq!(placed, expected);
    }

    #[test]
    fn a_key_before_all_others_goes_to_the_first_group_with_room() {
        let placed = place(vec![group(0, Some((10, 19)), 0)], &[3]);
        assert_eq!(placed, [(3, Target::Group(0))]);
        let placed = place(Vec::new(), &(0..25).collect::<Vec<i64>>());
        assert_eq!(placed[9].1, Target::New(0));
        assert_eq!(
            placed[24].1,
            Target::New(2),
            "a full group is followed by another"
        );
    }
}
