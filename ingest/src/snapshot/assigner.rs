//! Hands out a table's key space to parallel readers, and knows at any time what nobody has read yet.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Result;
use crate::schema::SourceTable;
use crate::source::mysql::chunk::{Chunk, ChunkSplitter, KeyRange};
use crate::source::mysql::connection::Connection;

/// Splits ranges into chunks on demand and hands them out in runs of neighbours, so that what one reader writes into a
/// base file is one contiguous key range.
#[derive(Debug)]
pub(crate) struct SplitAssigner {
    connection: Connection,
    table: Arc<SourceTable>,
    chunk_rows: u64,
    chunks_per_run: usize,
    splitter: Option<ChunkSplitter>,
    /// Not begun yet, in key order.
    ranges: VecDeque<KeyRange>,
}

impl SplitAssigner {
    pub(crate) fn new(
        connection: Connection,
        table: Arc<SourceTable>,
        ranges: Vec<KeyRange>,
        chunk_rows: u64,
        chunks_per_run: usize,
    ) -> Self {
        let (splitter, ranges) = (None, ranges.into());
        Self {
            connection,
            table,
            chunk_rows,
            chunks_per_run,
            splitter,
            ranges,
        }
    }

    /// The next neighbouring chunks; empty when everything has been handed out.
    pub(crate) async fn next_run(&mut self) -> Result<VecDeque<Chunk>> {
        let mut run = VecDeque::new();
        while run.len() < self.chunks_per_run {
            if let Some(splitter) = &mut self.splitter {
                if let Some(chunk) = splitter.next_chunk(&mut self.connection).await? {
                    run.push_back(chunk);
                    continue;
                }
                self.splitter = None;
                if !run.is_empty() {
                    break;
                }
            }
            let Some(range) = self.ranges.pop_front() else {
                break;
            };
            self.splitter = Some(ChunkSplitter::new(
                Arc::clone(&self.table),
                range,
                self.chunk_rows,
            ));
        }
        Ok(run)
    }

    /// Takes chunks back that were handed out and not read; neighbours become one range again.
    pub(crate) fn give_back(&mut self, chunks: impl IntoIterator<Item = Chunk>) {
        let mut merged: Option<KeyRange> = None;
        for chunk in chunks {
            match &mut merged {
                Some(range) if range.high == chunk.range.low => {
                    range.high = chunk.range.high;
                    range.high_inclusive = chunk.range.high_inclusive;
                }
                _ => self.ranges.extend(merged.replace(chunk.range)),
            }
        }
        self.ranges.extend(merged);
    }

    /// What has not been handed out, or has come back.
    pub(crate) fn remaining(&self) -> Vec<KeyRange> {
        let begun = self.splitter.as_ref().and_then(ChunkSplitter::remaining);
        begun
            .into_iter()
            .chain(self.ranges.iter().cloned())
            .collect()
    }
}
