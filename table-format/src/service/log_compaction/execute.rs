//! The execution of a plan: debris of earlier attempts goes, logs are written, and the instant is completed as a delta commit.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::config::TableConfig;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::view::{PartitionFiles, file_groups, with_archived_completions};
use crate::file_group::{FileSlice, Horizon, LogFile, Visibility, join_path};
use crate::schema::evolution::SchemaHistory;
use crate::service::compaction::Inputs;
use crate::service::rewriting::{Rewriter, remove_debris};
use crate::storage::Storage;
use crate::table::Table;
use crate::timeline::metadata::{CommitMetadata, CompactionPlan, SCHEMA_KEY, WriteOperation};
use crate::timeline::{ActiveTimeline, Instant, InstantTime, State};
use crate::transaction::{Completed, ServiceAction, delete_markers, disable_metadata_table};

use super::ExecutedLogCompaction;
use super::fold::{FoldedSlice, fold};
use super::plan::LogCompactionOptions;

/// Executes the plan of `pending`.
pub(super) async fn execute(
    storage: &Storage,
    env: &Env,
    config: &TableConfig,
    timeline: &ActiveTimeline,
    pending: &Instant,
    options: &LogCompactionOptions,
) -> Result<ExecutedLogCompaction> {
    let time = &pending.time;
    let plan: CompactionPlan = timeline.read_plan(pending).await?;
    SchemaHistory::require_none(storage, config.name()).await?;
    let inputs = Inputs::find(storage, config, timeline, &plan, time).await?;
    let schema = Table::new(storage.clone(), config.clone())
        .schema_text(timeline)
        .await?;
    let rewriter = Rewriter::try_new(
        storage,
        env,
        config,
        timeline,
        time,
        &schema,
        &options.writer,
    )?;
    remove_debris(
        storage,
        time,
        &logs_of(storage, &inputs.slices, time).await?,
    )
    .await?;
    let mut action = ServiceAction::resume(storage, env, config, pending);
    action.start(Bytes::new()).await?;
    let block_bytes = options.writer.log_block_bytes;
    let folded: Vec<FoldedSlice> = stream::iter(&inputs.slices)
        .map(|slice| fold(&rewriter, slice, block_bytes))
        .buffer_unordered(options.writer.parallelism)
        .try_collect()
        .await?;
    disable_metadata_table(storage, env, config).await?;
    let mut metadata = CommitMetadata::new(WriteOperation::LogCompact);
    metadata.extra_metadata = BTreeMap::from([(SCHEMA_KEY.to_owned(), schema)]);
    for slice in &folded {
        metadata.add_stat(slice.stat.clone());
    }
    let payload = metadata.encode_for(config.version(), action.instant())?;
    let check = async |now: &ActiveTimeline| {
        check_still_true(storage, config, now, pending, &inputs.slices, &folded).await
    };
    let instant = match action.complete_if(payload, check).await? {
        Completed::Now(instant) => instant,
        Completed::Before(instant) => {
            for slice in &folded {
                storage.delete(&slice.path).await?;
            }
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("another writer has executed the plan: {instant}"),
            ));
        }
    };
    if let Err(error) = delete_markers(storage, time).await {
        tracing::warn!(instant = %time, %error, "markers were left behind");
    }
    let executed = summary(instant, &inputs.slices, &folded);
    tracing::info!(
        table = config.name(), instant = %time, groups = executed.groups, log_files = executed.log_files,
        records = executed.records, "compacted logs"
    );
    Ok(executed)
}

/// The paths of the logs that earlier attempts at the plan have left.
async fn logs_of(
    storage: &Storage,
    slices: &[FileSlice],
    time: &InstantTime,
) -> Result<Vec<String>> {
    let mut debris = Vec::new();
    for partition_path in partitions_of(slices) {
        for file in storage.list(partition_path).await?.files {
            if LogFile::parse(&file.name, 0).is_some_and(|log| log.instant == *time) {
                debris.push(join_path(partition_path, &file.name));
            }
        }
    }
    Ok(debris)
}

fn partitions_of(slices: &[FileSlice]) -> BTreeSet<&str> {
    slices
        .iter()
        .map(|slice| slice.partition_path.as_str())
        .collect()
}

/// Nobody may have begun the plan again, which removes our files, and the slices must be those that were folded: on a newer base
/// file the folded records would count as changes that came after it.
async fn check_still_true(
    storage: &Storage,
    config: &TableConfig,
    now: &ActiveTimeline,
    pending: &Instant,
    slices: &[FileSlice],
    folded: &[FoldedSlice],
) -> Result<()> {
    let conflict = |what: String| Err(Error::new(ErrorKind::Conflict, what));
    let ours = now.find(&pending.time, pending.action);
    if ours.is_none_or(|instant| instant.state != State::Inflight) {
        return conflict("another writer has cancelled it meanwhile".to_owned());
    }
    let visibility = Visibility::new(now, Horizon::Latest);
    for partition_path in partitions_of(slices) {
        let partition = PartitionFiles {
            partition_path: partition_path.to_owned(),
            files: storage.list(partition_path).await?.files,
        };
        let one = std::slice::from_ref(&partition);
        let visibility = with_archived_completions(storage, config, one, &visibility).await?;
        let groups = file_groups(&partition, config.version(), &visibility);
        let folded_here = slices
            .iter()
            .filter(|slice| slice.partition_path == partition_path);
        for slice in folded_here {
            let newest = groups.get(&slice.file_id).and_then(|slices| slices.last());
            if newest.is_none_or(|newest| newest.base_file != slice.base_file) {
                return conflict(format!(
                    "file group {} has got another base file since its logs were planned to be folded; delete the plan from the timeline",
                    slice.file_id
                ));
            }
        }
        let names: BTreeSet<&str> = partition
            .files
            .iter()
            .map(|file| file.name.as_str())
            .collect();
        let written = folded.iter().filter_map(|slice| {
            let (folder, name) = slice.path.rsplit_once('/').unwrap_or(("", &slice.path));
            (folder == partition_path).then_some(name)
        });
        if let Some(gone) = written.into_iter().find(|name| !names.contains(name)) {
            return conflict(format!(
                "{gone} is gone: another writer has begun the plan again"
            ));
        }
    }
    Ok(())
}

fn summary(
    instant: Instant,
    slices: &[FileSlice],
    folded: &[FoldedSlice],
) -> ExecutedLogCompaction {
    let logs = || slices.iter().flat_map(|slice| &slice.log_files);
    ExecutedLogCompaction {
        instant,
        groups: slices.len() as u64,
        log_files: logs().count() as u64,
        records: folded.iter().map(|slice| slice.records).sum(),
        bytes_in: logs().map(|log| log.size_bytes).sum(),
        bytes_out: folded.iter().map(|slice| slice.size_bytes).sum(),
    }
}
