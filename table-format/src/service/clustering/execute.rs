//! The execution of a plan: debris of earlier attempts goes, file groups are written, and the instant is completed.
//!
//! Until it completes nothing is visible, and the plan stays whatever happens: whoever comes next begins again. Java:
//! MultipleSparkJobExecutionStrategy, BaseHoodieTableServiceClient#cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::Mutex;

use crate::config::TableConfig;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::view::PartitionFiles;
use crate::service::rewriting::{Rewriter, remove_debris, written_by};
use crate::storage::Storage;
use crate::table::Table;
use crate::timeline::metadata::{ClusteringPlan, RequestedReplaceMetadata, WriteOperation};
use crate::timeline::{ActiveTimeline, Instant, InstantTime, State};
use crate::transaction::{
    Completed, FailedWrites, FailedWritesPolicy, Heartbeat, Heartbeats, Replaced, ServiceAction,
    check_clustered, delete_markers, disable_metadata_table,
};

use super::ExecutedClustering;
use super::inputs::Inputs;
use super::options::{ClusteringOptions, LAYOUT, SORT_COLUMNS, names};
use super::plan::slice_bytes;
use super::rewrite::{RewriteOptions, RewrittenFile};
use super::sort::SortKey;

/// The part of the memory ceiling that all groups together may sort in: rows are there two or three times.
const SORTING_PART: u64 = 8;
const RUN_BYTES_MIN: u64 = 1 << 20;

/// Executes the plan of `pending`.
pub(super) async fn execute(
    storage: &Storage,
    env: &Env,
    config: &TableConfig,
    timeline: &ActiveTimeline,
    pending: &Instant,
    options: &ClusteringOptions,
) -> Result<ExecutedClustering> {
    let heartbeat = begin_to_beat(storage, env, options, pending).await?;
    let execution = Execution {
        storage,
        env,
        config,
        timeline,
        pending,
        options,
        heartbeat: heartbeat.as_ref(),
    };
    let executed = execution.run().await;
    if let Some(heartbeat) = heartbeat
        && let Err(error) = heartbeat.stop().await
    {
        tracing::warn!(instant = %pending.time, %error, "the heartbeat file was left behind");
    }
    executed
}

/// One attempt at a plan.
struct Execution<'a> {
    storage: &'a Storage,
    env: &'a Env,
    config: &'a TableConfig,
    timeline: &'a ActiveTimeline,
    pending: &'a Instant,
    options: &'a ClusteringOptions,
    heartbeat: Option<&'a Heartbeat>,
}

impl Execution<'_> {
    async fn run(&self) -> Result<ExecutedClustering> {
        let (storage, config, timeline) = (self.storage, self.config, self.timeline);
        let time = &self.pending.time;
        let planned: RequestedReplaceMetadata = timeline.read_plan(self.pending).await?;
        let plan = planned
            .clustering_plan
            .ok_or_else(|| Error::corrupt(timeline.path_of(self.pending), "it holds no plan"))?;
        let inputs = Inputs::find(storage, config, timeline, &plan, self.pending).await?;
        let writer = &self.options.writer;
        let rewriter = Rewriter::begin(storage, self.env, config, timeline, time, writer).await?;
        let key = sort_key(&rewriter, &plan, self.options)?;
        remove_debris(storage, time, &inputs.debris).await?;
        let mut action = ServiceAction::resume(storage, self.env, config, self.pending);
        action.start(Bytes::new()).await?;
        let written = rewrite_all(&rewriter, &inputs, key, self.options).await?;
        let instant = self.complete(action, &rewriter, &inputs, &written).await?;
        if let Err(error) = delete_markers(storage, time).await {
            // The clustering stands; leftover markers harm nobody.
            tracing::warn!(instant = %time, %error, "markers were left behind");
        }
        let executed = summary(instant, &inputs, &written);
        tracing::info!(
            table = config.name(), instant = %time, replaced = executed.replaced_file_groups,
            new = executed.new_file_groups, rows = executed.rows, "clustered"
        );
        Ok(executed)
    }

    /// Makes the new file groups visible and puts the old ones out of sight, if nobody has changed those since.
    async fn complete(
        &self,
        action: ServiceAction,
        rewriter: &Rewriter,
        inputs: &Inputs,
        written: &[RewrittenFile],
    ) -> Result<Instant> {
        let seen: BTreeSet<InstantTime> = self
            .timeline
            .completed_writes()
            .map(|instant| instant.time.clone())
            .collect();
        let replaced = inputs.replaced();
        let config = require_version(self.storage, self.config).await?;
        let completed = Instant {
            state: State::Completed,
            ..self.pending.clone()
        };
        let mut metadata = rewriter.metadata(WriteOperation::Cluster)?;
        for file in written {
            metadata.add_stat(file.stat.clone());
        }
        metadata.partition_to_replace_file_ids.clone_from(&replaced);
        let metadata = metadata.encode_for(config.version(), &completed)?;
        disable_metadata_table(self.storage, self.env, &config).await?;
        let check = async |timeline: &ActiveTimeline| {
            self.heartbeat.map_or(Ok(()), Heartbeat::check)?;
            check_still_ours(self.storage, timeline, self.pending, written).await?;
            check_clustered(timeline, self.pending, &replaced, &seen).await?;
            rewriter.check_columns(timeline, self.pending).await?;
            remove_strays(self.storage, self.pending, &replaced, written).await
        };
        match action.complete_if(metadata, check).await? {
            Completed::Now(instant) => Ok(instant),
            Completed::Before(instant) => {
                for file in written {
                    self.storage.delete(&file.path).await?;
                }
                let message = format!("another writer has executed the plan: {instant}");
                Err(Error::new(ErrorKind::Conflict, message))
            }
        }
    }
}

/// Whether nobody else may be at work on a plan. Without optimistic concurrency control there is one writer, and what it did
/// not complete is dead; with it an execution lives as long as its heartbeat, and one that has none may be another engine's.
pub(super) async fn may_be_taken_up(
    storage: &Storage,
    env: &Env,
    properties: &BTreeMap<String, String>,
    pending: &Instant,
) -> Result<bool> {
    if !env.locks.is_optimistic() || pending.state == State::Requested {
        return Ok(true);
    }
    let heartbeats = Heartbeats::load(storage).await?;
    let settings = FailedWrites::from_properties(properties)?;
    let has_heartbeat = heartbeats.instants().any(|time| *time == pending.time);
    Ok(has_heartbeat && !heartbeats.is_alive(&pending.time, env.clock.now(), &settings))
}

/// Announces under optimistic concurrency control that the plan is being executed.
async fn begin_to_beat(
    storage: &Storage,
    env: &Env,
    options: &ClusteringOptions,
    pending: &Instant,
) -> Result<Option<Heartbeat>> {
    if !env.locks.is_optimistic() {
        return Ok(None);
    }
    let settings = FailedWrites {
        policy: FailedWritesPolicy::Lazy,
        ..options.writer.failed_writes.clone()
    };
    let heartbeats = Heartbeats::load(storage).await?;
    if heartbeats.is_alive(&pending.time, env.clock.now(), &settings) {
        let message = "another process is executing it (its heartbeat is fresh)";
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    Heartbeat::start(storage, env, &pending.time, &settings).await
}

/// What the plan says of the order, or else the settings.
fn sort_key(
    rewriter: &Rewriter,
    plan: &ClusteringPlan,
    options: &ClusteringOptions,
) -> Result<Option<Arc<SortKey>>> {
    let params = plan
        .strategy
        .as_ref()
        .and_then(|strategy| strategy.strategy_params.as_ref());
    let param = |key: &str| params.and_then(|params| params.get(key));
    let columns = match param(SORT_COLUMNS) {
        Some(columns) => names(Some(columns)),
        None => options.sort_columns.clone(),
    };
    let layout = param(LAYOUT).map_or(Ok(options.layout), |text| text.parse())?;
    if columns.is_empty() {
        return Ok(None);
    }
    let key = SortKey::try_new(&rewriter.format.schema, &columns, layout)?;
    Ok(Some(Arc::new(key)))
}

async fn rewrite_all(
    rewriter: &Rewriter,
    inputs: &Inputs,
    key: Option<Arc<SortKey>>,
    options: &ClusteringOptions,
) -> Result<Vec<RewrittenFile>> {
    let parallelism = options.writer.parallelism;
    let ceiling = rewriter.env.memory.ceiling_bytes();
    let run_bytes = ceiling / SORTING_PART / parallelism as u64;
    let rewrite = RewriteOptions {
        key,
        spill_dir: &options.spill_dir,
        run_bytes: run_bytes.max(RUN_BYTES_MIN),
        target_file_bytes: options.packing.target_file_bytes,
        logs: Mutex::default(),
    };
    let written: Vec<Vec<RewrittenFile>> = stream::iter(&inputs.groups)
        .map(|slices| rewriter.rewrite(slices, &rewrite))
        .buffered(parallelism)
        .try_collect()
        .await?;
    Ok(written.into_iter().flatten().collect())
}

/// The table's settings, read anew (hazard 26).
async fn require_version(storage: &Storage, config: &TableConfig) -> Result<TableConfig> {
    let table = Table::open_storage(storage.clone()).await?;
    if table.config().version() == config.version() {
        return Ok(table.config().clone());
    }
    let message = format!(
        "another engine took the table from version {} to {}; execute the plan again",
        config.version(),
        table.config().version()
    );
    Err(Error::new(ErrorKind::Conflict, message))
}

/// Nobody else may have cancelled the plan or begun it again meanwhile: whoever begins again removes our files.
async fn check_still_ours(
    storage: &Storage,
    timeline: &ActiveTimeline,
    pending: &Instant,
    written: &[RewrittenFile],
) -> Result<()> {
    let conflict = |what: String| Err(Error::new(ErrorKind::Conflict, what));
    let ours = timeline.find(&pending.time, pending.action);
    if ours.is_none_or(|instant| instant.state != State::Inflight) {
        return conflict("another writer has cancelled it meanwhile".to_owned());
    }
    for file in written {
        if !storage.exists(&file.path).await? {
            let path = &file.path;
            return conflict(format!(
                "{path} is gone: another writer has begun the plan again"
            ));
        }
    }
    Ok(())
}

/// Deletes what bears the instant and is not ours, right before it becomes visible: the last file of an attempt that was given
/// up may have come after we looked for its debris. Java: HoodieTable#reconcileAgainstMarkers.
async fn remove_strays(
    storage: &Storage,
    clustering: &Instant,
    replaced: &Replaced,
    written: &[RewrittenFile],
) -> Result<()> {
    let ours: BTreeSet<&str> = written.iter().map(|file| file.path.as_str()).collect();
    for partition_path in replaced.keys() {
        let partition = PartitionFiles {
            partition_path: partition_path.clone(),
            files: storage.list(partition_path).await?.files,
        };
        for path in written_by(&partition, clustering) {
            if !ours.contains(path.as_str()) {
                storage.delete(&path).await?;
            }
        }
    }
    Ok(())
}

fn summary(instant: Instant, inputs: &Inputs, written: &[RewrittenFile]) -> ExecutedClustering {
    ExecutedClustering {
        instant,
        replaced_file_groups: inputs.slices().count() as u64,
        new_file_groups: written.len() as u64,
        rows: written.iter().map(|file| file.rows).sum(),
        bytes_in: inputs.slices().map(slice_bytes).sum(),
        bytes_out: written.iter().map(|file| file.size_bytes).sum(),
    }
}
