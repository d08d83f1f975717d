//! The file groups of a table as a writer knows them: their newest files, and what is known of their keys.
//!
//! Every instant works on a copy, and changes few groups of it: copies share what has not changed.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::file_group::FileSlice;
use crate::index::key_value::{KeyRange, KeyValue};

/// The file groups of a table by partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileGroups {
    partitions: HashMap<Arc<str>, Arc<PartitionGroups>>,
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
    groups: Vec<Arc<Group>>,
    /// For each group the position of the largest upper bound among it and those before it.
    reach: Vec<usize>,
    /// The same groups, to be found by their ids.
    by_id: HashSet<ByFileId>,
}

/// A group that is told from others by its file id alone.
#[derive(Debug, Clone)]
struct ByFileId(Arc<Group>);

impl Borrow<str> for ByFileId {
    fn borrow(&self) -> &str {
        &self.0.slice.file_id
    }
}

impl Hash for ByFileId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.slice.file_id.hash(state);
    }
}

impl PartialEq for ByFileId {
    fn eq(&self, other: &Self) -> bool {
        self.0.slice.file_id == other.0.slice.file_id
    }
}

impl Eq for ByFileId {}

impl FileGroups {
    /// The groups of a partition; `None` if it is new.
    pub(crate) fn partition(&self, path: &str) -> Option<&PartitionGroups> {
        self.partitions.get(path).map(AsRef::as_ref)
    }

    /// Adds a group, or replaces the one of the same file id.
    pub(crate) fn put(&mut self, group: Group) {
        let path: &str = &group.slice.partition_path;
        match self.partitions.get_mut(path) {
            Some(known) => Arc::make_mut(known).put(group),
            None => {
                let mut new = PartitionGroups::default();
                let path: Arc<str> = path.into();
                new.put(group);
                self.partitions.insert(path, Arc::new(new));
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
            .map(|(path, groups)| (path.as_ref(), groups.as_ref()))
    }

    /// All groups.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        let partitions = self.partitions.values();
        partitions.flat_map(|partition| partition.groups.iter().map(AsRef::as_ref))
    }

    /// The range of a group; nothing if the group has no rows or is not there.
    pub(crate) fn range_of(&self, partition_path: &str, file_id: &str) -> Option<&KeyRange> {
        let group = self.partitions.get(partition_path)?.by_id.get(file_id)?;
        group.0.range.as_ref()
    }

    /// The group of `slice`, if it consists of the very same files.
    pub(crate) fn find(&self, slice: &FileSlice) -> Option<&Group> {
        let partition = self.partitions.get(slice.partition_path.as_str())?;
        let group = partition.by_id.get(slice.file_id.as_str())?;
        (group.0.slice == *slice).then_some(&*group.0)
    }
}

impl FromIterator<Group> for FileGroups {
    fn from_iter<I: IntoIterator<Item = Group>>(groups: I) -> Self {
        let mut partitions: HashMap<Arc<str>, PartitionGroups> = HashMap::new();
        for group in groups {
            let path: &str = &group.slice.partition_path;
            if !partitions.contains_key(path) {
                partitions.insert(path.into(), PartitionGroups::default());
            }
            if let Some(partition) = partitions.get_mut(path) {
                let group = Arc::new(group);
                partition.by_id.replace(ByFileId(Arc::clone(&group)));
                partition.groups.push(group);
            }
        }
        let partitions = partitions.into_iter().map(|(path, mut partition)| {
            partition.sort();
            (path, Arc::new(partition))
        });
        Self {
            partitions: partitions.collect(),
        }
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
    /// The groups, by position.
    pub(crate) fn groups(&self) -> &[Arc<Group>] {
        &self.groups
    }

    /// For each group the position of the largest upper bound among it and those before it.
    pub(super) fn reach(&self) -> &[usize] {
        &self.reach
    }

    fn put(&mut self, group: Group) {
        let group = Arc::new(group);
        let known = self.by_id.replace(ByFileId(Arc::clone(&group)));
        let place = known.and_then(|known| self.position_of(&known.0));
        let known = place.and_then(|place| self.groups.get_mut(place));
        if let Some(known) = known
            && lower_bound(known) == lower_bound(&group)
            && upper_bound(known) == upper_bound(&group)
        {
            *known = group;
            return;
        }
        if let Some(place) = place {
            self.groups.remove(place);
        }
        let new_place = self
            .groups
            .partition_point(|other| lower_bound(other) <= lower_bound(&group));
        self.groups.insert(new_place, group);
        self.reach_again_from(place.map_or(new_place, |place| place.min(new_place)));
    }

    fn remove(&mut self, file_id: &str) {
        let known = self.by_id.take(file_id);
        if let Some(place) = known.and_then(|known| self.position_of(&known.0)) {
            self.groups.remove(place);
            self.reach_again_from(place);
        }
    }

    /// Where a group stands, among those that begin where it does.
    fn position_of(&self, group: &Arc<Group>) -> Option<usize> {
        let first = self
            .groups
            .partition_point(|other| lower_bound(other) < lower_bound(group));
        let mut from_there = self.groups.iter().enumerate().skip(first);
        let found = from_there.find(|(_, other)| Arc::ptr_eq(other, group));
        found.map(|(position, _)| position)
    }

    fn sort(&mut self) {
        self.groups
            .sort_by(|a, b| lower_bound(a).cmp(&lower_bound(b)));
        self.reach_again_from(0);
    }

    fn reach_again_from(&mut self, first: usize) {
        self.reach.truncate(first);
        let mut furthest = self.reach.last().copied().unwrap_or(0);
        for position in first..self.groups.len() {
            if upper_bound(&self.groups[position]) > upper_bound(&self.groups[furthest]) {
                furthest = position;
            }
            self.reach.push(furthest);
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
