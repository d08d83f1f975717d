//! `ServiceAction`: an instant of a table service on its way from plan to completion.
//!
//! Writers go through [`Transaction`](super::Transaction). Clean, compaction, clustering, rollback, restore and their like
//! share this: a requested file with the plan, which any engine may take up after a crash, an inflight file, and the
//! completed file, which alone makes what was done count. Java: HoodieActiveTimeline#transition….

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::config::TableConfig;
use crate::env::Env;
use crate::error::{ErrorKind, Result};
use crate::storage::Storage;
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime, State};
use crate::transaction::lock::TableLock;
use crate::transaction::state::next_time;

/// Who completed an instant.
#[derive(Debug)]
pub(crate) enum Completed {
    /// This call.
    Now(Instant),
    /// Another writer, before.
    Before(Instant),
}

/// A service's instant under way.
#[derive(Debug)]
pub(crate) struct ServiceAction {
    storage: Storage,
    env: Env,
    config: TableConfig,
    instant: Instant,
}

impl ServiceAction {
    /// Puts a plan on the timeline, under a time later than everything there. Takes the table's lock for that moment.
    ///
    /// # Errors
    /// `Conflict` when the timeline is ahead of the clock; `AlreadyExists` when another writer took the same time.
    pub(crate) async fn request(
        storage: &Storage,
        env: &Env,
        config: &TableConfig,
        action: Action,
        plan: Vec<u8>,
    ) -> Result<Self> {
        let guard = TableLock::try_new(storage, env)?.acquire().await?;
        let requested = async {
            let timeline = ActiveTimeline::load(storage, config).await?;
            let time = next_time(config, env, &timeline, None).await?;
            guard.check().await?;
            Self::announce(storage, env, config, action, time, plan).await
        };
        let requested = requested.await;
        guard.release().await;
        requested
    }

    /// Puts a plan on the timeline that is true as long as nobody has changed a row or planned anything since `seen`; `None`,
    /// and nothing is written, when somebody has. Takes the table's lock for that moment.
    ///
    /// # Errors
    /// As [`ServiceAction::request`].
    pub(crate) async fn request_if_unchanged(
        storage: &Storage,
        env: &Env,
        config: &TableConfig,
        seen: &ActiveTimeline,
        action: Action,
        plan: Vec<u8>,
    ) -> Result<Option<Self>> {
        let guard = TableLock::try_new(storage, env)?.acquire().await?;
        let requested = async {
            let timeline = ActiveTimeline::load(storage, config).await?;
            let known: BTreeSet<&Instant> = writes_and_plans(config, seen).collect();
            if writes_and_plans(config, &timeline).any(|instant| !known.contains(instant)) {
                return Ok(None);
            }
            let time = next_time(config, env, &timeline, None).await?;
            guard.check().await?;
            let announced = Self::announce(storage, env, config, action, time, plan);
            announced.await.map(Some)
        };
        let requested = requested.await;
        guard.release().await;
        requested
    }

    /// Puts a plan on the timeline; the caller holds the table's lock.
    ///
    /// # Errors
    /// `AlreadyExists` when another writer took the same time.
    pub(crate) async fn announce(
        storage: &Storage,
        env: &Env,
        config: &TableConfig,
        action: Action,
        time: InstantTime,
        plan: Vec<u8>,
    ) -> Result<Self> {
        let instant = Instant {
            time,
            action,
            state: State::Requested,
            completion: None,
        };
        let requested = Self::resume(storage, env, config, &instant);
        storage.create(&requested.path(), plan.into()).await?;
        Ok(requested)
    }

    /// Takes up an instant that is on the timeline, in whatever state it is pending.
    pub(crate) fn resume(
        storage: &Storage,
        env: &Env,
        config: &TableConfig,
        pending: &Instant,
    ) -> Self {
        Self {
            storage: storage.clone(),
            env: env.clone(),
            config: config.clone(),
            instant: pending.clone(),
        }
    }

    /// The instant as it stands.
    pub(crate) fn instant(&self) -> &Instant {
        &self.instant
    }

    /// Announces that the plan is being executed; `content` is mostly empty. Fine when it was announced already.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn start(&mut self, content: Bytes) -> Result<()> {
        self.instant.state = State::Inflight;
        let path = self.path();
        match self.storage.create(&path, content).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// Completes the instant: the commit point. Takes the table's lock for that moment. Two writers may execute one plan, if
    /// all it does is to delete; the first to complete it counts, for both.
    ///
    /// # Errors
    /// `Conflict` when the timeline is ahead of the clock; what the store says, after which the instant is still pending.
    pub(crate) async fn complete(self, payload: Vec<u8>) -> Result<Instant> {
        match self.complete_as_first(payload).await? {
            Completed::Now(instant) | Completed::Before(instant) => Ok(instant),
        }
    }

    /// The same for a plan that writes files: those of whoever comes second are none of the instant's.
    ///
    /// # Errors
    /// As [`ServiceAction::complete`].
    pub(crate) async fn complete_as_first(self, payload: Vec<u8>) -> Result<Completed> {
        self.complete_if(payload, async |_| Ok(())).await
    }

    /// The same if `check` finds nothing against it on the timeline, under the lock.
    ///
    /// # Errors
    /// As [`ServiceAction::complete`], and those of `check`.
    pub(crate) async fn complete_if(
        mut self,
        payload: Vec<u8>,
        check: impl AsyncFnOnce(&ActiveTimeline) -> Result<()>,
    ) -> Result<Completed> {
        let guard = TableLock::try_new(&self.storage, &self.env)?
            .acquire()
            .await?;
        let completed = async {
            let timeline = ActiveTimeline::load(&self.storage, &self.config).await?;
            let done = timeline.find(&self.instant.time, self.instant.action);
            if let Some(done) = done.filter(|instant| instant.state == State::Completed) {
                return Ok(Completed::Before(done.clone()));
            }
            check(&timeline).await?;
            let begun = Some(&self.instant.time);
            let completion = next_time(&self.config, &self.env, &timeline, begun).await?;
            self.instant.state = State::Completed;
            self.instant.completion = self.config.keeps_completion_times().then_some(completion);
            guard.check().await?;
            self.storage.create(&self.path(), payload.into()).await?;
            Ok(Completed::Now(self.instant))
        };
        let completed = completed.await;
        guard.release().await;
        completed
    }

    fn path(&self) -> String {
        crate::file_group::join_path(&self.config.timeline_dir(), &self.instant.file_name())
    }
}

/// What a plan of file groups depends on: completed writes, and other plans.
fn writes_and_plans<'a>(
    config: &TableConfig,
    timeline: &'a ActiveTimeline,
) -> impl Iterator<Item = &'a Instant> {
    // Some replace commits are plans where clusterings have no action of their own.
    let has_action = config.version().has_clustering_action();
    let is_plan = move |action: Action| match action {
        Action::Compaction | Action::LogCompaction | Action::Clustering => true,
        Action::ReplaceCommit => !has_action,
        _ => false,
    };
    let instants = timeline.instants().iter();
    instants.filter(move |instant| {
        let is_completed = instant.action.is_write() && instant.state == State::Completed;
        is_completed || is_plan(instant.action)
    })
}
