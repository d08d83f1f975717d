//! `Transaction`: what an instant writes, and its commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::index::key_range::{Group, KeyRangeIndex};
use crate::record::WriteBatch;
use crate::schema::avro::{arrow_to_avro, record_name, record_namespace};
use crate::timeline::metadata::{
    CommitMetadata, Payload, RequestedReplaceMetadata, SCHEMA_KEY, WriteOperation, WriteStat,
};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime, State};
use crate::transaction::operation::Incoming;
use crate::transaction::replace::{Replaced, refuse_planned_compactions};
use crate::transaction::rollback::{delete_markers, roll_back};
use crate::transaction::state::{TableState, WritableTable, disable_metadata_table, next_time};
use crate::writer::{BulkInsertFactory, BulkInsertWriter, Upserter, WriteContext};

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
    /// Completed writes when this instant began.
    seen: BTreeSet<InstantTime>,
}

impl Transaction {
    pub(crate) fn new(
        state: Arc<TableState>,
        context: Arc<WriteContext>,
        inflight: Instant,
        operation: WriteOperation,
        index: KeyRangeIndex,
        seen: BTreeSet<InstantTime>,
    ) -> Self {
        let upserter = Upserter::new(Arc::clone(&context), index);
        let incoming = Incoming::new(context.env.memory.book(0));
        Self {
            incoming,
            state,
            context,
            inflight,
            operation,
            upserter,
            bulk_groups: Arc::default(),
            seen,
        }
    }

    /// Begin time of the instant.
    pub fn instant_time(&self) -> &InstantTime {
        &self.inflight.time
    }

    /// Makes writers of new file groups, which may work in tasks of their own.
    pub fn bulk_insert_factory(&self) -> BulkInsertFactory {
        BulkInsertFactory::new(Arc::clone(&self.context), Arc::clone(&self.bulk_groups))
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
        self.upserter.upsert(batch).await
    }

    /// Makes everything written visible, together with `extra_metadata`.
    ///
    /// # Errors
    /// `Conflict` when another writer has rolled the instant back, or has changed one of its file groups; the instant is
    /// then undone by the next [`TableWriter::begin`](crate::writer::TableWriter::begin).
    pub async fn commit(mut self, extra_metadata: BTreeMap<String, String>) -> Result<Instant> {
        self.flush().await?;
        let replaced = self.replaced();
        let storage = &self.state.storage;
        self.delete_superseded().await?;
        let table = WritableTable::load(storage, &self.state.options.properties).await?;
        let timeline = ActiveTimeline::load(storage, &table.config).await?;
        self.check_still_ours(&timeline, &replaced).await?;
        let config = disable_metadata_table(storage, &self.state.env, &table.config).await?;
        let metadata = self.metadata(extra_metadata, &replaced)?;
        let completion = next_time(
            &config,
            &self.state.env,
            &timeline,
            Some(&self.inflight.time),
        )
        .await?;
        let completed = Instant {
            state: State::Completed,
            completion: Some(completion),
            ..self.inflight.clone()
        };
        storage
            .create(&timeline.path_of(&completed), metadata.into())
            .await?;
        if let Err(error) = delete_markers(storage, &completed.time).await {
            // The commit stands; leftover markers harm nobody.
            tracing::warn!(instant = %completed.time, %error, "markers were left behind");
        }
        let mut known = self.state.known.lock().await;
        let is_alone = timeline
            .completed_writes()
            .all(|instant| known.instants.contains(instant));
        known.is_index_current = is_alone;
        known.instants.insert(completed.clone());
        known.index = Arc::new(without(self.upserter.into_index(), &replaced));
        Ok(completed)
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
        .await
    }

    /// Deletes files of this instant that are not part of it: intermediate files, and those of writers that gave up.
    async fn delete_superseded(&self) -> Result<()> {
        let kept: BTreeSet<&str> = self
            .upserter
            .written()
            .filter_map(|stat| stat.path.as_deref())
            .collect();
        for path in self.context.files.created() {
            if !kept.contains(path.as_str()) {
                self.state.storage.delete(&path).await?;
            }
        }
        Ok(())
    }

    /// Hazard 17: a Spark writer with the EAGER policy rolls back what it finds pending, and a completed file written
    /// afterwards is accepted though the data is gone.
    async fn check_still_ours(&self, timeline: &ActiveTimeline, replaced: &Replaced) -> Result<()> {
        let conflict = |what: String| {
            Err(Error::new(
                ErrorKind::Conflict,
                format!("instant {}: {what}", self.inflight.time),
            ))
        };
        let ours = timeline.find(&self.inflight.time, self.inflight.action);
        if ours.is_none_or(|instant| instant.state != State::Inflight) {
            return conflict("another writer has rolled it back; write its rows again".to_owned());
        }
        let mut touched: BTreeSet<(Option<&str>, Option<&str>)> =
            self.upserter.written().map(group_key).collect();
        for (path, file_ids) in replaced {
            touched.extend(
                file_ids
                    .iter()
                    .map(|id| (Some(path.as_str()), Some(id.as_str()))),
            );
        }
        refuse_planned_compactions(timeline, self.operation, replaced).await?;
        for plan in timeline
            .pending()
            .filter(|instant| instant.action == Action::Clustering)
        {
            let plan_path = timeline.path_of(plan);
            let planned: RequestedReplaceMetadata = timeline.read_plan(plan).await?;
            let groups = planned
                .clustering_plan
                .and_then(|plan| plan.input_groups)
                .unwrap_or_default();
            let mut slices = groups
                .iter()
                .flat_map(|group| group.slices.iter().flatten());
            if slices.any(|slice| {
                touched.contains(&(slice.partition_path.as_deref(), slice.file_id.as_deref()))
            }) {
                return conflict(format!(
                    "it changes file groups that {plan_path} is to replace; execute or cancel the clustering first"
                ));
            }
        }
        for other in timeline
            .completed_writes()
            .filter(|instant| !self.seen.contains(&instant.time))
        {
            let metadata = timeline.read_metadata(other).await?;
            if metadata
                .write_stats()
                .any(|stat| touched.contains(&group_key(stat)) || is_replaced(replaced, stat))
            {
                return conflict(format!(
                    "{other} has changed one of its file groups; write its rows again"
                ));
            }
        }
        Ok(())
    }

    /// The bytes of the completed file.
    fn metadata(
        &self,
        extra_metadata: BTreeMap<String, String>,
        replaced: &Replaced,
    ) -> Result<Vec<u8>> {
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
        for stat in self.upserter.written() {
            metadata.add_stat(stat.clone());
        }
        if self.operation.is_replace() {
            metadata.partition_to_replace_file_ids.clone_from(replaced);
            metadata.encode_replace_avro()
        } else {
            metadata.encode_avro()
        }
    }
}

/// Whether another writer has put rows where this instant replaces all there is.
fn is_replaced(replaced: &Replaced, stat: &WriteStat) -> bool {
    let path = stat.partition_path.as_ref();
    path.is_some_and(|path| replaced.contains_key(path))
}

fn without(mut index: KeyRangeIndex, replaced: &Replaced) -> KeyRangeIndex {
    for (path, file_ids) in replaced {
        for file_id in file_ids {
            index.remove(path, file_id);
        }
    }
    index
}

fn group_key(stat: &WriteStat) -> (Option<&str>, Option<&str>) {
    (stat.partition_path.as_deref(), stat.file_id.as_deref())
}
