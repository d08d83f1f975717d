//! `Transaction`: what an instant writes, and its commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::file_group::join_path;
use crate::index::groups::{FileGroups, Group};
use crate::index::load::load_ranges;
use crate::record::WriteBatch;
use crate::schema::avro::{arrow_to_avro, record_name, record_namespace};
use crate::timeline::metadata::{CommitMetadata, SCHEMA_KEY, WriteOperation, WriteStat};
use crate::timeline::{ActiveTimeline, Instant, InstantTime, State};
use crate::transaction::conflict::{
    Changes, check_conflicts, check_inserts, conflict, is_rolled_back,
};
use crate::transaction::heartbeat::Heartbeat;
use crate::transaction::lock::LockGuard;
use crate::transaction::operation::Incoming;
use crate::transaction::replace::{Replaced, refuse_planned_compactions};
use crate::transaction::rollback::{delete_markers, roll_back};
use crate::transaction::state::{TableState, WritableTable, disable_metadata_table, next_time};
use crate::writer::{BucketLoad, BulkInsertFactory, BulkInsertWriter, Upserter, WriteContext};

/// An instant under way. Nothing of it is visible before [`Transaction::commit`]; if it is dropped, or its process dies,
/// the next writer of the table undoes it.
#[derive(Debug)]
pub struct Transaction {
    state: Arc<TableState>,
    pub(super) context: Arc<WriteContext>,
    inflight: Instant,
    pub(super) operation: WriteOperation,
    pub(super) upserter: Upserter,
    pub(super) incoming: Incoming,
    bulk_groups: Arc<Mutex<Vec<Group>>>,
    /// Bulk inserts under way, if the index leaves no choice of groups.
    bucket_load: Mutex<Option<Arc<BucketLoad>>>,
    /// Completed writes when this instant began.
    seen: BTreeSet<InstantTime>,
    /// Tells other writers that this one is alive, where they ask.
    heartbeat: Option<Heartbeat>,
}

impl Transaction {
    pub(crate) fn new(
        state: Arc<TableState>,
        context: Arc<WriteContext>,
        inflight: Instant,
        operation: WriteOperation,
        groups: FileGroups,
        seen: BTreeSet<InstantTime>,
        heartbeat: Option<Heartbeat>,
    ) -> Self {
        let upserter = Upserter::new(Arc::clone(&context), groups);
        let incoming = Incoming::new(context.env.memory.book(0));
        Self {
            incoming,
            state,
            context,
            inflight,
            operation,
            upserter,
            bulk_groups: Arc::default(),
            bucket_load: Mutex::default(),
            seen,
            heartbeat,
        }
    }

    /// The instant, and the file groups as it sees them.
    #[cfg(test)]
    pub(crate) fn seen(&self) -> (&WriteContext, &FileGroups) {
        (&self.context, self.upserter.groups())
    }

    /// Begin time of the instant.
    pub fn instant_time(&self) -> &InstantTime {
        &self.inflight.time
    }

    /// Makes writers of new file groups, which may work in tasks of their own. They are to be finished before anything else is
    /// written into the instant.
    pub fn bulk_insert_factory(&self) -> BulkInsertFactory {
        let buckets = self.context.index.fixes_groups().then(|| {
            let mut load = self.lock_bucket_load();
            Arc::clone(load.get_or_insert_with(|| BucketLoad::new(&self.upserter)))
        });
        let groups = Arc::clone(&self.bulk_groups);
        BulkInsertFactory::new(Arc::clone(&self.context), groups, buckets)
    }

    fn lock_bucket_load(&self) -> MutexGuard<'_, Option<Arc<BucketLoad>>> {
        let load = self.bucket_load.lock();
        load.unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what bulk inserts into buckets have written.
    pub(super) async fn finish_bucket_load(&mut self) -> Result<()> {
        let load = self.lock_bucket_load().take();
        if let Some(load) = load
            && let Some(done) = load.finish().await?
        {
            self.upserter.join(done);
        }
        Ok(())
    }

    /// A writer of new file groups, for rows whose keys the table does not hold.
    pub fn bulk_insert(&self) -> BulkInsertWriter {
        self.bulk_insert_factory().bulk_insert()
    }

    /// Takes what a [`BulkInsertWriter`] has written into this instant.
    pub fn add(&mut self, stats: Vec<WriteStat>) {
        let mut groups = self
            .bulk_groups
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for stat in stats {
            let position = groups
                .iter()
                .position(|group| Some(&group.slice.file_id) == stat.file_id.as_ref());
            let group = position.map(|position| groups.swap_remove(position));
            self.upserter.adopt(group, stat);
        }
    }

    /// Writes changes; of several changes of a key, in this call or an earlier one, the last counts.
    ///
    /// # Errors
    /// `Invalid` for rows that do not fit the table; what the store says. The instant cannot be committed any more then.
    pub async fn upsert(&mut self, batch: WriteBatch) -> Result<()> {
        self.finish_bucket_load().await?;
        self.upserter.upsert(batch).await
    }

    /// Makes everything written visible, together with `extra_metadata`.
    ///
    /// # Errors
    /// `Conflict` when another writer has rolled the instant back, or has changed one of its file groups; the instant is
    /// then undone by the next [`TableWriter::begin`](crate::writer::TableWriter::begin). `Fenced` when the writer's lease is
    /// lost.
    pub async fn commit(mut self, extra_metadata: BTreeMap<String, String>) -> Result<Instant> {
        self.flush().await?;
        let replaced = self.replaced();
        self.delete_superseded().await?;
        let guard = self.state.lock.acquire().await?;
        let outcome = self.complete(&guard, extra_metadata, &replaced).await;
        guard.release().await;
        let (completed, timeline) = match outcome {
            Ok(completed) => completed,
            Err(error) => return Err(self.give_up(error).await),
        };
        self.state.finished(&completed.time);
        if let Some(heartbeat) = self.heartbeat.take()
            && let Err(error) = heartbeat.stop().await
        {
            tracing::warn!(instant = %completed.time, %error, "the heartbeat file was left behind");
        }
        if let Err(error) = delete_markers(&self.state.storage, &completed.time).await {
            // The commit stands; leftover markers harm nobody.
            tracing::warn!(instant = %completed.time, %error, "markers were left behind");
        }
        let mut known = self.state.known.lock().await;
        let is_alone = timeline
            .completed_writes()
            .all(|instant| known.instants.contains(instant));
        known.are_groups_current = is_alone;
        known.instants.insert(completed.clone());
        let context = &self.context;
        if let Some(written) = &context.written {
            known.history = Some(written.history()?);
        }
        if self.operation == WriteOperation::AlterSchema {
            known.schema = Arc::clone(&context.schema);
        }
        known.is_schema_set &= known.schema != context.schema;
        known.groups = Arc::new(without(self.upserter.into_groups(), &replaced));
        Ok(completed)
    }

    /// The critical section: what others did, the properties, and the completed file. Returns the timeline before it, too.
    async fn complete(
        &self,
        guard: &LockGuard,
        extra_metadata: BTreeMap<String, String>,
        replaced: &Replaced,
    ) -> Result<(Instant, ActiveTimeline)> {
        let (storage, env) = (&self.state.storage, &self.state.env);
        let table = WritableTable::load(storage, &self.state.options.properties).await?;
        let timeline = ActiveTimeline::load(storage, &table.config).await?;
        self.check_still_ours(&table, &timeline, replaced).await?;
        let completion = next_time(&table.config, env, &timeline, Some(&self.inflight.time));
        let completion = Some(completion.await?);
        let completed = Instant {
            state: State::Completed,
            completion: completion.filter(|_| table.config.keeps_completion_times()),
            ..self.inflight.clone()
        };
        let metadata = self.metadata(extra_metadata, replaced)?;
        let metadata = metadata.encode_for(table.config.version(), &completed)?;
        self.heartbeat.as_ref().map_or(Ok(()), Heartbeat::check)?;
        guard.check().await?;
        if let Some(lease) = &self.state.lease {
            lease.check().await?;
        }
        self.heartbeat.as_ref().map_or(Ok(()), Heartbeat::check)?;
        disable_metadata_table(storage, env, &table.config).await?;
        if let Some(written) = &self.context.written {
            written.publish(storage, &timeline, &completed).await?;
        }
        let path = timeline.path_of(&completed);
        storage.create(&path, metadata.into()).await?;
        self.check_not_too_late(&table, &path).await?;
        Ok((completed, timeline))
    }

    /// Hazard 17, its last moment: an engine that takes no lock of ours, or one that took over while this process was
    /// suspended between its last look and the completed file, has rolled the instant back. Then the file speaks of data that
    /// is gone. A missing inflight file alone proves nothing: the instant may have been archived.
    async fn check_not_too_late(&self, table: &WritableTable, completed_path: &str) -> Result<()> {
        let storage = &self.state.storage;
        let inflight = join_path(&table.config.timeline_dir(), &self.inflight.file_name());
        if storage.exists(&inflight).await? {
            return Ok(());
        }
        let timeline = ActiveTimeline::load(storage, &table.config).await?;
        if !is_rolled_back(&timeline, &self.inflight).await? {
            return Ok(());
        }
        storage.delete(completed_path).await?;
        let what =
            "another writer rolled it back while it was being completed; write its rows again";
        Err(conflict(&self.inflight, what))
    }

    /// What is left to do when an instant could not be completed. Under optimistic concurrency control nobody else would
    /// undo it before its heartbeat has expired.
    async fn give_up(self, error: Error) -> Error {
        if error.kind() == ErrorKind::Conflict && self.state.env.locks.is_optimistic() {
            let instant = self.inflight.time.clone();
            if let Err(failed) = self.abort().await {
                tracing::warn!(%instant, error = %failed, "the instant is undone at the next begin");
            }
        }
        error
    }

    /// Undoes the instant.
    ///
    /// # Errors
    /// What the store says; the next writer then finishes the job.
    pub async fn abort(self) -> Result<()> {
        let table =
            WritableTable::load(&self.state.storage, &self.state.options.properties).await?;
        roll_back(
            &self.state.storage,
            &self.state.env,
            &table.config,
            &self.inflight,
        )
        .await?;
        self.state.finished(&self.inflight.time);
        if table.config.version().shares_logs() {
            // Command blocks have taken versions of log files.
            self.state.known.lock().await.are_groups_current = false;
        }
        Ok(())
    }

    /// Deletes files of this instant that are not part of it: intermediate files, and those of writers that gave up.
    async fn delete_superseded(&self) -> Result<()> {
        let kept: BTreeSet<&str> = self
            .upserter
            .written()
            .flat_map(|stat| {
                let logs = stat.cdc_stats.iter().flat_map(BTreeMap::keys);
                stat.path.iter().chain(logs).map(String::as_str)
            })
            .collect();
        for path in self.context.files.created() {
            if !kept.contains(path.as_str()) {
                self.state.storage.delete(&path).await?;
            }
        }
        Ok(())
    }

    /// Whether the instant is pending yet and what others did since it began leaves it whole.
    async fn check_still_ours(
        &self,
        table: &WritableTable,
        timeline: &ActiveTimeline,
        replaced: &Replaced,
    ) -> Result<()> {
        let index = self.context.index.as_ref();
        let changes = Changes::of(index, self.upserter.written()).with_replaced(index, replaced);
        refuse_planned_compactions(timeline, self.operation, replaced).await?;
        let (context, ours) = (self.context.as_ref(), &self.inflight);
        let inserted = check_conflicts(context, timeline, ours, &changes, &self.seen).await?;
        if inserted.is_empty() || !changes.has_inserts() || index.fixes_groups() {
            return Ok(());
        }
        let theirs = load_ranges(
            self.state.logs(),
            &table.config,
            self.context.range_field(),
            &self.context.schema,
            timeline,
            &inserted,
        );
        let own = self.upserter.groups();
        check_inserts(&self.inflight, &changes, own, &inserted, &theirs.await?)
    }

    /// What the completed file says.
    fn metadata(
        &self,
        extra_metadata: BTreeMap<String, String>,
        replaced: &Replaced,
    ) -> Result<CommitMetadata> {
        let mut metadata = CommitMetadata::new(self.operation);
        metadata.extra_metadata = extra_metadata;
        let name = &self.context.base_format.table_name;
        let schema = arrow_to_avro(
            &self.context.schema,
            &record_name(name),
            &record_namespace(name),
        )?;
        metadata
            .extra_metadata
            .insert(SCHEMA_KEY.to_owned(), schema);
        if let Some(written) = &self.context.written {
            written.describe(&mut metadata)?;
        }
        for stat in self.upserter.written() {
            metadata.add_stat(stat.clone());
        }
        if self.operation.is_replace() {
            metadata.partition_to_replace_file_ids.clone_from(replaced);
        }
        Ok(metadata)
    }
}

fn without(mut groups: FileGroups, replaced: &Replaced) -> FileGroups {
    for (path, file_ids) in replaced {
        for file_id in file_ids {
            groups.remove(path, file_id);
        }
    }
    groups
}
