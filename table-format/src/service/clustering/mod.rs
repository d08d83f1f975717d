//! Clustering: small file groups become fewer and larger ones, in an order that queries can make use of.
//!
//! A plan names groups of file slices. Its execution writes their rows, as they are and with the commit times that they had,
//! into new file groups, which take the place of the old ones when the instant completes. No other write may change the old
//! ones meanwhile: ours are refused, as Hudi's are. Plans and executions may be ours or Spark's. Java:
//! ClusteringPlanActionExecutor, PartitionAwareClusteringPlanStrategy, SparkSizeBasedClusteringPlanStrategy,
//! MultipleSparkJobExecutionStrategy, SparkSortAndSizeExecutionStrategy; Spec: Hudi 1.2.0, "Clustering".

mod execute;
mod inputs;
mod options;
mod packing;
mod partitions;
mod plan;
mod rewrite;
mod sort;
mod trigger;

use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::service::Services;
use crate::service::compaction::Due;
use crate::timeline::{Instant, InstantTime};
use crate::transaction::is_clustering;

use execute::may_be_taken_up;
use options::ClusteringOptions;

/// A clustering that stands on the timeline, to be executed by anyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedClustering {
    /// The requested instant.
    pub instant: Instant,
    /// File groups that it replaces.
    pub file_groups: u64,
    /// Their length, logs included.
    pub bytes: u64,
    /// About how many file groups come out.
    pub output_file_groups: u64,
}

/// What a clustering did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutedClustering {
    /// The completed instant.
    pub instant: Instant,
    /// File groups that were replaced.
    pub replaced_file_groups: u64,
    /// File groups that were written.
    pub new_file_groups: u64,
    /// Rows in them.
    pub rows: u64,
    /// Length of the base and log files that were read.
    pub bytes_in: u64,
    /// Length of the new base files.
    pub bytes_out: u64,
}

impl Services {
    /// Plans a clustering of small file groups, chosen by `hoodie.clustering.plan.*`: those that stand in no other plan.
    /// `None` when it is not due or there is nothing to gain; nothing is written then.
    ///
    /// # Errors
    /// `Unsupported` for a table that is not clustered here; `Invalid` for a bad setting; `Conflict` when writers complete
    /// so quickly one after the other that no plan can be made; what the store says.
    pub async fn schedule_clustering(&self, due: Due) -> Result<Option<PlannedClustering>> {
        let (config, timeline) = self.load().await?;
        check_can_cluster(&config)?;
        let options = ClusteringOptions::from_properties(&self.properties)?;
        plan::schedule(&self.storage, &self.env, &config, timeline, &options, due).await
    }

    /// The clusterings that are planned and not completed, oldest first, whoever planned them.
    ///
    /// # Errors
    /// What the store says.
    pub async fn pending_clusterings(&self) -> Result<Vec<Instant>> {
        let (config, timeline) = self.load().await?;
        let mut clusterings = Vec::new();
        for pending in timeline.pending() {
            if is_clustering(&config, &timeline, pending).await? {
                clusterings.push(pending.clone());
            }
        }
        Ok(clusterings)
    }

    /// Executes a planned clustering, or begins again where an earlier attempt failed.
    ///
    /// # Errors
    /// `NotFound` when no such plan is pending; `Unsupported` for a table that is not clustered here; `Corrupt` when files of
    /// the plan are gone; `Conflict` when somebody else is executing the plan or has changed one of its file groups; what the
    /// store says. The plan stays, and may be executed again.
    pub async fn execute_clustering(&self, time: &InstantTime) -> Result<ExecutedClustering> {
        let (config, timeline) = self.load().await?;
        let pending = self.pending_clusterings().await?;
        let pending = pending.into_iter().find(|instant| instant.time == *time);
        let pending = pending.ok_or_else(|| {
            let message = format!(
                "table {}: no clustering {time} is pending; `lakebed table timeline` lists those that are",
                config.name()
            );
            Error::new(ErrorKind::NotFound, message)
        })?;
        check_can_cluster(&config)?;
        let options = ClusteringOptions::from_properties(&self.properties)?;
        execute::execute(
            &self.storage,
            &self.env,
            &config,
            &timeline,
            &pending,
            &options,
        )
        .await
        .map_err(|error| error.context(format!("clustering {time} of table {}", config.name())))
    }

    /// Executes all planned clusterings, oldest first, except those that another process is executing. One that fails does
    /// not hold up the others.
    ///
    /// # Errors
    /// The first of those of [`Services::execute_clustering`]; all other plans are executed then.
    pub async fn execute_pending_clusterings(&self) -> Result<Vec<ExecutedClustering>> {
        let mut executed = Vec::new();
        let mut failed = None;
        for pending in self.pending_clusterings().await? {
            if !may_be_taken_up(&self.storage, &self.env, &self.properties, &pending).await? {
                tracing::info!(instant = %pending.time, "another process is executing a clustering");
                continue;
            }
            match self.execute_clustering(&pending.time).await {
                Ok(done) => executed.push(done),
                Err(error) => {
                    tracing::warn!(instant = %pending.time, %error, "a clustering failed; its plan stays");
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(executed), Err)
    }

    /// Plans a clustering when it is due, and executes all plans: that one, and those that others have left. What a service
    /// calls between the commits of a writer.
    ///
    /// # Errors
    /// As [`Services::schedule_clustering`] and [`Services::execute_clustering`].
    pub async fn cluster_if_due(&self) -> Result<Vec<ExecutedClustering>> {
        let executed = self.execute_pending_clusterings().await?;
        match self.schedule_clustering(Due::WhenTriggered).await? {
            Some(planned) => {
                let last = self.execute_clustering(&planned.instant.time).await?;
                Ok(executed.into_iter().chain([last]).collect())
            }
            None => Ok(executed),
        }
    }

    /// Whether `hoodie.clustering.inline` or `hoodie.clustering.async.enabled` asks for clustering beside a writer.
    ///
    /// # Errors
    /// `Invalid` for a bad setting.
    pub fn clusters_beside_writers(&self) -> Result<bool> {
        let options = ClusteringOptions::from_properties(&self.properties)?;
        Ok(options.trigger.is_asked_for())
    }
}

fn check_can_cluster(config: &TableConfig) -> Result<()> {
    let refuse = |what: String| {
        let message = format!(
            "table {}: {what}; cluster it with the engine that wrote it",
            config.name()
        );
        Err(Error::unsupported(message))
    };
    if !config.populates_meta_fields() {
        return refuse("it has no meta columns".to_owned());
    }
    if config.drops_partition_columns() {
        return refuse("its base files lack the partition columns".to_owned());
    }
    if config.base_file_format() != "PARQUET" {
        return refuse(format!(
            "its base files are of format {}",
            config.base_file_format()
        ));
    }
    Ok(())
}
