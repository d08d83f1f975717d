//! The execution of a plan: debris of earlier attempts goes, logs are written, and the instant is completed as a delta commit.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};

use crate::config::TableConfig;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::view::{PartitionFiles, file_groups, with_archived_completions};
use crate::file_group::{FileSlice, Horizon, Visibility};
use crate::service::compaction::{ExecutedCompaction, begin, check_still_ours};
use crate::storage::Storage;
use crate::timeline::metadata::WriteOperation;
use crate::timeline::{ActiveTimeline, Instant};
use crate::transaction::{Completed, delete_markers, disable_metadata_table};

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
) -> Result<ExecutedCompaction> {
    let time = &pending.time;
    let begun = begin(storage, env, config, timeline, pending, &options.writer).await?;
    let (slices, rewriter, action) = (begun.slices, begun.rewriter, begun.action);
    let block_bytes = options.writer.log_block_bytes;
    let folded: Vec<FoldedSlice> = stream::iter(&slices)
        .map(|slice| fold(&rewriter, slice, block_bytes))
        .buffer_unordered(options.writer.parallelism)
        .try_collect()
        .await?;
    let paths = folded.iter().map(|slice| slice.path.as_str());
    let config = check_still_ours(storage, config, pending, paths).await?;
    disable_metadata_table(storage, env, &config).await?;
    let mut metadata = rewriter.metadata(WriteOperation::LogCompact)?;
    for slice in &folded {
        metadata.add_stat(slice.stat.clone());
    }
    let payload = metadata.encode_for(config.version(), action.instant())?;
    let check = async |now: &ActiveTimeline| {
        check_base_files(storage, &config, now, &slices).await?;
        rewriter.check_columns(now, pending).await
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
    let executed = summary(instant, &slices, &folded);
    tracing::info!(
        table = config.name(), instant = %time, groups = executed.groups, log_files = executed.log_files,
        records = executed.rows, "compacted logs"
    );
    Ok(executed)
}

/// The slices must be those that were folded: on a newer base file the folded records would count as changes that came after it.
/// To be asked under the table's lock.
async fn check_base_files(
    storage: &Storage,
    config: &TableConfig,
    now: &ActiveTimeline,
    slices: &[FileSlice],
) -> Result<()> {
    let visibility = Visibility::new(now, Horizon::Latest);
    let partitions = slices.iter().map(|slice| slice.partition_path.as_str());
    for partition_path in partitions.collect::<BTreeSet<_>>() {
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
                let message = format!(
                    "file group {} has got another base file since its logs were planned to be folded; delete the plan from the timeline",
                    slice.file_id
                );
                return Err(Error::new(ErrorKind::Conflict, message));
            }
        }
    }
    Ok(())
}

fn summary(instant: Instant, slices: &[FileSlice], folded: &[FoldedSlice]) -> ExecutedCompaction {
    let logs = || slices.iter().flat_map(|slice| &slice.log_files);
    ExecutedCompaction {
        instant,
        groups: slices.len() as u64,
        log_files: logs().count() as u64,
        rows: folded.iter().map(|slice| slice.records).sum(),
        bytes_in: logs().map(|log| log.size_bytes).sum(),
        bytes_out: folded.iter().map(|slice| slice.size_bytes).sum(),
    }
}
