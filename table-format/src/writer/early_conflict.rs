//! Conflicts seen before the work is done: another writer's marker stands for the file group that we are about to write.
//!
//! Whoever began later gives way. Only writers with a fresh heartbeat count; compaction and clustering do not. This spares
//! work and proves nothing: the check under the lock at the end does. Java: SimpleDirectMarkerBasedDetectionStrategy,
//! MarkerUtils#getCandidateInstants.

use crate::config::TableConfig;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::{BaseFile, LogFile, join_path};
use crate::storage::Storage;
use crate::timeline::{Action, ActiveTimeline, InstantTime};
use crate::transaction::{FailedWrites, Heartbeats, is_clustering};
use crate::writer::data_files::MARKER_ROOT;
use crate::writer::options::WriterOptions;

/// Looks at other writers' markers on behalf of one instant.
#[derive(Debug)]
pub(crate) struct EarlyDetection {
    storage: Storage,
    env: Env,
    config: TableConfig,
    failed_writes: FailedWrites,
    instant: InstantTime,
}

impl EarlyDetection {
    /// For `instant`, if the settings ask for it.
    pub(crate) fn of(
        storage: &Storage,
        env: &Env,
        config: &TableConfig,
        options: &WriterOptions,
        instant: &InstantTime,
    ) -> Option<Self> {
        (env.locks.is_optimistic && env.locks.detects_early).then(|| Self {
            storage: storage.clone(),
            env: env.clone(),
            config: config.clone(),
            failed_writes: options.failed_writes.clone(),
            instant: instant.clone(),
        })
    }

    /// Refuses a file group that another writer is at work on.
    ///
    /// # Errors
    /// `Conflict`; what the store says.
    pub(crate) async fn check(&self, partition_path: &str, file_id: &str) -> Result<()> {
        for other in self.others().await? {
            if self.marks(&other, partition_path, file_id).await? {
                let message = format!(
                    "instant {}: {other}, which began earlier, is writing file group {} as well; write these rows again",
                    self.instant,
                    join_path(partition_path, file_id)
                );
                return Err(Error::new(ErrorKind::Conflict, message));
            }
        }
        Ok(())
    }

    /// Living writers that began earlier.
    async fn others(&self) -> Result<Vec<InstantTime>> {
        let marked = self.storage.list(MARKER_ROOT).await?.dirs;
        let marked = marked.iter().filter_map(|name| name.parse().ok());
        let mut others: Vec<InstantTime> = marked.filter(|other| *other < self.instant).collect();
        if others.is_empty() {
            return Ok(others);
        }
        let now = self.env.clock.now();
        let beats = Heartbeats::load(&self.storage).await?;
        others.retain(|other| beats.is_alive(other, now, &self.failed_writes));
        if !others.is_empty() {
            let timeline = ActiveTimeline::load(&self.storage, &self.config).await?;
            let mut services: Vec<&InstantTime> = Vec::new();
            for pending in timeline.pending() {
                let is_compaction =
                    matches!(pending.action, Action::Compaction | Action::LogCompaction);
                if is_compaction || is_clustering(&self.config, &timeline, pending).await? {
                    services.push(&pending.time);
                }
            }
            others.retain(|other| !services.contains(&other));
        }
        Ok(others)
    }

    /// Whether a marker of `other` names the file group, in a file of its own or in the lists of a timeline server.
    async fn marks(
        &self,
        other: &InstantTime,
        partition_path: &str,
        file_id: &str,
    ) -> Result<bool> {
        let folder = format!("{MARKER_ROOT}/{other}");
        let direct = self
            .storage
            .list(&join_path(&folder, partition_path))
            .await?;
        if direct
            .files
            .iter()
            .any(|file| is_marker_of(&file.name, file_id))
        {
            return Ok(true);
        }
        for list in self.storage.list(&folder).await?.files {
            let is_list = list.name.starts_with("MARKERS") && list.name != "MARKERS.type";
            if !is_list {
                continue;
            }
            let path = join_path(&folder, &list.name);
            let Some(bytes) = self.storage.read_if_exists(&path).await? else {
                continue;
            };
            let text = String::from_utf8_lossy(&bytes);
            let mut markers = text
                .lines()
                .map(|line| line.rsplit_once('/').unwrap_or(("", line)));
            if markers
                .any(|(partition, name)| partition == partition_path && is_marker_of(name, file_id))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn is_marker_of(marker: &str, file_id: &str) -> bool {
    let name = marker
        .rsplit_once(".marker.")
        .map_or(marker, |(name, _)| name);
    let base = BaseFile::parse(name, 0).map(|file| file.file_id);
    let id = base.or_else(|| LogFile::parse(name, 0).map(|file| file.file_id));
    id.as_deref() == Some(file_id)
}
