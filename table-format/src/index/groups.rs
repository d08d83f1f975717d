//! The file groups of a table as a writer knows them: their newest files, and what is known of their keys.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::file_group::FileSlice;
use crate::index::key_value::{KeyRange, KeyValue};

/// The file groups of a table by partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileGroups {
    partitions: HashMap<String, PartitionGroups>,
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
    groups: Vec<Group>,
    /// For each group the position of the largest upper bound among it and those before it.
    reach: Vec<usize>,
}

impl FileGroups {
    /// The groups of a partition; `None` if it is new.
    pub(crate) fn partition(&self, path: &str) -> Option<&PartitionGroups> {
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
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (&str, &PartitionGroups)> {
        self.partitions
            .iter()
            .map(|(path, groups)| (path.as_str(), groups))
    }

    /// All groups.
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

impl FromIterator<Group> for FileGroups {
    fn from_iter<I: IntoIterator<Item = Group>>(groups: I) -> Self {
        let mut all = Self::default();
        for group in groups {
            let path = group.slice.partition_path.clone();
            all.partitions.entry(path).or_default().groups.push(group);
        }
        all.partitions
            .values_mut()
            .for_each(PartitionGroups::rebuild);
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
    /// The groups, by position.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// For each group the position of the largest upper bound among it and those before it.
    pub(super) fn reach(&self) -> &[usize] {
        &self.reach
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
