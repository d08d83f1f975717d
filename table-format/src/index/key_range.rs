//! The key-range index: a key lives in the file group whose range of the first record-key field holds it.
//!
//! Ranges are what the groups hold, not what they promise: they come from statistics and log blocks, so they are right for
//! files of any writer. **Invariant:** a key that exists lies in the range of its group; hence a key in no range is new.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Result;
use crate::index::groups::{Group, PartitionGroups};
use crate::index::key_value::{KeyColumn, KeyRange};
use crate::index::resolve::{Undecided, decide};
use crate::index::shared::SharedList;
use crate::index::{Asked, Homes, Index, Room, Target, range_column};

/// See the module.
#[derive(Debug)]
pub(super) struct KeyRangeIndex;

/// The answer for a list of rows, in its order.
#[derive(Debug, Default)]
struct Located {
    /// The only candidate of each row; `None` when there is none, or there are several.
    only: Vec<Option<usize>>,
    /// Positions in the list whose rows lie in several ranges, and these.
    several: Vec<(usize, Vec<usize>)>,
}

#[async_trait]
impl Index for KeyRangeIndex {
    async fn locate(&self, asked: Asked<'_>, rows: &[u32]) -> Result<Homes> {
        if rows.is_empty() || asked.partition.groups().is_empty() {
            return Ok(Homes::all_new(rows));
        }
        let located = candidates_of(asked.partition, &range_column(&asked)?, rows);
        let mut homes = Homes::default();
        let mut is_several = vec![false; rows.len()];
        let undecided: Vec<Undecided<'_>> = located
            .several
            .iter()
            .map(|(position, groups)| {
                is_several[*position] = true;
                Undecided {
                    position: *position,
                    key: asked.key(rows[*position]),
                    groups,
                }
            })
            .collect();
        for (position, (&row, only)) in rows.iter().zip(&located.only).enumerate() {
            match only {
                Some(group) => homes.found.push((row, *group)),
                None if is_several[position] => {}
                None => homes.nowhere.push(row),
            }
        }
        if !undecided.is_empty() {
            for (position, group) in decide(asked.context, asked.partition, &undecided).await? {
                homes.found.push((rows[position], group));
            }
            homes.found.sort_unstable();
        }
        Ok(homes)
    }

    fn place(&self, asked: Asked<'_>, rows: &[u32], room: &Room) -> Result<Vec<(u32, Target)>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        Ok(place_by_range(
            asked.partition,
            &range_column(&asked)?,
            rows,
            room,
        ))
    }

    fn reads_ranges(&self) -> bool {
        true
    }

    fn finds_logged_keys(&self) -> bool {
        true
    }
}

/// Which groups may hold the keys of `rows`.
fn candidates_of(partition: &PartitionGroups, keys: &KeyColumn<'_>, rows: &[u32]) -> Located {
    let mut located = Located::default();
    let mut candidates = Vec::new();
    for (position, &row) in rows.iter().enumerate() {
        find_candidates(partition, keys, row as usize, &mut candidates);
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

fn find_candidates(
    partition: &PartitionGroups,
    keys: &KeyColumn<'_>,
    row: usize,
    out: &mut Vec<usize>,
) {
    out.clear();
    let (groups, reach) = (partition.groups(), partition.reach());
    let mut end = begins_at_or_before(groups, keys, row);
    // No group before `end` reaches the key once the furthest of them does not.
    while let Some(last) = end.checked_sub(1)
        && reach
            .get(last)
            .is_some_and(|furthest| is_at_or_after(furthest, keys, row))
    {
        end = last;
        if groups
            .get(last)
            .is_some_and(|group| is_at_or_after(group, keys, row))
        {
            out.push(last);
        }
    }
}

/// How many groups have a lower bound at or below the key.
fn begins_at_or_before(groups: &SharedList<Arc<Group>>, keys: &KeyColumn<'_>, row: usize) -> usize {
    groups.partition_point(|group| match &group.range {
        None | Some(KeyRange { min: None, .. }) => true,
        Some(KeyRange { min: Some(min), .. }) => keys.compare(row, min) != Ordering::Less,
    })
}

fn is_at_or_after(group: &Group, keys: &KeyColumn<'_>, row: usize) -> bool {
    match &group.range {
        None => false,
        Some(KeyRange { max: None, .. }) => true,
        Some(KeyRange { max: Some(max), .. }) => keys.compare(row, max) != Ordering::Greater,
    }
}

/// Spreads new keys over the neighbouring groups that have room, else over new groups. `rows` lie in no range.
///
/// Keys are taken in ascending order, and a new group holds keys of one gap only, so ranges stay disjoint.
fn place_by_range(
    partition: &PartitionGroups,
    keys: &KeyColumn<'_>,
    rows: &[u32],
    room: &Room,
) -> Vec<(u32, Target)> {
    let groups = partition.groups();
    let mut ascending = rows.to_vec();
    ascending.sort_by(|&a, &b| keys.compare_rows(a as usize, b as usize));
    let mut added: HashMap<usize, u64> = HashMap::new();
    let mut new_bytes: Vec<u64> = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    let mut placed = Vec::with_capacity(rows.len());
    for row in ascending {
        let gap = begins_at_or_before(groups, keys, row as usize);
        let neighbour = |position: usize| {
            let group = groups.get(position)?;
            group.range.as_ref()?;
            let bytes = group.bytes + added.get(&position).copied().unwrap_or(0);
            room.is_open(partition, position, bytes).then_some(position)
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
            Target::Group(position) => *added.entry(position).or_default() += room.row_bytes,
            Target::New(new) => new_bytes[new] += room.row_bytes,
        }
        placed.push((row, target));
    }
    placed
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use proptest::prelude::*;

    use super::*;
    use crate::file_group::FileSlice;
    use crate::index::groups::FileGroups;
    use crate::index::key_value::KeyValue;

    fn group(file_id: usize, range: Option<(i64, i64)>, bytes: u64) -> Group {
        let instant: crate::timeline::InstantTime = "20261121093000123".parse().unwrap();
        let bound = |value: i64| Some(KeyValue::Number(i128::from(value)));
        let slice = FileSlice {
            partition_path: String::new(),
            file_id: file_id.to_string(),
            base_instant: instant,
            base_file: None,
            log_files: Vec::new(),
        };
        let range = range.map(|(min, max)| KeyRange {
            min: bound(min),
            max: bound(max),
        });
        Group::new(slice, range, bytes)
    }

    fn partition(groups: Vec<Group>) -> PartitionGroups {
        let all: FileGroups = groups.into_iter().collect();
        all.partition("").cloned().unwrap_or_default()
    }

    const ROOM: Room = Room {
        small_group_bytes: 100,
        group_bytes_max: 100,
        row_bytes: 10,
        base_files_only: false,
        closed: std::collections::BTreeSet::new(),
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
            let located = candidates_of(&partition, &KeyColumn::new(&column), &rows);
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
        let placed = place_by_range(&partition, &KeyColumn::new(&column), &rows, &ROOM);
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
