//! A source table that follows the log: what the lake holds of it, and what waits for a commit.

use std::sync::Arc;

use super::progress::{Phase, TableProgress};
use crate::batch::BatchBuilder;
use crate::checkpoint::{TableCheckpoint, TableSchema};
use crate::error::Result;
use crate::position::{BinlogPosition, GtidSet};
use crate::schema::SourceTable;
use crate::sink::Feed;

/// A source table that follows the log.
#[derive(Debug)]
pub(crate) struct StreamTable {
    pub(crate) source: Arc<SourceTable>,
    /// The number of its lake table among those of the run.
    pub(super) lake: usize,
    pub(super) feed: Feed,
    /// Up to here the lake holds everything.
    pub(crate) held: BinlogPosition,
    /// The same by GTID, where file and offset say nothing on this server.
    held_gtids: Option<GtidSet>,
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
        lake: usize,
        feed: Feed,
        held: BinlogPosition,
        progress: Arc<TableProgress>,
    ) -> Result<Self> {
        progress.set_phase(Phase::Stream);
        let source = Arc::new(schema.table);
        let builder = BatchBuilder::new(Arc::clone(&source))?.with_origins(feed.needs_origin());
        Ok(Self {
            source,
            lake,
            feed,
            held,
            held_gtids: None,
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
        self.builder = builder.with_origins(self.feed.needs_origin());
        self.touched = true;
        Ok(())
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

    /// Whether a commit is due for it.
    pub(super) fn is_dirty(&self) -> bool {
        self.touched || self.builder.rows() > 0
    }

    /// Up to where the lake holds it after a commit that reaches `position`: a shard may hold more than those that it is committed
    /// with, until these have been read as far.
    fn reached<'a>(&'a self, position: &'a BinlogPosition) -> &'a BinlogPosition {
        let is_ahead = self.held_gtids.is_none() && self.held > *position;
        if is_ahead { &self.held } else { position }
    }

    /// What a commit that reaches `position` says of it.
    pub(super) fn checkpoint(&self, position: &BinlogPosition) -> TableCheckpoint {
        let schema = TableSchema {
            table: self.source.as_ref().clone(),
            shadow: self.shadow.clone(),
            dropped: self.dropped,
        };
        TableCheckpoint::new(self.reached(position).clone(), None, schema)
    }

    /// Everything up to `position` is committed.
    pub(super) fn set_held(&mut self, position: &BinlogPosition, now_millis: i64) {
        self.progress.set_committed(now_millis);
        self.held = self.reached(position).clone();
        self.held_gtids = None;
        self.touched = false;
    }
}
