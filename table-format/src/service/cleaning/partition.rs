//! Removes a partition of which nothing is left.
//!
//! Hudi deletes the folder with whatever is in it. Here a file that no plan names stays, and a writer that has just come
//! keeps its partition: without the partition metadata readers would never find what it commits (hazard 2).

use bytes::Bytes;

use crate::config::TableConfig;
use crate::error::{ErrorKind, Result};
use crate::file_group::join_path;
use crate::service::Services;
use crate::storage::ListedFile;
use crate::timeline::{ActiveTimeline, Instant, InstantTime};
use crate::writer::PARTITION_METADATA;

impl Services {
    /// Removes the metadata of a partition, if nothing else is there and nobody may be writing into it. Returns whether the
    /// partition is gone.
    pub(super) async fn delete_partition(
        &self,
        config: &TableConfig,
        partition: &str,
        clean: &InstantTime,
    ) -> Result<bool> {
        if partition.is_empty() {
            return Ok(false);
        }
        let before = ActiveTimeline::load(&self.storage, config).await?;
        let files = self.storage.list(partition).await?.files;
        let is_in_use = has_pending_write(&before) || !files.iter().all(is_left_over);
        if is_in_use {
            if !files.iter().any(is_partition_metadata) {
                // An earlier attempt died between deleting it and seeing the writer.
                self.create_partition(partition, clean).await?;
            }
            return Ok(false);
        }
        for file in &files {
            self.storage
                .delete(&join_path(partition, &file.name))
                .await?;
        }
        // A writer that began before the metadata went has seen it and will not write it again.
        let after = ActiveTimeline::load(&self.storage, config).await?;
        if !has_pending_write(&after) && last_write(&before) == last_write(&after) {
            return Ok(true);
        }
        self.create_partition(partition, clean).await?;
        Ok(false)
    }

    async fn create_partition(&self, partition: &str, clean: &InstantTime) -> Result<()> {
        let depth = partition.split('/').count();
        let text = format!("#partition metadata\ncommitTime={clean}\npartitionDepth={depth}\n");
        let path = join_path(partition, PARTITION_METADATA);
        match self.storage.create(&path, Bytes::from(text)).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }
}

/// The metadata of the partition, and checksums that Hadoop keeps of files on a local disk.
fn is_left_over(file: &ListedFile) -> bool {
    is_partition_metadata(file) || (file.name.starts_with('.') && file.name.ends_with(".crc"))
}

fn is_partition_metadata(file: &ListedFile) -> bool {
    file.name.starts_with(PARTITION_METADATA)
}

fn has_pending_write(timeline: &ActiveTimeline) -> bool {
    timeline.pending().any(|instant| instant.action.is_write())
}

/// When the last write completed.
fn last_write(timeline: &ActiveTimeline) -> Option<&InstantTime> {
    timeline.completed_writes().map(Instant::end_time).max()
}
