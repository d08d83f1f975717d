//! The data files of one instant: their names, their markers, and the folders they go to.
//!
//! A marker exists before the first byte of its file: without markers Spark's rollback removes the instant but not the
//! files, which after archival count as committed. Spec: Hudi 1.2.0, "Markers", "Partition metadata".

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::error::{ErrorKind, Result};
use crate::file_group::{BaseFile, LogFile, join_path};
use crate::storage::Storage;
use crate::timeline::InstantTime;
use crate::writer::early_conflict::EarlyDetection;
use crate::writer::log_names::LogPlace;

/// Where marker folders lie.
pub(crate) const MARKER_ROOT: &str = ".hoodie/.temp";
/// By this file readers that list folders know a partition.
pub(crate) const PARTITION_METADATA: &str = ".hoodie_partition_metadata";

/// What a file is to its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MarkerKind {
    /// The first base file of a group, or, since version 8, a log file.
    Create,
    /// A log file of version 6. (From version 8 on such a marker makes Spark's rollback fail.)
    Append,
    /// A base file that replaces an older one.
    Merge,
}

impl MarkerKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Append => "APPEND",
            Self::Merge => "MERGE",
        }
    }
}

/// Hands out names for data files of one instant, each with its marker in place.
#[derive(Debug)]
pub(crate) struct DataFiles {
    storage: Storage,
    instant: InstantTime,
    /// Counts files, so that names and sequence numbers of one instant differ and ascend.
    next_task: AtomicU64,
    /// Tells the names of one attempt at an instant from those of another.
    attempt: u64,
    created: Mutex<Vec<String>>,
    known_partitions: Mutex<HashSet<String>>,
    early: Option<EarlyDetection>,
}

/// A file that may be written now.
#[derive(Debug, Clone)]
pub(crate) struct NewFile<F> {
    pub(crate) file: F,
    /// Number of the file within its instant.
    pub(crate) task: u64,
    /// Table-relative path.
    pub(crate) path: String,
}

impl DataFiles {
    /// Files of `instant`.
    pub(crate) fn new(storage: Storage, instant: InstantTime) -> Self {
        Self::of_attempt(storage, instant, 0)
    }

    /// Files of one of several attempts at `instant`, which may overlap: a plan can be taken up by more than one.
    pub(crate) fn of_attempt(storage: Storage, instant: InstantTime, attempt: u64) -> Self {
        Self {
            storage,
            instant,
            next_task: AtomicU64::new(0),
            attempt,
            created: Mutex::default(),
            known_partitions: Mutex::default(),
            early: None,
        }
    }

    /// The instant that writes.
    pub(crate) fn instant(&self) -> &InstantTime {
        &self.instant
    }

    /// The same, looking for conflicts before each file.
    pub(crate) fn with_early_detection(mut self, early: Option<EarlyDetection>) -> Self {
        self.early = early;
        self
    }

    /// A base file of group `file_id`.
    pub(crate) async fn new_base_file(
        &self,
        partition_path: &str,
        file_id: &str,
        kind: MarkerKind,
    ) -> Result<NewFile<BaseFile>> {
        let task = self.next_task.fetch_add(1, Ordering::Relaxed);
        let file = BaseFile {
            file_id: file_id.to_owned(),
            write_token: format!("{task}-0-{}", self.attempt),
            instant: self.instant.clone(),
            extension: "parquet".to_owned(),
            size_bytes: 0,
        };
        let path = self
            .announce(partition_path, file_id, &file.to_string(), kind)
            .await?;
        Ok(NewFile { file, task, path })
    }

    /// A log file of group `file_id`.
    pub(crate) async fn new_log_file(
        &self,
        partition_path: &str,
        file_id: &str,
        place: &LogPlace,
    ) -> Result<NewFile<LogFile>> {
        let task = self.next_task.fetch_add(1, Ordering::Relaxed);
        let file = LogFile {
            file_id: file_id.to_owned(),
            instant: place.instant.clone(),
            version: place.version,
            write_token: Some(format!("{task}-{}-{}", place.stage, self.attempt)),
            is_cdc: false,
            size_bytes: 0,
        };
        let path = self
            .announce(partition_path, file_id, &file.to_string(), place.marker)
            .await?;
        Ok(NewFile { file, task, path })
    }

    /// A log of the changes that a new base file of group `file_id` makes.
    pub(crate) async fn new_change_log(
        &self,
        partition_path: &str,
        file_id: &str,
    ) -> Result<NewFile<LogFile>> {
        let task = self.next_task.fetch_add(1, Ordering::Relaxed);
        let file = LogFile {
            file_id: file_id.to_owned(),
            instant: self.instant.clone(),
            version: 1,
            write_token: Some(format!("{task}-0-{}", self.attempt)),
            is_cdc: true,
            size_bytes: 0,
        };
        let path = self
            .announce(
                partition_path,
                file_id,
                &file.to_string(),
                MarkerKind::Create,
            )
            .await?;
        Ok(NewFile { file, task, path })
    }

    /// Paths of all files that were begun.
    pub(crate) fn created(&self) -> Vec<String> {
        self.created
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn announce(
        &self,
        partition_path: &str,
        file_id: &str,
        name: &str,
        kind: MarkerKind,
    ) -> Result<String> {
        if let Some(early) = &self.early {
            early.check(partition_path, file_id).await?;
        }
        let path = join_path(partition_path, name);
        let marker = format!(
            "{MARKER_ROOT}/{}/{path}.marker.{}",
            self.instant,
            kind.as_str()
        );
        self.storage.create(&marker, Bytes::new()).await?;
        self.ensure_partition(partition_path).await?;
        self.created
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(path.clone());
        Ok(path)
    }

    async fn ensure_partition(&self, partition_path: &str) -> Result<()> {
        let is_known = self
            .known_partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(partition_path);
        if is_known {
            return Ok(());
        }
        let depth = partition_path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .count();
        let text = format!(
            "#partition metadata\ncommitTime={}\npartitionDepth={depth}\n",
            self.instant
        );
        let path = join_path(partition_path, PARTITION_METADATA);
        match self.storage.create(&path, text.into()).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let mut known = self
            .known_partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.insert(partition_path.to_owned());
        Ok(())
    }
}
