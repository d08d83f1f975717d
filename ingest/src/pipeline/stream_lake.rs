//! A lake table that follows the log: the source tables that feed it are written in the log's order, and committed together.

use table_format::writer::WriteOperation;
use tokio::time::Instant;

use super::progress::Progress;
use super::stream_table::StreamTable;
use crate::checkpoint::LakeCheckpoint;
use crate::error::Result;
use crate::position::BinlogPosition;
use crate::sink::{Arrivals, LakeTable};

/// A lake table that follows the log.
#[derive(Debug)]
pub(crate) struct StreamLake {
    pub(crate) lake: LakeTable,
    /// Begin time of the newest commit of this pipeline in the table.
    pub(crate) newest_commit: Option<String>,
    /// Whether several source tables feed it.
    pub(super) is_merged: bool,
    /// Rows that wait, when several source tables feed it.
    arrivals: Arrivals,
}

/// What every commit of a run carries.
#[derive(Debug, Clone, Copy)]
pub(super) struct CommitContext<'a> {
    pub(super) pipeline: &'a str,
    /// Everything up to here is in the table with the commit.
    pub(super) position: &'a BinlogPosition,
    pub(super) counters: &'a Progress,
}

impl StreamLake {
    /// A lake table that `tables` source tables feed.
    pub(crate) fn new(lake: LakeTable, newest_commit: Option<String>, tables: usize) -> Self {
        Self {
            lake,
            newest_commit,
            is_merged: tables > 1,
            arrivals: Arrivals::default(),
        }
    }

    /// Notes that the source table with number `table` has collected so many rows of a source transaction.
    pub(super) fn note_arrival(&mut self, table: usize, transaction: u64, rows: usize) {
        if self.is_merged {
            self.arrivals.note(table, transaction, rows);
        }
    }

    /// Writes out what its source tables have collected; it becomes visible with the commit.
    pub(super) async fn flush(&mut self, tables: &mut [(usize, &mut StreamTable)]) -> Result<()> {
        let arrivals = std::mem::take(&mut self.arrivals);
        let mut batches = Vec::new();
        for (number, table) in tables {
            if table.builder.rows() > 0 {
                let batch = table.builder.finish()?;
                batches.push((*number, &mut table.feed, batch));
            }
        }
        if batches.len() > 1 {
            return self.lake.upsert_merged(batches, arrivals).await;
        }
        match batches.pop() {
            Some((_, feed, batch)) => self.lake.upsert(feed, batch).await,
            None => Ok(()),
        }
    }

    /// Commits what its source tables have changed, if anything; says whether there was.
    pub(super) async fn commit(
        &mut self,
        mut tables: Vec<(usize, &mut StreamTable)>,
        context: CommitContext<'_>,
    ) -> Result<bool> {
        let is_dirty = tables.iter().any(|(_, table)| table.is_dirty());
        if !is_dirty && !self.lake.is_open() {
            return Ok(false);
        }
        self.flush(&mut tables).await?;
        if !self.lake.is_open() {
            self.lake.begin(WriteOperation::Upsert).await?;
        }
        let held = tables.iter();
        let held = held.map(|(_, table)| table.checkpoint(context.position));
        let checkpoint = LakeCheckpoint::new(context.pipeline, held.collect());
        let began = Instant::now();
        let instant = self.lake.commit(&checkpoint).await?;
        context.counters.commit_duration.observe(began.elapsed());
        self.newest_commit = Some(instant.time.to_string());
        for (_, table) in tables {
            table.set_held(context.position, context.counters.now_millis());
        }
        Ok(true)
    }

    /// Removes all rows, in a commit of its own.
    pub(super) async fn truncate(
        &mut self,
        tables: Vec<(usize, &mut StreamTable)>,
        context: CommitContext<'_>,
    ) -> Result<()> {
        // An overwrite does not go together with a compaction that is planned.
        self.lake.finish_services().await;
        self.lake
            .begin(WriteOperation::InsertOverwriteTable)
            .await?;
        self.commit(tables, context).await.map(drop)
    }
}
