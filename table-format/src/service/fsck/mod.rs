//! `fsck`: looks for what is wrong with a table, and mends what can be mended without losing rows.
//!
//! The order of reading makes it safe beside a writer: data files, markers and heartbeats are listed before the timeline,
//! and an instant's requested file exists before any of these; so what belongs to no instant of the timeline belonged to
//! none when it was listed. What is younger than that is not looked at. Java has no counterpart; the findings are those
//! that Hudi's readers and writers fail on, or silently misread.

mod finding;
mod instants;
mod leftovers;
mod live_files;
mod metadata_table;
mod orphans;
mod partitions;
mod properties;
mod statistics;

use crate::config::TableConfig;
use crate::error::Result;
use crate::service::Services;
use crate::timeline::ActiveTimeline;
use crate::transaction::disable_metadata_table;

pub use finding::{Check, Finding};

use finding::{Problem, Repair};
use partitions::DataFolders;

impl Services {
    /// Looks for what is wrong with the table; with `repairs`, mends what can be mended without losing rows.
    ///
    /// # Errors
    /// `NotFound` or `Corrupt` when there is no table, or nothing of its properties is left; what the store says.
    pub async fn fsck(&self, repairs: bool) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let (mut config, problems) = properties::check(&self.storage).await?;
        self.settle(&config, problems, repairs, &mut findings)
            .await?;
        let problems = instants::check(&self.storage, &config).await?;
        self.settle(&config, problems, repairs, &mut findings)
            .await?;

        let leftovers = leftovers::Leftovers::list(&self.storage).await?;
        let folders = DataFolders::list(&self.storage).await?;
        let timeline = ActiveTimeline::load(&self.storage, &config).await?;
        let problems = leftovers.check(&timeline);
        self.settle(&config, problems, repairs, &mut findings)
            .await?;
        let problems = partitions::check(&config, &timeline, &folders);
        self.settle(&config, problems, repairs, &mut findings)
            .await?;
        let problems = orphans::check(&timeline, &folders).await?;
        self.settle(&config, problems, repairs, &mut findings)
            .await?;
        let live = live_files::LiveFiles::load(&config, &timeline, &folders).await?;
        let memory = &self.env.memory;
        let problems = live
            .check(&self.storage, &timeline, memory, &folders)
            .await?;
        self.settle(&config, problems, repairs, &mut findings)
            .await?;
        let problems = metadata_table::check(&self.storage, &config, &timeline).await?;
        if repairs && !problems.is_empty() {
            config = disable_metadata_table(&self.storage, &self.env, &config).await?;
        }
        self.settle(&config, problems, repairs, &mut findings)
            .await?;
        Ok(findings)
    }

    /// Carries out the repairs, if they are wanted.
    async fn settle(
        &self,
        config: &TableConfig,
        problems: Vec<Problem>,
        repairs: bool,
        findings: &mut Vec<Finding>,
    ) -> Result<()> {
        for Problem {
            mut finding,
            repair,
        } in problems
        {
            if let (Some(repair), true) = (repair, repairs) {
                self.repair(config, repair).await?;
                tracing::info!(file = finding.file, problem = finding.problem, "repaired");
                finding.is_repaired = true;
            }
            findings.push(finding);
        }
        Ok(())
    }

    async fn repair(&self, config: &TableConfig, repair: Repair) -> Result<()> {
        let storage = &self.storage;
        match repair {
            Repair::Delete(paths) => {
                for path in paths {
                    storage.delete(&path).await?;
                }
                Ok(())
            }
            Repair::Create { path, bytes } => storage.create(&path, bytes).await,
            Repair::Overwrite { path, bytes } => storage.overwrite(&path, bytes).await,
            Repair::Properties => properties::rewrite(storage, &self.env, config).await,
            Repair::WithAnother => Ok(()),
        }
    }
}
