//! Which file group takes which rows of a batch.
//!
//! Changes go where their keys live, new keys where the index puts them: into groups that have room, or new ones.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;

use crate::error::Result;
use crate::index::groups::{Group, PartitionGroups};
use crate::index::{Asked, Room, Target};
use crate::writer::combine::Rows;
use crate::writer::prepare::PartitionRows;
use crate::writer::upsert::Upserter;

/// A group to be written.
#[derive(Debug)]
pub(super) enum Job {
    /// Changes of an existing group.
    Change {
        group: Box<Group>,
        rows: Rows,
        /// How many of the rows are known to be new.
        new_rows: u64,
        /// They go into its base file, on merge-on-read too.
        into_base: bool,
    },
    /// New rows into the base file of an existing group, beside those of the same keys.
    Grow(Box<Group>, Vec<u32>),
    /// A new group with these rows.
    Create { file_id: String, rows: Vec<u32> },
}

/// What is done to one existing group.
#[derive(Debug, Default)]
struct GroupRows {
    rows: Rows,
    new_rows: u64,
}

/// The rows of new groups, by their numbers.
type NewGroups = BTreeMap<usize, Vec<u32>>;

impl Upserter {
    /// Decides which group takes which changes.
    pub(super) async fn route(&self, partition: PartitionRows<'_>, rows: Rows) -> Result<Vec<Job>> {
        let nothing = PartitionGroups::default();
        let asked = self.asked(partition, &nothing);
        let index = &self.context.index;
        let mut by_group: BTreeMap<usize, GroupRows> = BTreeMap::new();
        // A key that lives nowhere does not exist: there is nothing to delete.
        for (row, group) in index.locate(asked, &rows.deletes).await?.found {
            by_group.entry(group).or_default().rows.deletes.push(row);
        }
        let upserts = index.locate(asked, &rows.upserts).await?;
        for (row, group) in upserts.found {
            by_group.entry(group).or_default().rows.upserts.push(row);
        }
        let grows_base_files = self.context.is_merge_on_read && !index.finds_logged_keys();
        let mut room = self.room(&partition.batch.records, grows_base_files);
        if grows_base_files && partition.batch.order.is_some() {
            // A base file does not remember the ordering values of deletes, as a log does.
            let deleting = by_group.iter();
            let deleting = deleting.filter(|(_, changes)| !changes.rows.deletes.is_empty());
            room.closed = deleting.map(|(group, _)| *group).collect();
        }
        let mut new_groups = NewGroups::new();
        for (row, target) in index.place(asked, &upserts.nowhere, &room)? {
            match target {
                Target::Group(group) => {
                    let changes = by_group.entry(group).or_default();
                    changes.rows.upserts.push(row);
                    changes.new_rows += 1;
                }
                Target::New(group) => new_groups.entry(group).or_default().push(row),
            }
        }
        let groups = asked.partition.groups();
        let changes = by_group.into_iter().filter_map(|(position, changes)| {
            let group = groups.get(position)?;
            let overwrites = self.context.operation.is_replace()
                && group.slice.base_instant == self.context.instant;
            Some(Job::Change {
                group: Box::new(group.as_ref().clone()),
                into_base: overwrites || grows_base_files && changes.new_rows > 0,
                rows: changes.rows,
                new_rows: changes.new_rows,
            })
        });
        Ok(changes.chain(self.create(new_groups)).collect())
    }

    /// Spreads rows over small groups and new ones without asking where their keys live.
    ///
    /// Java: UpsertPartitioner#assignInserts. On merge-on-read only groups without logs grow: their base files are written
    /// anew, because other engines find keys in base files only (hazard 9).
    pub(super) fn route_inserts(
        &self,
        partition: PartitionRows<'_>,
        rows: &[u32],
    ) -> Result<Vec<Job>> {
        let nothing = PartitionGroups::default();
        let asked = self.asked(partition, &nothing);
        let mut grown: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        let mut created = NewGroups::new();
        let room = self.room(&partition.batch.records, true);
        for (row, target) in self.context.index.place(asked, rows, &room)? {
            match target {
                Target::Group(group) => grown.entry(group).or_default().push(row),
                Target::New(group) => created.entry(group).or_default().push(row),
            }
        }
        let groups = asked.partition.groups();
        let grown = grown.into_iter().filter_map(|(position, rows)| {
            let group = groups.get(position)?;
            Some(Job::Grow(Box::new(group.as_ref().clone()), rows))
        });
        Ok(grown.chain(self.create(created)).collect())
    }

    fn create(&self, new_groups: NewGroups) -> impl Iterator<Item = Job> {
        new_groups.into_iter().map(|(new, rows)| Job::Create {
            file_id: self.context.index.new_file_id(&self.context.env, new),
            rows,
        })
    }

    fn asked<'a>(
        &'a self,
        partition: PartitionRows<'a>,
        nothing: &'a PartitionGroups,
    ) -> Asked<'a> {
        Asked {
            context: &self.context,
            partition: self.groups.partition(partition.path).unwrap_or(nothing),
            records: &partition.batch.records,
            keys: &partition.batch.keys,
        }
    }

    /// How much groups may grow; rows are taken to shrink to a third on their way into a file.
    fn room(&self, records: &RecordBatch, base_files_only: bool) -> Room {
        let rows = records.num_rows().max(1) as u64;
        let row_bytes = (records.get_array_memory_size() as u64 / rows / 3).max(1);
        Room {
            small_group_bytes: self.context.options.small_file_bytes,
            group_bytes_max: self.context.options.file_bytes_max,
            row_bytes,
            base_files_only,
            closed: BTreeSet::new(),
        }
    }
}
