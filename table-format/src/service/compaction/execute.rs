//! The execution of a plan: debris of earlier attempts goes, base files are written, and the instant is completed.
//!
//! Until it completes nothing is visible, and the plan stays whatever happens: whoever comes next begins again. Java:
//! RunCompactionActionExecutor; Spec: Hudi 1.2.0, "Compaction".

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::config::TableConfig;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::FileSlice;
use crate::service::rewriting::{Rewriter, remove_debris};
use crate::storage::Storage;
use crate::table::Table;
use crate::timeline::metadata::{CompactionPlan, WriteOperation};
use crate::timeline::{ActiveTimeline, Instant, State};
use crate::transaction::{Completed, ServiceAction, delete_markers, disable_metadata_table};
use crate::writer::WriterOptions;

use super::ExecutedCompaction;
use super::inputs::Inputs;
use super::merge::MergedSlice;
use super::options::CompactionOptions;
use super::strategy::log_bytes;

/// Plans hold file names since version 2, whole paths in version 1.
const PLAN_VERSION_MAX: i32 = 2;

/// What an execution works with, once its instant is inflight.
pub(in crate::service) struct Begun {
    /// The slices of the plan.
    pub(in crate::service) slices: Vec<FileSlice>,
    pub(in crate::service) rewriter: Rewriter,
    pub(in crate::service) action: ServiceAction,
}

/// Begins, or begins again, the execution of a planned compaction or log compaction: what an earlier attempt left goes.
///
/// # Errors
/// `Unsupported` for a plan or a table that is not understood; `Corrupt` when files of the plan are not those of its slices; what
/// the store says.
pub(in crate::service) async fn begin(
    storage: &Storage,
    env: &Env,
    config: &TableConfig,
    timeline: &ActiveTimeline,
    pending: &Instant,
    options: &WriterOptions,
) -> Result<Begun> {
    let time = &pending.time;
    let plan: CompactionPlan = timeline.read_plan(pending).await?;
    if plan
        .version
        .is_some_and(|version| version > PLAN_VERSION_MAX)
    {
        let version = plan.version.unwrap_or_default();
        return Err(Error::unsupported(format!(
            "its plan is of version {version}"
        )));
    }
    let inputs = Inputs::find(storage, config, timeline, &plan, pending).await?;
    let rewriter = Rewriter::begin(storage, env, config, timeline, time, options).await?;
    remove_debris(storage, time, &inputs.debris).await?;
    let mut action = ServiceAction::resume(storage, env, config, pending);
    action.start(Bytes::new()).await?;
    Ok(Begun {
        slices: inputs.slices,
        rewriter,
        action,
    })
}

/// Executes the plan of `pending`.
pub(super) async fn execute(
    storage: &Storage,
    env: &Env,
    config: &TableConfig,
    timeline: &ActiveTimeline,
    pending: &Instant,
    options: &CompactionOptions,
) -> Result<ExecutedCompaction> {
    let time = &pending.time;
    let begun = begin(storage, env, config, timeline, pending, &options.writer).await?;
    let (rewriter, action) = (begun.rewriter, begun.action);
    let merged: Vec<MergedSlice> = stream::iter(&begun.slices)
        .map(|slice| rewriter.merge(slice))
        .buffer_unordered(options.writer.parallelism)
        .try_collect()
        .await?;

    let paths = merged.iter().map(|slice| slice.path.as_str());
    let config = check_still_ours(storage, config, pending, paths).await?;
    disable_metadata_table(storage, env, &config).await?;
    let mut metadata = rewriter.metadata(WriteOperation::Compact)?;
    for slice in &merged {
        metadata.add_stat(slice.stat.clone());
    }
    let payload = metadata.encode_for(config.version(), action.instant())?;
    let check = async |now: &ActiveTimeline| rewriter.check_columns(now, pending).await;
    let instant = match action.complete_if(payload, check).await? {
        Completed::Now(instant) => instant,
        Completed::Before(instant) => {
            let paths = merged.iter().filter_map(|slice| slice.stat.path.as_ref());
            for path in paths {
                storage.delete(path).await?;
            }
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("another writer has executed the plan: {instant}"),
            ));
        }
    };
    if let Err(error) = delete_markers(storage, time).await {
        // The commit stands; leftover markers harm nobody.
        tracing::warn!(instant = %time, %error, "markers were left behind");
    }
    let executed = summary(instant, &begun.slices, &merged);
    tracing::info!(
        table = config.name(), instant = %time, groups = executed.groups, log_files = executed.log_files,
        rows = executed.rows, "compacted"
    );
    Ok(executed)
}

/// What an execution did.
fn summary(instant: Instant, slices: &[FileSlice], merged: &[MergedSlice]) -> ExecutedCompaction {
    let sum = |of: fn(&MergedSlice) -> u64| merged.iter().map(of).sum::<u64>();
    let base_bytes = slices.iter().filter_map(|slice| slice.base_file.as_ref());
    ExecutedCompaction {
        instant,
        groups: merged.len() as u64,
        log_files: slices
            .iter()
            .map(|slice| slice.log_files.len() as u64)
            .sum(),
        rows: sum(|slice| slice.rows),
        bytes_in: base_bytes.map(|file| file.size_bytes).sum::<u64>()
            + slices.iter().map(log_bytes).sum::<u64>(),
        bytes_out: sum(|slice| slice.size_bytes),
    }
}

/// Nobody else may have completed or begun the plan again meanwhile: whoever begins again removes our files. The table's
/// settings are read anew (hazard 26).
pub(in crate::service) async fn check_still_ours(
    storage: &Storage,
    config: &TableConfig,
    pending: &Instant,
    written: impl Iterator<Item = &str>,
) -> Result<TableConfig> {
    let conflict = |what: String| Err(Error::new(ErrorKind::Conflict, what));
    let table = Table::open_storage(storage.clone()).await?;
    if table.config().version() != config.version() {
        return conflict(format!(
            "another engine took the table from version {} to {}; execute the plan again",
            config.version(),
            table.config().version()
        ));
    }
    let timeline = table.timeline().await?;
    let ours = timeline.find(&pending.time, pending.action);
    if ours.is_none_or(|instant| instant.state != State::Inflight) {
        return conflict("another writer has completed or cancelled it meanwhile".to_owned());
    }
    for path in written {
        let found = storage.size(path).await;
        if found
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::NotFound)
        {
            return conflict(format!(
                "{path} is gone: another writer has begun the plan again"
            ));
        }
        found?;
    }
    Ok(table.config().clone())
}
