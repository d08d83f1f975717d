//! One slice into its new base file: base rows stream by and meet the logs; rows that only the logs hold follow.
//!
//! Rows keep their meta columns except the file name. Java: HoodieCompactor, FileGroupReaderBasedMergeHandle.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

use crate::env::run_on_cpu;
use crate::error::Result;
use crate::file_group::{BaseFile, BaseFileWriter, FileSlice, WrittenBaseFile};
use crate::reader::{BaseSource, MergeCounts, Merger, ReadOptions, SliceMerge, open_merge};
use crate::service::rewriting::{Rewriter, with_file_name};
use crate::timeline::metadata::{RuntimeStats, WriteStat};
use crate::writer::{MarkerKind, base_file_stat, to_i64};

use super::strategy::log_bytes;

/// A byte of a log takes about so many bytes as columns.
const DECODED_BYTES_PER_LOG_BYTE: u64 = 3;
/// No slice waits for more than this part of the memory; larger logs are merged all the same, on disk if need be.
const MEMORY_SHARE: u64 = 2;

/// A slice with its new base file.
#[derive(Debug)]
pub(super) struct MergedSlice {
    pub(super) path: String,
    pub(super) rows: u64,
    pub(super) size_bytes: u64,
    pub(super) stat: WriteStat,
}

/// How a merge went, for its statistics.
struct Progress {
    began: DateTime<Utc>,
    read: DateTime<Utc>,
    counts: MergeCounts,
}

impl Rewriter {
    /// Writes the base file that takes the place of `slice`.
    pub(super) async fn merge(&self, slice: &FileSlice) -> Result<MergedSlice> {
        let kind = match slice.base_file {
            Some(_) => MarkerKind::Merge,
            None => MarkerKind::Create,
        };
        let new = self
            .files
            .new_base_file(&slice.partition_path, &slice.file_id, kind)
            .await?;
        let (storage, env) = (self.context.storage.clone(), self.env.clone());
        let mut writer = BaseFileWriter::try_new(&self.format, storage, env, new.path.clone())?;
        let progress = match self.copy_rows(slice, &new.file, &mut writer).await {
            Ok(progress) => progress,
            Err(error) => {
                writer.abort().await?;
                let group = &slice.file_id;
                return Err(error.context(format!("merging file group {group}")));
            }
        };
        let written = writer.finish().await?;
        Ok(MergedSlice {
            stat: self.stat(slice, new.file, &written, &progress)?,
            path: new.path,
            rows: written.rows,
            size_bytes: written.size_bytes,
        })
    }

    /// Opens a slice once there is room for its logs: slices wait for each other rather than fill the memory together.
    pub(in crate::service) async fn open(&self, slice: &FileSlice) -> Result<SliceMerge> {
        let memory = &self.env.memory;
        let room = log_bytes(slice).saturating_mul(DECODED_BYTES_PER_LOG_BYTE);
        let room = memory
            .reserve(room.min(memory.ceiling_bytes() / MEMORY_SHARE))
            .await;
        let options = ReadOptions {
            reserved_bytes: room.bytes(),
            ..ReadOptions::new(memory.clone())
        };
        open_merge(&self.context, slice, &options).await
    }

    async fn copy_rows(
        &self,
        slice: &FileSlice,
        file: &BaseFile,
        writer: &mut BaseFileWriter,
    ) -> Result<Progress> {
        let began = self.env.clock.now();
        let mut parts = self.open(slice).await?;
        let read = self.env.clock.now();
        let name: Arc<str> = file.to_string().into();
        let mut counts = MergeCounts::default();
        while let Some((base, merger)) = parts.next().await? {
            counts.add(&copy_part(base, merger, &name, writer).await?);
        }
        Ok(Progress {
            began,
            read,
            counts,
        })
    }

    fn stat(
        &self,
        slice: &FileSlice,
        file: BaseFile,
        written: &WrittenBaseFile,
        progress: &Progress,
    ) -> Result<WriteStat> {
        let counts = &progress.counts;
        let read_millis = (progress.read - progress.began).num_milliseconds();
        let written_millis = (self.env.clock.now() - progress.read).num_milliseconds();
        let new = FileSlice {
            base_file: Some(file),
            log_files: Vec::new(),
            ..slice.clone()
        };
        Ok(WriteStat {
            prev_commit: Some(slice.base_instant.to_string()),
            prev_base_file: slice.base_file.as_ref().map(ToString::to_string),
            num_inserts: Some(to_i64(counts.inserted)?),
            num_update_writes: Some(to_i64(counts.updated)?),
            num_deletes: Some(to_i64(counts.deleted)?),
            total_log_records: Some(to_i64(counts.log_records)?),
            total_updated_records_compacted: Some(to_i64(counts.log_keys)?),
            total_log_blocks: Some(to_i64(counts.log_blocks)?),
            total_corrupt_log_block: Some(to_i64(counts.corrupt_blocks)?),
            total_rollback_blocks: Some(to_i64(counts.rollback_blocks)?),
            total_log_files_compacted: Some(to_i64(slice.log_files.len() as u64)?),
            total_log_size_compacted: Some(to_i64(log_bytes(slice))?),
            total_log_read_time_ms: Some(read_millis),
            runtime_stats: Some(RuntimeStats {
                total_scan_time: Some(read_millis),
                total_create_time: Some(0),
                total_upsert_time: Some(written_millis),
            }),
            ..base_file_stat(&new, written)?
        })
    }
}

async fn copy_part(
    mut base: BaseSource,
    merger: Merger,
    name: &Arc<str>,
    writer: &mut BaseFileWriter,
) -> Result<MergeCounts> {
    // The jobs run one after the other; the lock is never contended.
    let merger = Arc::new(Mutex::new(merger));
    while let Some(rows) = base.next().await? {
        let (merger, name) = (Arc::clone(&merger), Arc::clone(name));
        writer
            .write(move |_| with_file_name(&locked(&merger, |merger| merger.merge(rows))?, &name))
            .await?;
    }
    loop {
        let logs = Arc::clone(&merger);
        let inserts = run_on_cpu(move || locked(&logs, Merger::inserts)).await?;
        let Some(rows) = inserts else { break };
        let name = Arc::clone(name);
        writer.write(move |_| with_file_name(&rows, &name)).await?;
    }
    Ok(locked(&merger, |merger| merger.counts()))
}

fn locked<T>(merger: &Mutex<Merger>, work: impl FnOnce(&mut Merger) -> T) -> T {
    work(&mut merger.lock().unwrap_or_else(PoisonError::into_inner))
}
