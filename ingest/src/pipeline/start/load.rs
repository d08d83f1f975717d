//! Reading what the snapshots have left, lake table after lake table.

use std::sync::Arc;

use super::StartLake;
use crate::checkpoint::LakeCheckpoint;
use crate::config::PipelineConfig;
use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::position::SourcePosition;
use crate::snapshot::{SnapshotLoader, TableLoad, Throttle};
use crate::source::mysql::connection::MySqlOptions;

impl Pipeline {
    /// Reads what the snapshots have left.
    pub(in crate::pipeline) async fn load_snapshots<P: SourcePosition>(
        &self,
        options: &MySqlOptions,
        lakes: &mut [StartLake<P>],
    ) -> Result<()> {
        let loader = SnapshotLoader {
            options: options.clone(),
            plan: self.plan,
            chunk_rows_max: self.config.source.chunk_rows_max,
            commit_interval: self.config.sink.commit_interval,
            throttle: Throttle::new(self.config.source.snapshot_rows_per_second),
            counters: Arc::clone(&self.progress),
            shutdown: self.shutdown.clone(),
        };
        for lake in lakes {
            lake.load(&loader, &self.config).await?;
            if self.shutdown.is_cancelled() {
                break;
            }
            if let Some(request) = lake.request.take() {
                request.remove(&self.lake, &self.config.name).await?;
            }
        }
        Ok(())
    }
}

impl<P: SourcePosition> StartLake<P> {
    /// Reads its source tables one after the other. When all of it is loaded anew, the first one takes the place of what the
    /// lake table holds.
    async fn load(&mut self, loader: &SnapshotLoader, config: &PipelineConfig) -> Result<()> {
        let (replaces, request) = (self.is_replaced(), self.request.clone());
        let condition = request.and_then(|request| request.condition);
        let is_merged = self.tables.len() > 1;
        let mut checkpoint = self.checkpoint(&config.name);
        for (number, table) in self.tables.iter_mut().enumerate() {
            let unfinished = checkpoint.tables[number].snapshot.is_some();
            if replaces || condition.is_some() {
                let discovered = &table.discovered.table;
                self.lake
                    .take_in(&table.feed, discovered, is_merged)
                    .await?;
            }
            let is_first = is_first(&checkpoint, number);
            let load = TableLoad {
                source: Arc::new(config.with_chunk_column(&table.discovered.table)?),
                feed: &mut table.feed,
                lake: &mut self.lake,
                checkpoint: &mut checkpoint,
                number,
                is_first,
                row_bytes_average: table.discovered.row_bytes_average,
                rows_estimated: table.discovered.rows_estimated,
                progress: Arc::clone(&table.progress),
            };
            let instant = match &condition {
                _ if replaces && number == 0 => loader.replace(load).await?,
                Some(condition) if !unfinished => loader.reload(load, condition).await?,
                _ => loader.load(load).await?,
            };
            if instant.is_some() {
                self.newest_commit = instant;
            }
            table.checkpoint = checkpoint.tables.get(number).cloned();
            if loader.shutdown.is_cancelled() {
                break;
            }
        }
        Ok(())
    }
}

/// Whether the lake table holds no rows of other source tables than this one: a row that moves between shards may be read in
/// both.
fn is_first<P>(checkpoint: &LakeCheckpoint<P>, number: usize) -> bool {
    let others = checkpoint.tables.iter().enumerate();
    let mut others = others.filter(|(other, _)| *other != number);
    others.all(|(_, other)| {
        let snapshot = other.snapshot.as_ref();
        snapshot.is_some_and(|snapshot| snapshot.rows == 0)
    })
}
