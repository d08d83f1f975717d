//! The plan: which slices, with which files, and that nothing completed before it is missing.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::TableConfig;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::view::latest_slices;
use crate::file_group::{FileSlice, Horizon, Visibility};
use crate::service::planned_groups::groups_in_plans;
use crate::storage::Storage;
use crate::timeline::metadata::{CompactionOperation, CompactionPlan, Payload};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime};
use crate::transaction::{ServiceAction, TableLock, is_clustering, next_time};

use super::options::CompactionOptions;
use super::strategy::log_bytes;
use super::{Due, PlannedCompaction};

/// How often a plan is made anew because a writer completed while it was made.
const ATTEMPTS: usize = 5;

/// Makes plans of slices that are to be merged, and puts them on the timeline.
pub(in crate::service) struct Planner<'a> {
    pub(in crate::service) storage: &'a Storage,
    pub(in crate::service) env: &'a Env,
    pub(in crate::service) config: &'a TableConfig,
    /// A compaction, or a log compaction.
    pub(in crate::service) action: Action,
}

/// Puts a plan on the timeline, if one is due and there is something to merge.
pub(super) async fn schedule(
    storage: &Storage,
    env: &Env,
    config: &TableConfig,
    timeline: ActiveTimeline,
    options: &CompactionOptions,
    due: Due,
) -> Result<Option<PlannedCompaction>> {
    let planner = Planner {
        storage,
        env,
        config,
        action: Action::Compaction,
    };
    let is_due = |timeline: &ActiveTimeline, time: &InstantTime| {
        due == Due::Now || options.trigger.is_due(timeline, time)
    };
    let choose =
        async |slices: Vec<FileSlice>, _: &ActiveTimeline| Ok(options.selection.choose(slices));
    let plan = |slices: &[FileSlice]| plan_of(slices, |slice| options.selection.metrics(slice));
    planner.schedule(timeline, due, is_due, choose, plan).await
}

impl Planner<'_> {
    /// Puts a plan of the slices that `choose` leaves on the timeline, if it leaves any.
    ///
    /// # Errors
    /// `Conflict` when writers complete faster than a plan can be made, or a write is pending on version 6 and the plan is to
    /// be made at once; what the store says.
    pub(in crate::service) async fn schedule(
        &self,
        mut timeline: ActiveTimeline,
        due: Due,
        is_due: impl Fn(&ActiveTimeline, &InstantTime) -> bool,
        choose: impl AsyncFn(Vec<FileSlice>, &ActiveTimeline) -> Result<Vec<FileSlice>>,
        plan_of: impl Fn(&[FileSlice]) -> CompactionPlan,
    ) -> Result<Option<PlannedCompaction>> {
        let (storage, config) = (self.storage, self.config);
        for _ in 0..ATTEMPTS {
            if config.version().shares_logs()
                && let Some(write) = pending_write(config, &timeline).await?
            {
                if due == Due::WhenTriggered {
                    return Ok(None);
                }
                let message = format!(
                    "table {}: {write} is pending, and on version 6 compactions are planned between writes; try again when it \
                     has completed or is rolled back",
                    config.name()
                );
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            // The time comes before the listing: what completes later belongs to the slice that the plan begins.
            let time = next_time(config, self.env, &timeline, None).await?;
            if !is_due(&timeline, &time) {
                return Ok(None);
            }
            let slices = candidates(storage, config, &timeline).await?;
            let slices = choose(slices, &timeline).await?;
            if slices.is_empty() {
                return Ok(None);
            }
            let payload = plan_of(&slices).encode_avro()?;
            if let Some(instant) = self.request(&timeline, time, payload).await? {
                let planned = PlannedCompaction {
                    instant,
                    groups: slices.len() as u64,
                    log_files: slices
                        .iter()
                        .map(|slice| slice.log_files.len() as u64)
                        .sum(),
                    log_bytes: slices.iter().map(log_bytes).sum(),
                };
                tracing::info!(table = config.name(), instant = %planned.instant, groups = planned.groups, "planned");
                return Ok(Some(planned));
            }
            timeline = ActiveTimeline::load(storage, config).await?;
        }
        let message = format!(
            "table {}: writers complete faster than a compaction can be planned; try again",
            config.name()
        );
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Announces a plan that was made from `seen` under a time that was taken before, unless the plan has become untrue since:
    /// then there is no instant. Under the lock that writes begin and complete under.
    async fn request(
        &self,
        seen: &ActiveTimeline,
        time: InstantTime,
        plan: Vec<u8>,
    ) -> Result<Option<Instant>> {
        let (storage, env, config) = (self.storage, self.env, self.config);
        let guard = TableLock::try_new(storage, env)?.acquire().await?;
        let requested = async {
            let now = ActiveTimeline::load(storage, config).await?;
            let is_true = if config.version().shares_logs() {
                // The logs of a write bear the instant of the plan when they come after it, so a plan is announced only while
                // no write is pending and the timeline is as it was.
                now.instants() == seen.instants()
            } else {
                is_unused(&now, &time) && is_complete(seen, &now, &time)
            };
            if !is_true {
                return Ok(None);
            }
            guard.check().await?;
            let announced = ServiceAction::announce(storage, env, config, self.action, time, plan);
            Ok(Some(announced.await?.instant().clone()))
        };
        let requested = requested.await;
        guard.release().await;
        requested
    }
}

/// Whether no other instant bears this time, as a write may that began after it was taken: the files of both would pass for
/// those of either, and whoever removes what a failed attempt left would remove rows.
fn is_unused(now: &ActiveTimeline, time: &InstantTime) -> bool {
    now.instants().iter().all(|instant| instant.time != *time)
}

/// A write under way, or dead and not rolled back. A pending clustering is a plan.
async fn pending_write(config: &TableConfig, timeline: &ActiveTimeline) -> Result<Option<Instant>> {
    let writes = timeline.pending().filter(|instant| {
        matches!(
            instant.action,
            Action::Commit | Action::DeltaCommit | Action::ReplaceCommit
        )
    });
    for write in writes {
        if !is_clustering(config, timeline, write).await? {
            return Ok(Some(write.clone()));
        }
    }
    Ok(None)
}

/// Whether no write has completed before the plan's time that was not seen when the plan was made (hazard 18), and no
/// other plan was made meanwhile, which might name the same groups (hazard 20).
fn is_complete(seen: &ActiveTimeline, now: &ActiveTimeline, time: &InstantTime) -> bool {
    let known: BTreeSet<&Instant> = seen.instants().iter().collect();
    let mut late = now.instants().iter().filter(|instant| {
        let matters = match instant.action {
            Action::Compaction | Action::LogCompaction | Action::Clustering => true,
            _ => instant.action.is_write() && instant.completion.is_some(),
        };
        matters && instant.end_time() < time && !known.contains(instant)
    });
    late.next().is_none()
}

/// The newest slices with logs whose groups stand in no plan (hazards 19 and 20). The logs of writes that are not completed
/// are not among them.
async fn candidates(
    storage: &Storage,
    config: &TableConfig,
    timeline: &ActiveTimeline,
) -> Result<Vec<FileSlice>> {
    let planned = groups_in_plans(timeline).await?;
    let visibility = Visibility::new(timeline, Horizon::Latest);
    let mut slices = latest_slices(storage, config, timeline, &visibility).await?;
    slices.retain(|slice| {
        !slice.log_files.is_empty()
            && !planned.contains(&(slice.partition_path.clone(), slice.file_id.clone()))
    });
    Ok(slices)
}

/// The plan of some slices, with the measures of each.
pub(in crate::service) fn plan_of(
    slices: &[FileSlice],
    metrics: impl Fn(&FileSlice) -> BTreeMap<String, f64>,
) -> CompactionPlan {
    let operations = slices.iter().map(|slice| CompactionOperation {
        base_instant_time: Some(slice.base_instant.to_string()),
        delta_file_paths: Some(slice.log_files.iter().map(ToString::to_string).collect()),
        data_file_path: slice.base_file.as_ref().map(ToString::to_string),
        file_id: Some(slice.file_id.clone()),
        partition_path: Some(slice.partition_path.clone()),
        metrics: Some(metrics(slice)),
        bootstrap_file_path: None,
    });
    CompactionPlan {
        operations: Some(operations.collect()),
        extra_metadata: Some(BTreeMap::new()),
        ..CompactionPlan::default()
    }
}
