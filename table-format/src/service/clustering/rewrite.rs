//! The slices of one group into new file groups: merged rows stream by, or go through the sorter first.
//!
//! Rows keep their meta columns except the file name. Java: MultipleSparkJobExecutionStrategy,
//! SparkSortAndSizeExecutionStrategy.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use tokio::sync::{Mutex, MutexGuard};

use crate::env::run_on_cpu;
use crate::error::{Error, Result};
use crate::file_group::{BaseFile, BaseFileWriter, FileSlice};
use crate::reader::{ReadOptions, read_slice};
use crate::service::rewriting::{Rewriter, with_file_name};
use crate::timeline::metadata::WriteStat;
use crate::writer::{MarkerKind, base_file_stat, to_i64};

use super::sort::{SortKey, Sorter};

/// What a group is rewritten by.
#[derive(Debug)]
pub(super) struct RewriteOptions<'a> {
    /// By what rows are sorted, if at all.
    pub(super) key: Option<Arc<SortKey>>,
    pub(super) spill_dir: &'a Path,
    /// Memory for the rows of one group that is being sorted.
    pub(super) run_bytes: u64,
    /// Length at which a base file is finished.
    pub(super) target_file_bytes: u64,
    /// Held while a slice with logs is read: they are in memory at once, those of one slice at a time. Waiting for room in the
    /// memory budget instead could go on for ever, because a writer that has booked memory may wait for the clustering.
    pub(super) logs: Mutex<()>,
}

/// A base file of a new group.
#[derive(Debug)]
pub(super) struct RewrittenFile {
    pub(super) path: String,
    pub(super) rows: u64,
    pub(super) size_bytes: u64,
    pub(super) stat: WriteStat,
}

impl RewriteOptions<'_> {
    async fn turn_of(&self, slice: &FileSlice) -> Option<MutexGuard<'_, ()>> {
        if slice.log_files.is_empty() {
            return None;
        }
        Some(self.logs.lock().await)
    }
}

impl Rewriter {
    /// Writes the file groups that take the place of `slices`, which are of one partition.
    pub(super) async fn rewrite(
        &self,
        slices: &[FileSlice],
        options: &RewriteOptions<'_>,
    ) -> Result<Vec<RewrittenFile>> {
        let Some(first) = slices.first() else {
            return Ok(Vec::new());
        };
        let mut output = Output {
            rewriter: self,
            partition_path: &first.partition_path,
            target_file_bytes: options.target_file_bytes,
            open: None,
            finished: Vec::new(),
        };
        let copied = match &options.key {
            None => self.copy(slices, options, &mut output).await,
            Some(key) => self.sort(slices, key, options, &mut output).await,
        };
        if let Err(error) = copied {
            output.abort().await?;
            return Err(error.context(format!("partition `{}`", first.partition_path)));
        }
        output.finish().await
    }

    async fn copy(
        &self,
        slices: &[FileSlice],
        options: &RewriteOptions<'_>,
        output: &mut Output<'_>,
    ) -> Result<()> {
        let read = ReadOptions::new(self.env.memory.clone());
        for slice in slices {
            let _turn = options.turn_of(slice).await;
            let mut rows = read_slice(self.context.clone(), slice, &read).await?;
            while let Some(rows) = rows.try_next().await? {
                output.write(rows).await?;
            }
        }
        Ok(())
    }

    async fn sort(
        &self,
        slices: &[FileSlice],
        key: &Arc<SortKey>,
        options: &RewriteOptions<'_>,
        output: &mut Output<'_>,
    ) -> Result<()> {
        let memory = &self.env.memory;
        let mut sorter = Sorter::new(
            Arc::clone(key),
            options.spill_dir,
            memory,
            options.run_bytes,
        );
        let read = ReadOptions::new(memory.clone());
        for slice in slices {
            let _turn = options.turn_of(slice).await;
            let mut rows = read_slice(self.context.clone(), slice, &read).await?;
            while let Some(rows) = rows.try_next().await? {
                sorter = run_on_cpu(move || sorter.push(rows)).await?;
            }
        }
        let mut sorted = run_on_cpu(move || sorter.finish()).await?;
        loop {
            let (rest, rows) = run_on_cpu(move || {
                let rows = sorted.next()?;
                Ok((sorted, rows))
            })
            .await?;
            sorted = rest;
            match rows {
                Some(rows) => output.write(rows).await?,
                None => return Ok(()),
            }
        }
    }
}

/// New file groups of one partition, one after the other.
struct Output<'a> {
    rewriter: &'a Rewriter,
    partition_path: &'a str,
    target_file_bytes: u64,
    open: Option<OpenFile>,
    finished: Vec<RewrittenFile>,
}

struct OpenFile {
    file: BaseFile,
    name: Arc<str>,
    path: String,
    writer: BaseFileWriter,
}

impl Output<'_> {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.create().await?,
        };
        let name = Arc::clone(&open.name);
        let written = open.writer.write(move |_| with_file_name(&rows, &name));
        let written = written.await;
        let is_full = open.writer.estimated_bytes() >= self.target_file_bytes;
        self.open = Some(open);
        written?;
        if is_full {
            self.close().await?;
        }
        Ok(())
    }

    async fn create(&self) -> Result<OpenFile> {
        let rewriter = self.rewriter;
        let file_id = format!("{}-0", rewriter.env.ids.next_uuid());
        let new = rewriter
            .files
            .new_base_file(self.partition_path, &file_id, MarkerKind::Create)
            .await?;
        let (storage, env) = (rewriter.context.storage.clone(), rewriter.env.clone());
        let writer = BaseFileWriter::try_new(&rewriter.format, storage, env, new.path.clone())?;
        Ok(OpenFile {
            name: new.file.to_string().into(),
            file: new.file,
            path: new.path,
            writer,
        })
    }

    async fn close(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let written = open.writer.finish().await?;
        let slice = FileSlice {
            partition_path: self.partition_path.to_owned(),
            file_id: open.file.file_id.clone(),
            base_instant: open.file.instant.clone(),
            base_file: Some(open.file),
            log_files: Vec::new(),
        };
        self.finished.push(RewrittenFile {
            stat: WriteStat {
                num_inserts: Some(to_i64(written.rows)?),
                num_update_writes: Some(0),
                num_deletes: Some(0),
                ..base_file_stat(&slice, &written)?
            },
            path: open.path,
            rows: written.rows,
            size_bytes: written.size_bytes,
        });
        Ok(())
    }

    async fn finish(mut self) -> Result<Vec<RewrittenFile>> {
        self.close().await?;
        Ok(self.finished)
    }

    async fn abort(self) -> Result<(), Error> {
        match self.open {
            Some(open) => open.writer.abort().await,
            None => Ok(()),
        }
    }
}
