//! The plan: the slices whose logs are worth folding.

use std::collections::{BTreeMap, HashSet};

use crate::config::TableConfig;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::file_group::FileSlice;
use crate::service::compaction::{
    Due, PlannedCompaction, Planner, delta_commits_since_compaction, metrics_of, plan_of,
};
use crate::storage::Storage;
use crate::timeline::metadata::{CompactionPlan, CompactionStrategy, WriteOperation};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime, State};
use crate::writer::WriterOptions;

const INLINE: &str = "hoodie.log.compaction.inline";
const ENABLE: &str = "hoodie.log.compaction.enable";
const BLOCKS_THRESHOLD: &str = "hoodie.log.compaction.blocks.threshold";
/// Logs of which one is made of several, at least.
const LOGS_MIN: usize = 2;
/// The class that executes such a plan in Hudi. Java: HoodieLogCompactionPlanGenerator.
const EXECUTOR: &str = "org.apache.hudi.table.action.compact.LogCompactionExecutionHelper";

/// Settings of the log compactions of one table. Java: HoodieCompactionConfig.
#[derive(Debug, Clone)]
pub(super) struct LogCompactionOptions {
    /// Whether they run beside the writer.
    pub(super) is_inline: bool,
    /// Logs of a slice that make one due. Hudi counts blocks; most writes make one block a slice.
    logs_min: usize,
    /// How logs are written, and how many side by side.
    pub(super) writer: WriterOptions,
}

impl LogCompactionOptions {
    /// The options that `properties` set.
    ///
    /// # Errors
    /// `Invalid` for a value that does not parse.
    pub(super) fn from_properties(properties: &BTreeMap<String, String>) -> Result<Self> {
        let text = |key: &str| properties.get(key).map(|text| text.trim());
        let is_set = |key: &str| match text(key) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Error::invalid(format!(
                "{key}={other}: expected true or false"
            ))),
        };
        let logs_min = text(BLOCKS_THRESHOLD).map_or(Ok(5), str::parse);
        let logs_min = logs_min.map_err(|_| {
            Error::invalid(format!("{BLOCKS_THRESHOLD}: expected a number from 0 on"))
        })?;
        Ok(Self {
            is_inline: is_set(INLINE)? || is_set(ENABLE)?,
            logs_min,
            writer: WriterOptions::from_properties(properties)?,
        })
    }
}

/// Puts a plan on the timeline, if there is something to fold.
pub(super) async fn schedule(
    storage: &Storage,
    env: &Env,
    config: &TableConfig,
    timeline: ActiveTimeline,
    options: &LogCompactionOptions,
    due: Due,
) -> Result<Option<PlannedCompaction>> {
    let logs_min = match due {
        Due::Now => LOGS_MIN,
        Due::WhenTriggered => options.logs_min.max(LOGS_MIN),
    };
    let planner = Planner {
        storage,
        env,
        config,
        action: Action::LogCompaction,
    };
    let choose = async |slices: Vec<FileSlice>, timeline: &ActiveTimeline| {
        if !slices.iter().any(|slice| slice.log_files.len() >= logs_min) {
            return Ok(Vec::new());
        }
        let folded = folded_logs(timeline).await?;
        let is_worth_it = |slice: &FileSlice| {
            let logs = slice.log_files.iter();
            logs.filter(|log| !folded.contains(&log.to_string()))
                .count()
                >= logs_min
        };
        Ok(slices.into_iter().filter(is_worth_it).collect())
    };
    let is_due = |timeline: &ActiveTimeline, _: &InstantTime| {
        due == Due::Now || delta_commits_since_compaction(timeline) >= logs_min
    };
    let plan = |slices: &[FileSlice]| log_plan_of(slices, options);
    planner.schedule(timeline, due, is_due, choose, plan).await
}

/// The names of the log files that completed log compactions have folded. Those that are archived are not known: their logs are
/// folded once more.
async fn folded_logs(timeline: &ActiveTimeline) -> Result<HashSet<String>> {
    let mut folded = HashSet::new();
    let delta_commits = timeline.completed();
    for instant in delta_commits.filter(|instant| instant.action == Action::DeltaCommit) {
        let metadata = timeline.read_metadata(instant).await?;
        if metadata.operation_type.as_deref() != Some(WriteOperation::LogCompact.as_str()) {
            continue;
        }
        let planned = Instant {
            action: Action::LogCompaction,
            state: State::Requested,
            ..instant.clone()
        };
        let plan: CompactionPlan = timeline.read_plan(&planned).await?;
        let operations = plan.operations.into_iter().flatten();
        folded.extend(
            operations.flat_map(|operation| operation.delta_file_paths.unwrap_or_default()),
        );
    }
    Ok(folded)
}

fn log_plan_of(slices: &[FileSlice], options: &LogCompactionOptions) -> CompactionPlan {
    let metrics = |slice: &FileSlice| metrics_of(slice, options.writer.file_bytes_max);
    CompactionPlan {
        strategy: Some(CompactionStrategy {
            compactor_class_name: Some(EXECUTOR.to_owned()),
            strategy_params: Some(BTreeMap::new()),
            version: Some(1),
        }),
        preserve_hoodie_metadata: Some(true),
        ..plan_of(slices, metrics)
    }
}
