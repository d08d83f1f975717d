//! Rows into the file groups of their keys.
//!
//! Several batches may be written in one instant; a later one sees what the earlier ones did. Copy-on-write then merges
//! onto the intermediate base file of the same instant, which is deleted as soon as its successor is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};

use crate::error::Result;
use crate::index::groups::{FileGroups, Group};
use crate::index::resolve::known_keys;
use crate::record::WriteBatch;
use crate::timeline::metadata::{NO_PREVIOUS_COMMIT, WriteStat};
use crate::writer::bulk_insert::OpenFile;
use crate::writer::combine::{Rows, Tombstones, combine};
use crate::writer::context::WriteContext;
use crate::writer::copy_on_write::{GroupChanges, merge_into_base_file};
use crate::writer::current_rows::with_current_order;
use crate::writer::data_files::MarkerKind;
use crate::writer::merge_on_read::append_to_log;
use crate::writer::partial_update::{fill_missing, whole_rows};
use crate::writer::prepare::{PartitionRows, Prepared};
use crate::writer::route::Job;

/// Writes changes, and knows what its instant has written so far.
#[derive(Debug)]
pub(crate) struct Upserter {
    pub(super) context: Arc<WriteContext>,
    /// The groups of the table, those that this instant has written among them.
    pub(super) groups: FileGroups,
    /// Files that are to be committed, by path.
    written: BTreeMap<String, WriteStat>,
    tombstones: Tombstones,
}

impl Upserter {
    /// A writer that starts from the committed state `groups`.
    pub(crate) fn new(context: Arc<WriteContext>, groups: FileGroups) -> Self {
        let tombstones = Tombstones::new(context.env.memory.book(0));
        Self {
            context,
            groups,
            written: BTreeMap::new(),
            tombstones,
        }
    }

    /// What the instant has written.
    pub(crate) fn written(&self) -> impl Iterator<Item = &WriteStat> {
        self.written.values()
    }

    /// The groups of the table, those that this instant has written among them.
    pub(crate) fn groups(&self) -> &FileGroups {
        &self.groups
    }

    /// The state after the commit.
    pub(crate) fn into_groups(self) -> FileGroups {
        self.groups
    }

    /// A second writer of the same instant, which goes on from what this one has done.
    pub(super) fn fork(&self) -> Self {
        Self {
            written: self.written.clone(),
            ..Self::new(Arc::clone(&self.context), self.groups.clone())
        }
    }

    /// Takes over what a [`fork`](Self::fork) has done; since then this writer has done nothing.
    pub(crate) fn join(&mut self, fork: Self) {
        self.groups = fork.groups;
        self.written = fork.written;
    }

    /// Takes over a file that another writer of this instant has made, and the group it belongs to.
    pub(crate) fn adopt(&mut self, group: Option<Group>, stat: WriteStat) {
        if let Some(group) = group {
            self.groups.put(group);
        }
        self.written
            .insert(stat.path.clone().unwrap_or_default(), stat);
    }

    /// Writes one batch of changes; of several changes of a key one counts (see [`combine`]).
    pub(crate) async fn upsert(&mut self, batch: WriteBatch) -> Result<()> {
        let batch = Prepared::changes(&self.context, batch).await?;
        self.change(&batch).await
    }

    /// Deletes rows by key, whatever their ordering values.
    pub(crate) async fn delete(&mut self, records: RecordBatch) -> Result<()> {
        let batch = Prepared::deletes(&self.context, records).await?;
        self.change(&batch).await
    }

    async fn change(&mut self, batch: &Prepared) -> Result<()> {
        for (path, mut rows) in self.changes_by_partition(batch).await? {
            if let Some(order) = &batch.order {
                self.tombstones.apply(&path, &batch.keys, order, &mut rows);
            }
            let partition = PartitionRows { path: &path, batch };
            let jobs = self.route(partition, rows).await?;
            self.write(partition, jobs).await?;
        }
        Ok(())
    }

    async fn changes_by_partition(&self, batch: &Prepared) -> Result<Vec<(String, Rows)>> {
        if let Some(moves) = self.context.options.global_keys {
            let spread = self.spread_globally(batch, moves).await?;
            return Ok(spread.into_iter().collect());
        }
        let partitions = batch.partitions.iter().map(|(path, rows)| {
            let rows = combine(&batch.keys, &batch.kinds, batch.order.as_ref(), rows);
            (path.clone(), rows)
        });
        Ok(partitions.collect())
    }

    /// Writes new rows without asking whether their keys are there; `combines` keeps one row of a key in the batch.
    pub(crate) async fn insert(&mut self, batch: WriteBatch, combines: bool) -> Result<()> {
        let batch = Prepared::changes(&self.context, batch).await?;
        for (path, rows) in &batch.partitions {
            let rows = if combines {
                combine(&batch.keys, &batch.kinds, batch.order.as_ref(), rows).upserts
            } else {
                batch.inserts_among(rows)
            };
            let partition = PartitionRows {
                path,
                batch: &batch,
            };
            let jobs = self.route_inserts(partition, &rows)?;
            self.write(partition, jobs).await?;
        }
        Ok(())
    }

    async fn write(&mut self, partition: PartitionRows<'_>, jobs: Vec<Job>) -> Result<()> {
        let this = &*self;
        let done: Vec<(Group, WriteStat, Option<String>)> = stream::iter(jobs)
            .map(|job| this.write_job(partition, job))
            .buffer_unordered(this.context.options.parallelism)
            .try_collect::<Vec<_>>()
            .await?
            .into_iter()
            .flatten()
            .collect();
        for (group, stat, superseded) in done {
            if let Some(path) = superseded {
                self.written.remove(&path);
                self.context.storage.delete(&path).await?;
            }
            self.adopt(Some(group), stat);
        }
        Ok(())
    }

    /// Writes one group; also gives the path of the intermediate file that the new one replaces. `None` when nothing was
    /// to be done.
    async fn write_job(
        &self,
        partition: PartitionRows<'_>,
        job: Job,
    ) -> Result<Option<(Group, WriteStat, Option<String>)>> {
        Ok(Some(match job {
            Job::Create { file_id, rows } => {
                let mut file =
                    OpenFile::create(&self.context, partition.path.to_owned(), &file_id).await?;
                let rows = whole_rows(&self.context, &partition.take(&rows)?)?;
                file.append(&self.context, rows).await?;
                let (group, stat) = file.finish(&self.context).await?;
                (group, stat, None)
            }
            Job::Change {
                group,
                mut rows,
                new_rows,
                into_base: false,
            } if self.context.is_merge_on_read => {
                self.drop_unknown_deletes(partition, &group, &mut rows)
                    .await?;
                let mut changes = partition.changes(&self.context, &rows)?;
                let missing = &partition.batch.missing;
                changes = fill_missing(&self.context, &group.slice, changes, missing).await?;
                if changes.delete_order.is_none() {
                    changes = with_current_order(&self.context, &group.slice, changes).await?;
                }
                if changes.is_empty() {
                    return Ok(None);
                }
                let (group, stat) = append_to_log(&self.context, *group, changes, new_rows).await?;
                (group, stat, None)
            }
            Job::Change { group, rows, .. } => {
                let changes = partition.changes(&self.context, &rows)?;
                let missing = &partition.batch.missing;
                let changes = fill_missing(&self.context, &group.slice, changes, missing).await?;
                self.merge(*group, changes).await?
            }
            Job::Grow(group, upserts) => {
                let changes = partition.changes(&self.context, &Rows::of_upserts(upserts))?;
                let changes = GroupChanges {
                    upserts: whole_rows(&self.context, &changes.upserts)?,
                    replaces: !self.context.options.inserts.allows_duplicates,
                    ..changes
                };
                self.merge(*group, changes).await?
            }
        }))
    }

    /// By event time a logged delete of a key that is not there would beat a late row, which Hudi's writer lets in: it logs
    /// deletes of known keys only.
    async fn drop_unknown_deletes(
        &self,
        partition: PartitionRows<'_>,
        group: &Group,
        rows: &mut Rows,
    ) -> Result<()> {
        if partition.batch.order.is_none() || rows.deletes.is_empty() {
            return Ok(());
        }
        let keys = rows.deletes.iter();
        let keys: Vec<&str> = keys
            .map(|row| partition.batch.keys.value(*row as usize))
            .collect();
        let mut known = known_keys(&self.context, &group.slice, &keys)
            .await?
            .into_iter();
        rows.deletes.retain(|_| known.next().unwrap_or(true));
        Ok(())
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
        if let Some(logs) = &earlier.cdc_stats {
            let all = stat.cdc_stats.get_or_insert_default();
            all.extend(logs.iter().map(|(path, bytes)| (path.clone(), *bytes)));
        }
        if is_new_group && self.context.change_log.is_some() {
            // Whoever reads the changes takes every row of a new group for an insert, and goes by these numbers.
            stat.num_inserts = stat.num_writes;
            (stat.num_update_writes, stat.num_deletes) = (Some(0), Some(0));
        }
        Ok((group, stat, old))
    }
}
