//! Which file group takes which rows of a batch.
//!
//! Changes go where their keys live; new keys go to a neighbouring group that has room, else to new groups.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;

use crate::error::{Error, Result};
use crate::index::key_range::{Group, PartitionRanges, Room, Target};
use crate::index::key_value::KeyColumn;
use crate::index::resolve::{Undecided, decide};
use crate::writer::combine::Rows;
use crate::writer::prepare::PartitionRows;
use crate::writer::upsert::Upserter;

/// A group to be written.
#[derive(Debug)]
pub(super) enum Job {
    /// Changes of an existing group.
    Change(Box<Group>, Rows),
    /// New rows into the base file of an existing group.
    Grow(Box<Group>, Vec<u32>),
    /// A new group with these rows.
    Create(Vec<u32>),
}

/// Where the keys of rows live.
#[derive(Debug, Default)]
pub(super) struct Homes {
    /// Rows with the position of a group that holds their key, or would have to. An insert may have put a key into several.
    pub(super) found: Vec<(u32, usize)>,
    /// Rows whose keys no group holds.
    pub(super) nowhere: Vec<u32>,
}

impl Upserter {
    /// Decides which group takes which changes.
    pub(super) async fn route(&self, partition: PartitionRows<'_>, rows: Rows) -> Result<Vec<Job>> {
        let nothing = PartitionRanges::default();
        let ranges = self.index.partition(partition.path).unwrap_or(&nothing);
        let column = self.key_column(&partition.batch.records)?;
        let mut by_group: BTreeMap<usize, Rows> = BTreeMap::new();
        // A key that lives nowhere does not exist: there is nothing to delete.
        let deletes = self
            .locate(ranges, &column, partition, &rows.deletes)
            .await?;
        for (row, group) in deletes.found {
            by_group.entry(group).or_default().deletes.push(row);
        }
        let upserts = self
            .locate(ranges, &column, partition, &rows.upserts)
            .await?;
        for (row, group) in upserts.found {
            by_group.entry(group).or_default().upserts.push(row);
        }
        let mut new_groups: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        let room = self.room(&partition.batch.records, false);
        for (row, target) in ranges.place(&column, &upserts.nowhere, room) {
            match target {
                Target::Group(group) => by_group.entry(group).or_default().upserts.push(row),
                Target::New(group) => new_groups.entry(group).or_default().push(row),
            }
        }
        let changes = by_group.into_iter().filter_map(|(position, rows)| {
            let group = ranges.groups().get(position)?;
            Some(Job::Change(Box::new(group.clone()), rows))
        });
        let created = new_groups.into_values().map(Job::Create);
        Ok(changes.chain(created).collect())
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
        let nothing = PartitionRanges::default();
        let ranges = self.index.partition(partition.path).unwrap_or(&nothing);
        let column = self.key_column(&partition.batch.records)?;
        let mut grown: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        let mut created: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        let room = self.room(&partition.batch.records, true);
        for (row, target) in ranges.place(&column, rows, room) {
            match target {
                Target::Group(group) => grown.entry(group).or_default().push(row),
                Target::New(group) => created.entry(group).or_default().push(row),
            }
        }
        let grown = grown.into_iter().filter_map(|(position, rows)| {
            let group = ranges.groups().get(position)?;
            Some(Job::Grow(Box::new(group.clone()), rows))
        });
        Ok(grown
            .chain(created.into_values().map(Job::Create))
            .collect())
    }

    /// The values by which the index goes.
    pub(super) fn key_column<'a>(&self, records: &'a RecordBatch) -> Result<KeyColumn<'a>> {
        let field = self.context.range_field();
        let column = records.column_by_name(field).ok_or_else(|| {
            Error::invalid(format!("record key column `{field}` is not in the batch"))
        })?;
        Ok(KeyColumn::new(column))
    }

    /// Finds the groups that hold the keys of `rows`.
    pub(super) async fn locate(
        &self,
        ranges: &PartitionRanges,
        column: &KeyColumn<'_>,
        partition: PartitionRows<'_>,
        rows: &[u32],
    ) -> Result<Homes> {
        let located = ranges.locate(column, rows);
        let mut homes = Homes::default();
        let mut is_several = vec![false; rows.len()];
        let undecided: Vec<Undecided<'_>> = located
            .several
            .iter()
            .map(|(position, groups)| {
                is_several[*position] = true;
                Undecided {
                    position: *position,
                    key: partition.batch.keys.value(rows[*position] as usize),
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
            for (position, group) in decide(&self.context, ranges, &undecided).await? {
                homes.found.push((rows[position], group));
            }
            homes.found.sort_unstable();
        }
        Ok(homes)
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
        }
    }
}
