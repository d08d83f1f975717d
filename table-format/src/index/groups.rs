//! The file groups of a table as a writer knows them: their newest files, and what is known of their keys.
//!
//! Every instant works on a copy, and changes few groups of it: copies share what has not changed.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::file_group::FileSlice;
use crate::index::key_value::{KeyRange, KeyValue};
use crate::index::shared::{SharedList, SharedMap};

/// The file groups of a table by partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileGroups {
    partitions: SharedMap<Arc<PartitionGroups>>,
}

/// One file group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Its newest files.
    pub(crate) slice: FileSlice,
    /// What it holds; `None` when it has no rows, or when the index does not ask.
    pub(crate) range: Option<KeyRange>,
    /// About how long its base file is, or would be after compaction.
    pub(crate) bytes: u64,
    /// Whether its logs hold keys that its base file lacks, once that has been asked.
    pub(crate) logs_add_keys: Arc<OnceCell<bool>>,
}

/// The file groups of one partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct PartitionGroups {
    /// Sorted by the lower bound; groups without a range come first.
    groups: SharedList<Arc<Group>>,
    /// For each group one with the largest upper bound among it and those before it; only its range counts.
    reach: SharedList<Arc<Group>>,
    /// The same groups by their ids.
    by_id: SharedMap<Arc<Group>>,
}

impl FileGroups {
    /// The groups of a partition; `None` if it is new.
    pub(crate) fn partition(&self, path: &str) -> Option<&PartitionGroups> {
        self.partitions.get(path).map(AsRef::as_ref)
    }

    /// Adds a group, or replaces the one of the same file id.
    pub(crate) fn put(&mut self, group: Group) {
        let path = group.slice.partition_path.clone();
        match self.partitions.get_mut(&path) {
            Some(known) => Arc::make_mut(known).put(group),
            None => {
                let mut new = PartitionGroups::default();
                new.put(group);
                self.partitions.insert(&path, Arc::new(new));
            }
        }
    }

    /// Takes a group out.
    pub(crate) fn remove(&mut self, partition_path: &str, file_id: &str) {
        if let Some(partition) = self.partitions.get_mut(partition_path) {
            Arc::make_mut(partition).remove(file_id);
        }
    }

    /// The partitions, each with its groups.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (&str, &PartitionGroups)> {
        self.partitions
            .iter()
            .map(|(path, groups)| (path, groups.as_ref()))
    }

    /// All groups.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        let partitions = self.partitions.iter();
        partitions.flat_map(|(_, partition)| partition.groups.iter().map(AsRef::as_ref))
    }

    /// The range of a group; nothing if the group has no rows or is not there.
    pub(crate) fn range_of(&self, partition_path: &str, file_id: &str) -> Option<&KeyRange> {
        let group = self.partitions.get(partition_path)?.by_id.get(file_id)?;
        group.range.as_ref()
    }

    /// The group of `slice`, if it consists of the very same files.
    pub(crate) fn find(&self, slice: &FileSlice) -> Option<&Group> {
        let partition = self.partitions.get(slice.partition_path.as_str())?;
        let group = partition.by_id.get(slice.file_id.as_str())?;
        (group.slice == *slice).then_some(group)
    }
}

impl FromIterator<Group> for FileGroups {
    fn from_iter<I: IntoIterator<Item = Group>>(groups: I) -> Self {
        let mut partitions: HashMap<String, Vec<Arc<Group>>> = HashMap::new();
        for group in groups {
            let path = group.slice.partition_path.clone();
            partitions.entry(path).or_default().push(Arc::new(group));
        }
        let mut all = Self::default();
        for (path, groups) in partitions {
            all.partitions
                .insert(&path, Arc::new(PartitionGroups::of(groups)));
        }
        all
    }
}

impl Group {
    /// A group of which nothing is known yet but its files.
    pub(crate) fn new(slice: FileSlice, range: Option<KeyRange>, bytes: u64) -> Self {
        Self {
            slice,
            range,
            bytes,
            logs_add_keys: Arc::default(),
        }
    }
}

impl PartitionGroups {
    fn of(mut groups: Vec<Arc<Group>>) -> Self {
        groups.sort_by(|a, b| lower_bound(a).cmp(&lower_bound(b)));
        let mut by_id = SharedMap::default();
        for group in &groups {
            by_id.insert(&group.slice.file_id, Arc::clone(group));
        }
        let mut all = Self {
            reach: groups.iter().cloned().collect(),
            groups: groups.into_iter().collect(),
            by_id,
        };
        all.reach_again(0, usize::MAX);
        all
    }

    /// The groups, by position.
    pub(crate) fn groups(&self) -> &SharedList<Arc<Group>> {
        &self.groups
    }

    /// For each group one with the largest upper bound among it and those before it; only its range counts.
    pub(super) fn reach(&self) -> &SharedList<Arc<Group>> {
        &self.reach
    }

    fn put(&mut self, group: Group) {
        let group = Arc::new(group);
        let known = self.by_id.insert(&group.slice.file_id, Arc::clone(&group));
        let place = known.as_ref().and_then(|known| self.position_of(known));
        if let (Some(place), Some(known)) = (place, &known)
            && lower_bound(known) == lower_bound(&group)
            && upper_bound(known) == upper_bound(&group)
        {
            self.groups.set(place, group);
            return;
        }
        if let Some(place) = place {
            self.groups.remove(place);
            self.reach.remove(place);
        }
        let bound = lower_bound(&group);
        let new_place = self
            .groups
            .partition_point(|other| lower_bound(other) <= bound);
        self.groups.insert(new_place, Arc::clone(&group));
        self.reach.insert(new_place, Arc::clone(&group));
        let place = place.unwrap_or(new_place);
        self.reach_again(place.min(new_place), place.max(new_place));
    }

    fn remove(&mut self, file_id: &str) {
        let known = self.by_id.remove(file_id);
        if let Some(place) = known.and_then(|known| self.position_of(&known)) {
            self.groups.remove(place);
            self.reach.remove(place);
            self.reach_again(place, place);
        }
    }

    /// Where a group stands, among those that begin where it does.
    fn position_of(&self, group: &Arc<Group>) -> Option<usize> {
        let bound = lower_bound(group);
        let first = self
            .groups
            .partition_point(|other| lower_bound(other) < bound);
        let mut from_there = self.groups.iter_from(first);
        let found = from_there.find(|(_, other)| Arc::ptr_eq(other, group));
        found.map(|(position, _)| position)
    }

    /// Looks again how far the groups from `first` on reach; behind `last` nothing has changed but what came before.
    fn reach_again(&mut self, first: usize, last: usize) {
        let before = first
            .checked_sub(1)
            .and_then(|before| self.reach.get(before));
        let mut furthest = before.cloned();
        let mut changed = Vec::new();
        for (position, group) in self.groups.iter_from(first) {
            let reaching = match furthest {
                Some(furthest) if upper_bound(&furthest) >= upper_bound(group) => furthest,
                _ => Arc::clone(group),
            };
            let known = self.reach.get(position);
            if position > last
                && known.is_some_and(|known| upper_bound(known) == upper_bound(&reaching))
            {
                break;
            }
            changed.push((position, Arc::clone(&reaching)));
            furthest = Some(reaching);
        }
        for (position, group) in changed {
            self.reach.set(position, group);
        }
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
