//! Table services beside the stream: after a commit, what is due of clustering, compaction, log compaction, cleaning and
//! archival of that table.
//!
//! A clustering replaces file groups that the table's writer may want to change: the next instant waits for its end, whether
//! it was asked for by `hoodie.clustering.inline` or by `hoodie.clustering.async.enabled`. All else runs beside the stream,
//! one round a table at a time, in a task of its own, within the same memory budget; a commit that comes meanwhile starts no
//! second one. A failure never stops the stream: plans stay on the timeline, and the next round takes them up, as does the
//! next start after this value was dropped in the middle of one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use table_format::config::TableType;
use table_format::env::Env;
use table_format::service::Services;
use table_format::table::Table;
use table_format::timeline::Action;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::progress::TableProgress;
use crate::error::{Error, Result};

/// The services of one lake table.
#[derive(Debug)]
pub(crate) struct TableServices {
    table: Table,
    progress: Arc<TableProgress>,
    has_logs: bool,
    clusters: bool,
    compacts_logs: bool,
    services: Services,
    round: Option<JoinHandle<()>>,
    /// Answers when the clustering of the round has ended.
    clustering: Option<oneshot::Receiver<()>>,
    stop: CancellationToken,
}

impl TableServices {
    /// Services by the `hoodie.*` options of the pipeline.
    pub(crate) fn new(
        progress: &Arc<TableProgress>,
        table: &Table,
        env: &Env,
        properties: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let services = table.services(env.clone(), properties.clone());
        Ok(Self {
            table: table.clone(),
            progress: Arc::clone(progress),
            has_logs: table.config().table_type() == TableType::MergeOnRead,
            clusters: services.clusters_beside_writers()?,
            compacts_logs: services.compacts_logs_beside_writers()?,
            services,
            round: None,
            clustering: None,
            stop: CancellationToken::new(),
        })
    }

    /// Executes the clusterings that a dead run or another engine has planned: the table's writer would be refused over and
    /// over. For when the writer is not there yet.
    pub(crate) async fn execute_planned_clusterings(&self) -> Result<()> {
        if self.services.pending_clusterings().await?.is_empty() {
            return Ok(());
        }
        let (services, runtime) = (self.services.clone(), Handle::current());
        let executed = tokio::task::spawn_blocking(move || {
            runtime.block_on(services.execute_pending_clusterings())
        });
        let executed = executed
            .await
            .map_err(|error| Error::internal(format!("a clustering died: {error}")))?;
        executed?;
        Ok(())
    }

    /// Begins a round, unless one is under way.
    pub(crate) fn begin(&mut self) {
        if self
            .round
            .as_ref()
            .is_some_and(|round| !round.is_finished())
        {
            return;
        }
        let (table, services) = (self.table.clone(), self.services.clone());
        let kinds = Kinds {
            clusters: self.clusters,
            compacts: self.has_logs,
            compacts_logs: self.has_logs && self.compacts_logs,
        };
        let (runtime, stop) = (Handle::current(), self.stop.clone());
        let progress = Arc::clone(&self.progress);
        let (clustered, clustering) = oneshot::channel();
        self.clustering = Some(clustering);
        // A thread of its own: the compiler cannot see that the services' futures may move between threads.
        self.round = Some(tokio::task::spawn_blocking(move || {
            let round = async {
                let ran = run(&services, kinds, clustered).await;
                let pending = pending_services(&table).await;
                ran.and(pending)
            };
            match runtime.block_on(stop.run_until_cancelled(round)) {
                None => {}
                Some(Ok(pending)) => progress.pending_services.store(pending, Relaxed),
                Some(Err(error)) => {
                    progress.service_failures.fetch_add(1, Relaxed);
                    tracing::warn!(table = progress.name, %error, "a table service failed; it is tried again after the next commit");
                }
            }
        }));
    }

    /// Waits for the end of the clustering under way; for before an instant begins.
    pub(crate) async fn finish_clustering(&mut self) {
        if let Some(clustering) = self.clustering.take() {
            // Nothing is ever sent: the other end goes when the clustering has ended, whatever came of it.
            drop(clustering.await);
        }
    }

    /// Waits for the end of the round under way.
    pub(crate) async fn finish(&mut self) {
        if let Some(round) = self.round.take()
            && let Err(error) = round.await
        {
            tracing::warn!(table = self.progress.name, %error, "a table service died");
        }
    }
}

impl Drop for TableServices {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Which services a round has, beside cleaning and archival.
#[derive(Debug, Clone, Copy)]
struct Kinds {
    clusters: bool,
    compacts: bool,
    compacts_logs: bool,
}

/// Each looks first whether it is due, which costs a listing of the timeline. `clustered` goes when the clustering has ended,
/// whatever came of it.
async fn run(services: &Services, kinds: Kinds, clustered: oneshot::Sender<()>) -> Result<()> {
    if kinds.clusters {
        services.cluster_if_due().await?;
    }
    drop(clustered);
    if kinds.compacts {
        services.compact_if_due().await?;
    }
    if kinds.compacts_logs {
        services.compact_logs_if_due().await?;
    }
    services.clean_if_due().await?;
    services.archive_if_due().await?;
    Ok(())
}

/// How many plans of compactions and clusterings wait for their execution.
pub(crate) async fn pending_services(table: &Table) -> Result<u64> {
    let timeline = table.timeline().await?;
    let is_plan = |action: Action| {
        matches!(
            action,
            Action::Compaction | Action::LogCompaction | Action::Clustering
        )
    };
    let plans = timeline.pending().filter(|instant| is_plan(instant.action));
    Ok(plans.count() as u64)
}
