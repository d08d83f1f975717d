//! What a query sees of a table: schema, slices, and which rows.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use futures::stream::BoxStream;

use crate::config::{TableConfig, TableVersion};
use crate::error::{Error, Result};
use crate::file_group::ParquetSource;
use crate::file_group::view::latest_slices;
use crate::file_group::{BaseFile, FileSlice, Horizon, LogFile, Visibility};
use crate::reader::{CommitFilter, ReadContext, ReadOptions, read_slice};
use crate::schema::avro::avro_to_arrow;
use crate::schema::evolution::{Evolution, SchemaHistory};
use crate::schema::meta::{with_meta_columns, without_meta_columns};
use crate::table::Table;
use crate::timeline::archived::Selection;
use crate::timeline::metadata::CommitMetadata;
use crate::timeline::{ActiveTimeline, Instant, InstantTime};

/// A table as of some instant; what it shows does not change while others write.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(super) context: ReadContext,
    pub(super) slices: Vec<FileSlice>,
    pub(super) instant: Option<InstantTime>,
}

impl Snapshot {
    /// Schema of the rows; the five meta columns come first, where the table has them.
    pub fn schema(&self) -> &SchemaRef {
        &self.context.schema
    }

    /// The properties of the table.
    pub fn config(&self) -> &TableConfig {
        &self.context.config
    }

    /// The slices to read; each key is in one of them.
    pub fn slices(&self) -> &[FileSlice] {
        &self.slices
    }

    /// The last completed write that is part of it; `None` for a table without any.
    pub fn instant(&self) -> Option<&InstantTime> {
        self.instant.as_ref()
    }

    /// The merged rows of a slice, as a stream of batches of at most `batch_rows_max` rows.
    ///
    /// # Errors
    /// `Corrupt` when a file breaks its format; `Unsupported` for merge rules that run code of the user's; `Unavailable`
    /// when the store gives up. The stream's items fail likewise.
    pub async fn read_slice(
        &self,
        slice: &FileSlice,
        options: &ReadOptions,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        read_slice(self.context.clone(), slice, options).await
    }
}

impl Table {
    /// The table now, or as it was at `as_of`: with every write that began no later and has completed.
    ///
    /// # Errors
    /// `Corrupt` when the timeline cannot be read; `Unavailable` when the store gives up.
    pub async fn snapshot(&self, as_of: Option<&InstantTime>) -> Result<Snapshot> {
        let timeline = self.timeline().await?;
        let horizon = as_of.map_or(Horizon::Latest, |time| Horizon::BegunBy(time.clone()));
        self.snapshot_of(&timeline, horizon, &[]).await
    }

    /// The rows of base files only: fast, and as old as the last compaction.
    ///
    /// # Errors
    /// As [`Table::snapshot`].
    pub async fn read_optimized(&self, as_of: Option<&InstantTime>) -> Result<Snapshot> {
        let mut snapshot = self.snapshot(as_of).await?;
        snapshot.slices.retain_mut(|slice| {
            slice.log_files.clear();
            slice.base_file.is_some()
        });
        Ok(snapshot)
    }

    /// The latest state (as of `until`) of the rows that changed in `(since, until]`, by completion times of their
    /// commits, archived or not; on version 6, which keeps none, by begin times.
    ///
    /// # Errors
    /// As [`Table::snapshot`]; `NotFound` when files that a commit of the range wrote have been cleaned away since.
    pub async fn incremental(
        &self,
        since: Option<&InstantTime>,
        until: Option<&InstantTime>,
    ) -> Result<Snapshot> {
        if !self.config().populates_meta_fields() {
            let message = format!(
                "table `{}` keeps no commit times with its rows: read a snapshot",
                self.config().name()
            );
            return Err(Error::unsupported(message));
        }
        let timeline = self.timeline().await?;
        let horizon = until.map_or(Horizon::Latest, |time| match self.config().version() {
            TableVersion::Six => Horizon::BegunBy(time.clone()),
            TableVersion::Eight | TableVersion::Nine => Horizon::CompletedBy(time.clone()),
        });
        let mut groups = HashSet::new();
        let mut commits = self
            .archived_commits(&timeline, since, until, &mut groups)
            .await?;
        for instant in timeline
            .completed_writes()
            .filter(|instant| horizon.includes(instant))
        {
            if since.is_none_or(|since| instant.end_time() > since) {
                commits.add(&instant.time);
                collect_groups(&timeline.read_metadata(instant).await?, &mut groups);
            }
        }
        let beyond = match &horizon {
            Horizon::CompletedBy(until) => self.archived_beyond(until).await?,
            Horizon::Latest | Horizon::BegunBy(_) => Vec::new(),
        };
        let mut snapshot = self.snapshot_of(&timeline, horizon, &beyond).await?;
        if !commits.has_unread() {
            snapshot.slices.retain(|slice| {
                groups.contains(&(slice.partition_path.clone(), slice.file_id.clone()))
            });
        }
        snapshot.context.commits = Some(Arc::new(commits));
        Ok(snapshot)
    }

    /// The archived commits of a range, and the file groups that they wrote to. On version 6, and from the very beginning, it
    /// takes no look at them: the begin times in the rows say it all.
    async fn archived_commits(
        &self,
        timeline: &ActiveTimeline,
        since: Option<&InstantTime>,
        until: Option<&InstantTime>,
        groups: &mut HashSet<(String, String)>,
    ) -> Result<CommitFilter> {
        if since.is_none() || !self.config().keeps_completion_times() {
            return Ok(CommitFilter::archived(timeline, since));
        }
        let mut commits = CommitFilter::default();
        let selection = Selection::default()
            .completed_after(since)
            .completed_by(until);
        self.archived()
            .await?
            .visit(&selection, |archived| {
                if archived.instant.action.is_write() {
                    let (instant, metadata) = archived.into_commit()?;
                    commits.add(&instant.time);
                    collect_groups(&metadata, groups);
                }
                Ok(())
            })
            .await?;
        Ok(commits)
    }

    async fn snapshot_of(
        &self,
        timeline: &ActiveTimeline,
        horizon: Horizon,
        archived: &[Instant],
    ) -> Result<Snapshot> {
        let instant = self.last_write(timeline, &horizon).await?;
        let evolution = self.evolution(timeline, &horizon).await?;
        let schema = self.schema_within(timeline, &horizon).await?;
        let visibility = Visibility::new(timeline, horizon).with_archived(archived);
        let slices = latest_slices(self.storage(), self.config(), timeline, &visibility).await?;
        let schema = match schema {
            Some(schema) => schema,
            None => self.schema_of_files(&slices).await?,
        };
        let mut context = self.read_context(&schema, visibility);
        context.evolution = evolution;
        Ok(Snapshot {
            context,
            slices,
            instant,
        })
    }

    /// How columns were called before the newest write that is read; `None` for tables without schema on read.
    pub(super) async fn evolution(
        &self,
        timeline: &ActiveTimeline,
        horizon: &Horizon,
    ) -> Result<Option<Evolution>> {
        let Some(history) = SchemaHistory::load(self.storage(), timeline).await? else {
            return Ok(None);
        };
        let read_at = self.last_begun(timeline, horizon).await?;
        Ok(read_at.map(|read_at| Evolution::new(history, read_at)))
    }

    /// How the slices that `visibility` shows are read as rows of `schema`.
    pub(super) fn read_context(&self, schema: &SchemaRef, visibility: Visibility) -> ReadContext {
        let schema = self.with_partition_columns(schema);
        ReadContext {
            storage: self.storage().clone(),
            config: Arc::new(self.config().clone()),
            schema: if self.config().populates_meta_fields() {
                with_meta_columns(&schema)
            } else {
                without_meta_columns(&schema)
            },
            visibility: Arc::new(visibility),
            commits: None,
            evolution: None,
        }
    }

    /// The schema of the last commit within the horizon that carries one, else that of the table's creation.
    pub(super) async fn schema_within(
        &self,
        timeline: &ActiveTimeline,
        horizon: &Horizon,
    ) -> Result<Option<SchemaRef>> {
        let committed = self.committed_schema(timeline, horizon).await?;
        match committed
            .as_deref()
            .or_else(|| self.config().create_schema())
        {
            Some(json) => avro_to_arrow(json).map(Some),
            None => Ok(None),
        }
    }

    /// Where base files lack the partition columns, commits may leave them out of the schema too.
    fn with_partition_columns(&self, schema: &SchemaRef) -> SchemaRef {
        if !self.config().drops_partition_columns() {
            return Arc::clone(schema);
        }
        let mut fields: Vec<FieldRef> = schema.fields().iter().map(Arc::clone).collect();
        for name in self.config().partition_fields() {
            if schema.index_of(&name).is_err() {
                fields.push(Arc::new(Field::new(name, DataType::Utf8, true)));
            }
        }
        Arc::new(Schema::new(fields))
    }

    /// No commit carries a schema: take that of a base file.
    async fn schema_of_files(&self, slices: &[FileSlice]) -> Result<SchemaRef> {
        let found = slices
            .iter()
            .rev()
            .find_map(|slice| slice.base_file.as_ref().map(|file| (slice, file)));
        match found {
            Some((slice, file)) => {
                let path = slice.path_of(&file.to_string());
                let source = ParquetSource::new(self.storage().clone(), path, file.size_bytes);
                Ok(SchemaRef::clone(source.open().await?.schema()))
            }
            None => Ok(Arc::new(Schema::empty())),
        }
    }
}

/// Adds the file groups that a commit wrote to.
fn collect_groups(metadata: &CommitMetadata, groups: &mut HashSet<(String, String)>) {
    for (partition, stats) in &metadata.partition_to_write_stats {
        let ids = stats
            .iter()
            .filter_map(|stat| match (&stat.file_id, &stat.path) {
                (Some(file_id), _) => Some(file_id.clone()),
                (None, Some(path)) => {
                    let name = path.rsplit('/').next().unwrap_or(path);
                    let base = BaseFile::parse(name, 0).map(|file| file.file_id);
                    base.or_else(|| LogFile::parse(name, 0).map(|file| file.file_id))
                }
                (None, None) => None,
            });
        groups.extend(ids.map(|file_id| (partition.clone(), file_id)));
    }
}
