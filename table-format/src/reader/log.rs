//! The log files of a slice: which blocks count, and their records as columns.
//!
//! Java: BaseHoodieLogRecordReader#scanInternal. A rollback command undoes the blocks of its target; on version 6 the
//! blocks of instants that are not committed are passed over one by one, later versions do so by file. Blocks of a log
//! compaction take the place of those that they were made of (see [`log_compaction`](super::log_compaction)).

use std::collections::HashSet;

use crate::codec::log_block::{BlockKind, LogBlock};
use crate::config::{MergeMode, TableVersion};
use crate::env::run_on_cpu;
use crate::error::{Error, Result};
use crate::file_group::FileSlice;

use super::columns::Columns;
use super::log_compaction::replace_compacted;
use super::log_files::LogFiles;
use super::log_fold::{FoldedLogs, LogFold};
use super::log_parts::add_block;
use super::{ReadContext, ReadOptions};

/// Reads and folds the logs of a slice; `None` when it has none.
pub(super) async fn read_logs(
    context: &ReadContext,
    slice: &FileSlice,
    columns: &Columns,
    options: &ReadOptions,
) -> Result<Option<FoldedLogs>> {
    if slice.log_files.is_empty() {
        return Ok(None);
    }
    check_merge_rules(context)?;
    let files = LogFiles::of(context.storage.clone(), slice, &options.memory);
    let (blocks, mut kept) = files.scan().await?;
    let mut fold = LogFold::new(columns, context.config.column_merge()?, options)?;
    fold.add_blocks(blocks.iter().map(|(_, block)| block.kind));
    let counted = blocks_that_count(blocks, context)?;
    fold.expect(counted.iter().map(|(_, block)| block.length).sum());
    for (path, block) in counted {
        let block = files.with_content(&path, block).await?;
        let length = block.content.len() as u64;
        let written = block.header.instant_time().map(str::parse).transpose()?;
        let renames = match written {
            Some(time) => context.renames_since(&time)?,
            None => None,
        };
        fold = run_on_cpu(move || {
            add_block(&mut fold, &block, renames.as_ref())?;
            Ok(fold)
        })
        .await
        .map_err(|error| error.context(format!("reading {path}")))?;
        kept.resize(kept.bytes().saturating_sub(length));
    }
    fold.finish().map(Some)
}

/// Merging by a class of the user's, or of parts of rows by defaults, is not what this reader does.
fn check_merge_rules(context: &ReadContext) -> Result<()> {
    let config = &context.config;
    let unsupported = |what: String| {
        let message = format!(
            "table `{}`: {what}; compact it with the engine that wrote it",
            config.name()
        );
        Err(Error::unsupported(message))
    };
    if config.merge_mode() == MergeMode::Custom {
        return unsupported("its log records are merged by a class of the user's".to_owned());
    }
    if !config.populates_meta_fields() {
        return unsupported(
            "its log records bear no record keys (hoodie.populate.meta.fields=false)".to_owned(),
        );
    }
    Ok(())
}

/// Blocks with records, without those of instants that are undone or not committed.
fn blocks_that_count(
    blocks: Vec<(String, LogBlock)>,
    context: &ReadContext,
) -> Result<Vec<(String, LogBlock)>> {
    let mut undone: HashSet<String> = HashSet::new();
    for (path, block) in &blocks {
        match block.kind {
            BlockKind::Command => {
                undone.extend(block.header.target_instant_time().map(str::to_owned))
            }
            BlockKind::Corrupt => {
                tracing::warn!(
                    path,
                    offset = block.offset,
                    length = block.length,
                    "skipping a corrupt log block"
                );
            }
            _ => {}
        }
    }
    let mut counted = Vec::with_capacity(blocks.len());
    for (path, block) in blocks {
        if matches!(block.kind, BlockKind::Command | BlockKind::Corrupt) {
            continue;
        }
        let instant = block.header.instant_time().ok_or_else(|| {
            Error::corrupt(
                &path,
                format!("offset {}: a block without instant", block.offset),
            )
        })?;
        let time = instant.parse()?;
        let is_visible = match context.config.version() {
            TableVersion::Six => context.visibility.is_committed(&time),
            // Files are chosen by their names already, but one of a table that was upgraded may hold blocks of several
            // instants.
            TableVersion::Eight | TableVersion::Nine => !context.visibility.is_hidden(&time),
        };
        if is_visible && !undone.contains(instant) {
            counted.push((path, block));
        }
    }
    let mut counted = replace_compacted(counted);
    if context.config.column_merge()?.is_none() {
        retain_wanted(&mut counted, context);
    }
    Ok(counted)
}

/// Incremental reads take only the records of the commits that they ask for, as Hudi does: an update that loses against
/// an older row is shown all the same. Rows that come in parts need what lies under them.
fn retain_wanted(blocks: &mut Vec<(String, LogBlock)>, context: &ReadContext) {
    let Some(commits) = &context.commits else {
        return;
    };
    if !blocks.iter().any(|(_, block)| block.header.is_partial()) {
        blocks.retain(|(_, block)| {
            // The rows of a log compaction bear the commits that they come from, not that of their block.
            let header = &block.header;
            let mut times = header.compacted_block_times().chain(header.instant_time());
            times.any(|time| commits.includes(time))
        });
    }
}
