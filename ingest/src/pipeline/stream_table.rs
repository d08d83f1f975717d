//! A table that follows the log: what it holds, what waits for its commit, and the commit.

use std::sync::Arc;

use table_format::writer::WriteOperation;
use tokio::time::Instant;

use super::progress::{Phase, Progress, TableProgress};
use crate::batch::BatchBuilder;
use crate::checkpoint::{TableCheckpoint, TableSchema};
use crate::error::Result;
use crate::position::{BinlogPosition, GtidSet};
use crate::schema::SourceTable;
use crate::sink::LakeTable;

/// A table that follows the log.
#[derive(Debug)]
pub(crate) struct StreamTable {
    pub(crate) source: Arc<SourceTable>,
    pub(crate) lake: LakeTable,
    /// Up to here the table holds everything.
    pub(crate) held: BinlogPosition,
    /// The same by GTID, where file and offset say nothing on this server.
    held_gtids: Option<GtidSet>,
    /// Begin time of the newest commit of this pipeline in the table.
    pub(crate) newest_commit: Option<String>,
    pub(crate) progress: Arc<TableProgress>,
    pub(super) builder: BatchBuilder,
    /// Whether a commit is due although no row changed, to note a position.
    pub(super) touched: bool,
    /// A new version of the table that a tool for online schema changes is building.
    pub(super) shadow: Option<SourceTable>,
    /// Whether the table was dropped, or renamed away.
    pub(super) dropped: bool,
    /// The last statement that was not understood: the columns were asked for afterwards.
    pub(super) not_understood: Option<String>,
}

impl StreamTable {
    pub(crate) fn new(
        schema: TableSchema,
        lake: LakeTable,
        held: BinlogPosition,
        newest_commit: Option<String>,
        progress: Arc<TableProgress>,
    ) -> Result<Self> {
        progress.set_phase(Phase::Stream);
        let source = Arc::new(schema.table);
        let builder = BatchBuilder::new(Arc::clone(&source))?.with_origins(lake.needs_origin());
        Ok(Self {
            source,
            lake,
            held,
            held_gtids: None,
            newest_commit,
            progress,
            builder,
            touched: false,
            shadow: schema.shadow,
            dropped: schema.dropped,
            not_understood: None,
        })
    }

    /// Tells by GTID what the table holds if its place says nothing on the server of `start`.
    pub(super) fn begin_at(&mut self, start: &BinlogPosition) -> Result<()> {
        if self.held.is_by_gtid() || !self.held.is_same_server(start) {
            self.held_gtids = self.held.gtid.as_deref().map(str::parse).transpose()?;
        }
        Ok(())
    }

    /// Takes rows of another shape from now on; those of the old one have to be committed.
    pub(super) fn set_source(&mut self, source: SourceTable) -> Result<()> {
        self.source = Arc::new(source);
        let builder = BatchBuilder::new(Arc::clone(&self.source))?;
        self.builder = builder.with_origins(self.lake.needs_origin());
        self.touched = true;
        Ok(())
    }

    /// Whether rows wait for a commit.
    pub(super) fn has_rows(&self) -> bool {
        self.builder.rows() > 0 || self.lake.is_open()
    }

    /// Removes all rows from the lake table, in a commit of its own that reaches `position`.
    pub(super) async fn truncate(
        &mut self,
        pipeline: &str,
        position: &BinlogPosition,
        counters: &Progress,
    ) -> Result<()> {
        // An overwrite does not go together with a compaction that is planned.
        self.lake.finish_services().await;
        self.lake
            .begin(WriteOperation::InsertOverwriteTable)
            .await?;
        self.commit(pipeline, position, counters).await
    }

    /// Whether the table holds everything up to offset `read_to` of the file of `position`. What it holds of another server's log,
    /// or of an unknown place, is told by the source transaction's GTID.
    pub(super) fn holds(
        &self,
        position: &BinlogPosition,
        read_to: u64,
        gtid: Option<&str>,
    ) -> bool {
        if let Some(held) = &self.held_gtids {
            return gtid.is_some_and(|gtid| held.contains(gtid).unwrap_or(false));
        }
        self.held.is_in_later_file_than(position)
            || (self.held.file == position.file && self.held.pos >= read_to)
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.touched || self.has_rows()
    }

    pub(super) async fn commit(
        &mut self,
        pipeline: &str,
        position: &BinlogPosition,
        counters: &Progress,
    ) -> Result<()> {
        self.flush().await?;
        if !self.lake.is_open() {
            self.lake.begin(WriteOperation::Upsert).await?;
        }
        let schema = TableSchema {
            table: self.source.as_ref().clone(),
            shadow: self.shadow.clone(),
            dropped: self.dropped,
        };
        let checkpoint = TableCheckpoint::new(pipeline, position.clone(), None, schema);
        let began = Instant::now();
        let instant = self.lake.commit(&checkpoint).await?;
        counters.commit_duration.observe(began.elapsed());
        self.progress.set_committed(counters.now_millis());
        self.newest_commit = Some(instant.time.to_string());
        self.held = position.clone();
        self.held_gtids = None;
        self.touched = false;
        Ok(())
    }

    pub(super) async fn flush(&mut self) -> Result<()> {
        if self.builder.rows() == 0 {
            return Ok(());
        }
        let batch = self.builder.finish()?;
        self.lake.upsert(batch).await
    }
}
