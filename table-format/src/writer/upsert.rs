//! Changes into the file groups of their keys.
//!
//! Several batches may be written in one instant; a later one sees what the earlier ones did. Copy-on-write then merges
//! onto the intermediate base file of the same instant, which is deleted as soon as its successor is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::array::{RecordBatch, StringArray, UInt32Array};
use arrow::compute::{take, take_record_batch};
use futures::{StreamExt, TryStreamExt, stream};

use crate::env::run_on_cpu;
use crate::error::{Error, Result};
use crate::index::key_range::{Group, KeyRangeIndex, PartitionRanges, Room, Target};
use crate::index::key_value::KeyColumn;
use crate::index::resolve::{Undecided, decide};
use crate::record::{RowKind, WriteBatch};
use crate::timeline::metadata::{NO_PREVIOUS_COMMIT, WriteStat};
use crate::writer::bulk_insert::OpenFile;
use crate::writer::context::WriteContext;
use crate::writer::copy_on_write::{GroupChanges, merge_into_base_file};
use crate::writer::data_files::MarkerKind;
use crate::writer::key_table::KeyTable;
use crate::writer::merge_on_read::append_to_log;

/// Writes changes, and knows what its instant has written so far.
#[derive(Debug)]
pub(crate) struct Upserter {
    context: Arc<WriteContext>,
    index: KeyRangeIndex,
    /// Files that are to be committed, by path.
    written: BTreeMap<String, WriteStat>,
}

/// What is to be done with the keys of one group: rows of the batch.
#[derive(Debug, Default)]
struct Rows {
    upserts: Vec<u32>,
    deletes: Vec<u32>,
}

/// A group to be written.
enum Job {
    /// An existing group.
    Change(Box<Group>, Rows),
    /// A new group with these rows.
    Create(Vec<u32>),
}

/// The rows of one partition in a batch.
struct PartitionRows<'a> {
    path: String,
    records: &'a RecordBatch,
    keys: &'a StringArray,
}

impl Upserter {
    /// A writer that starts from the committed state `index`.
    pub(crate) fn new(context: Arc<WriteContext>, index: KeyRangeIndex) -> Self {
        Self {
            context,
            index,
            written: BTreeMap::new(),
        }
    }

    /// What the instant has written.
    pub(crate) fn written(&self) -> impl Iterator<Item = &WriteStat> {
        self.written.values()
    }

    /// The state after the commit, as far as this instant goes.
    pub(crate) fn index(&self) -> &KeyRangeIndex {
        &self.index
    }

    /// The state after the commit.
    pub(crate) fn into_index(self) -> KeyRangeIndex {
        self.index
    }

    /// Takes over a file that another writer of this instant has made, and the group it belongs to.
    pub(crate) fn adopt(&mut self, group: Option<Group>, stat: WriteStat) {
        if let Some(group) = group {
            self.index.put(group);
        }
        self.written
            .insert(stat.path.clone().unwrap_or_default(), stat);
    }

    /// Writes one batch; of several changes of a key the last one counts.
    pub(crate) async fn upsert(&mut self, batch: WriteBatch) -> Result<()> {
        let WriteBatch { records, kinds } = batch;
        let records = self.context.conform(&records)?;
        if kinds.len() != records.num_rows() {
            return Err(Error::invalid(format!(
                "a write batch has {} rows and {} row kinds",
                records.num_rows(),
                kinds.len()
            )));
        }
        let context = Arc::clone(&self.context);
        let (records, keys, partitions) = run_on_cpu(move || {
            let keys = context.keys.keys(&records)?;
            let partitions = context.partitions.group(&records)?;
            Ok((records, keys, partitions))
        })
        .await?;
        for (path, rows) in partitions {
            let partition = PartitionRows {
                path,
                records: &records,
                keys: &keys,
            };
            let last = last_changes(&keys, &kinds, &rows);
            let jobs = self.route(&partition, last).await?;
            self.write(&partition, jobs).await?;
        }
        Ok(())
    }

    /// Decides which group takes which rows.
    async fn route(&self, partition: &PartitionRows<'_>, rows: Rows) -> Result<Vec<Job>> {
        let nothing = PartitionRanges::default();
        let ranges = self.index.partition(&partition.path).unwrap_or(&nothing);
        let field = self.context.range_field();
        let column = partition.records.column_by_name(field).ok_or_else(|| {
            Error::invalid(format!("record key column `{field}` is not in the batch"))
        })?;
        let column = KeyColumn::new(column);
        let mut by_group: BTreeMap<usize, Rows> = BTreeMap::new();
        for group in self
            .locate(ranges, &column, partition, &rows.deletes)
            .await?
            .into_iter()
            .zip(&rows.deletes)
        {
            // A key in no range does not exist: there is nothing to delete.
            if let (Some(group), row) = group {
                by_group.entry(group).or_default().deletes.push(*row);
            }
        }
        let mut new_keys = Vec::new();
        let located = self
            .locate(ranges, &column, partition, &rows.upserts)
            .await?;
        for (group, &row) in located.into_iter().zip(&rows.upserts) {
            match group {
                Some(group) => by_group.entry(group).or_default().upserts.push(row),
                None => new_keys.push(row),
            }
        }
        let room = self.room(partition.records);
        let mut new_groups: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for (row, target) in ranges.place(&column, &new_keys, room) {
            match target {
                Target::Group(group) => by_group.entry(group).or_default().upserts.push(row),
                Target::New(group) => new_groups.entry(group).or_default().push(row),
            }
        }
        let changes = by_group.into_iter().filter_map(|(position, rows)| {
            let group = ranges.groups().get(position)?;
            Some(Job::Change(Box::new(group.clone()), rows))
        });
        Ok(changes
            .chain(new_groups.into_values().map(Job::Create))
            .collect())
    }

    /// For each row the position of the group that holds its key, or would have to.
    async fn locate(
        &self,
        ranges: &PartitionRanges,
        column: &KeyColumn<'_>,
        partition: &PartitionRows<'_>,
        rows: &[u32],
    ) -> Result<Vec<Option<usize>>> {
        let mut located = ranges.locate(column, rows);
        if located.several.is_empty() {
            return Ok(located.only);
        }
        let undecided: Vec<Undecided<'_>> = located
            .several
            .iter()
            .map(|(position, groups)| Undecided {
                position: *position,
                key: partition.keys.value(rows[*position] as usize),
                groups,
            })
            .collect();
        for (position, group) in decide(&self.context, ranges, &undecided).await? {
            located.only[position] = Some(group);
        }
        Ok(located.only)
    }

    /// How much groups may grow; rows are taken to shrink to a third on their way into a file.
    fn room(&self, records: &RecordBatch) -> Room {
        let rows = records.num_rows().max(1) as u64;
        let row_bytes = (records.get_array_memory_size() as u64 / rows / 3).max(1);
        Room {
            small_group_bytes: self.context.options.small_file_bytes,
            group_bytes_max: self.context.options.file_bytes_max,
            row_bytes,
        }
    }

    async fn write(&mut self, partition: &PartitionRows<'_>, jobs: Vec<Job>) -> Result<()> {
        let this = &*self;
        let done: Vec<(Group, WriteStat, Option<String>)> = stream::iter(jobs)
            .map(|job| this.write_job(partition, job))
            .buffer_unordered(this.context.options.parallelism)
            .try_collect()
            .await?;
        for (group, stat, superseded) in done {
            if let Some(path) = superseded {
                self.written.remove(&path);
                self.context.storage.delete(&path).await?;
            }
            self.adopt(Some(group), stat);
        }
        Ok(())
    }

    /// Writes one group; also gives the path of the intermediate file that the new one replaces.
    async fn write_job(
        &self,
        partition: &PartitionRows<'_>,
        job: Job,
    ) -> Result<(Group, WriteStat, Option<String>)> {
        match job {
            Job::Create(rows) => {
                let file_id = format!("{}-0", self.context.env.ids.next_uuid());
                let mut file =
                    OpenFile::create(&self.context, partition.path.clone(), &file_id).await?;
                file.append(&self.context, take_rows(partition.records, &rows)?)
                    .await?;
                let (group, stat) = file.finish(&self.context).await?;
                Ok((group, stat, None))
            }
            Job::Change(group, rows) if self.context.is_merge_on_read => {
                let (group, stat) =
                    append_to_log(&self.context, *group, partition.changes(&rows)?).await?;
                Ok((group, stat, None))
            }
            Job::Change(group, rows) => self.merge(*group, partition.changes(&rows)?).await,
        }
    }

    async fn merge(
        &self,
        group: Group,
        changes: GroupChanges,
    ) -> Result<(Group, WriteStat, Option<String>)> {
        let old = group
            .slice
            .base_file
            .as_ref()
            .map(|file| group.slice.path_of(&file.to_string()));
        let earlier = old.as_ref().and_then(|path| self.written.get(path));
        let is_new_group =
            earlier.is_some_and(|stat| stat.prev_commit.as_deref() == Some(NO_PREVIOUS_COMMIT));
        let kind = if is_new_group {
            MarkerKind::Create
        } else {
            MarkerKind::Merge
        };
        let (group, mut stat) =
            merge_into_base_file(&self.context, &group.slice, changes, kind).await?;
        let Some(earlier) = earlier else {
            return Ok((group, stat, None));
        };
        // The stat tells what the instant did to the group, not what its last step did.
        stat.prev_commit.clone_from(&earlier.prev_commit);
        stat.prev_base_file.clone_from(&earlier.prev_base_file);
        let sum = |a: Option<i64>, b: Option<i64>| Some(a.unwrap_or(0) + b.unwrap_or(0));
        stat.num_inserts = sum(stat.num_inserts, earlier.num_inserts);
        stat.num_update_writes = sum(stat.num_update_writes, earlier.num_update_writes);
        stat.num_deletes = sum(stat.num_deletes, earlier.num_deletes);
        Ok((group, stat, old))
    }
}

impl PartitionRows<'_> {
    fn changes(&self, rows: &Rows) -> Result<GroupChanges> {
        let keys = |rows: &[u32]| -> Result<StringArray> {
            Ok(take(self.keys, &UInt32Array::from(rows.to_vec()), None)?
                .as_string()
                .clone())
        };
        Ok(GroupChanges {
            upserts: take_rows(self.records, &rows.upserts)?,
            upsert_keys: keys(&rows.upserts)?,
            deletes: keys(&rows.deletes)?,
        })
    }
}

fn take_rows(records: &RecordBatch, rows: &[u32]) -> Result<RecordBatch> {
    Ok(take_record_batch(
        records,
        &UInt32Array::from(rows.to_vec()),
    )?)
}

/// The last change of each key among `rows`, in the order of the batch.
fn last_changes(keys: &StringArray, kinds: &[RowKind], rows: &[u32]) -> Rows {
    let mut seen = KeyTable::with_room(keys.clone(), rows.len());
    let mut last = Rows::default();
    for &row in rows.iter().rev() {
        let kind = kinds[row as usize];
        // The image before an update says nothing that the image after it does not.
        if kind == RowKind::UpdateBefore || !seen.insert(row) {
            continue;
        }
        if kind == RowKind::Delete {
            last.deletes.push(row)
        } else {
            last.upserts.push(row)
        }
    }
    last.upserts.reverse();
    last.deletes.reverse();
    last
}
