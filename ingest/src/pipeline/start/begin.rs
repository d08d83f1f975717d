//! Which tables begin anew, and where: those that no commit speaks of, those that somebody asked for, those whose log is gone.

use table_format::writer::WriteOperation;

use super::{Start, StartTable};
use crate::checkpoint::{PipelineCheckpoint, SnapshotProgress, TableCheckpoint, TableSchema};
use crate::config::{PositionLost, StartupMode};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::pipeline::signal::Resnapshot;
use crate::source::mysql::backlog::log_files;
use crate::source::mysql::chunk::initial_range;
use crate::source::mysql::discovery::discover;
use crate::source::mysql::safe_position::current_position;
use crate::source::mysql::start_position::start_position;

impl Start {
    /// Tables that had no change since their last commit hold everything up to the pipeline checkpoint.
    pub(super) async fn catch_up_quiet_tables(&mut self, pipeline: &Pipeline) -> Result<()> {
        let noted = PipelineCheckpoint::load(&pipeline.lake, &pipeline.config.name).await?;
        let Some(noted) = noted else { return Ok(()) };
        for table in &mut self.tables {
            if let (Some(checkpoint), Some(newest)) = (&mut table.checkpoint, &table.newest_commit)
                && checkpoint.snapshot.is_none()
                && noted.covers(table.lake.name(), newest)
                && noted.position.is_same_server(&checkpoint.position)
                && noted.position > checkpoint.position
            {
                checkpoint.position = noted.position.clone();
            }
        }
        Ok(())
    }

    /// Finds the tables that are to be loaded anew: by request, or because the log does not go back to their position.
    pub(super) async fn choose_loads(&mut self, pipeline: &Pipeline) -> Result<()> {
        for request in Resnapshot::pending(&pipeline.lake, &pipeline.config.name).await? {
            match self
                .tables
                .iter_mut()
                .find(|table| table.lake.name() == request.lake_table)
            {
                Some(table) => table.request = Some(request),
                None => {
                    tracing::warn!(
                        table = request.lake_table,
                        "is to be loaded anew, and is none of the pipeline's"
                    );
                    request
                        .remove(&pipeline.lake, &pipeline.config.name)
                        .await?;
                }
            }
        }
        let files = match pipeline.config.source.position_lost {
            PositionLost::Fail => return Ok(()),
            PositionLost::Snapshot => log_files(&mut self.control).await?,
        };
        let here = current_position(&mut self.control).await?;
        for table in &mut self.tables {
            let Some(checkpoint) = &table.checkpoint else {
                continue;
            };
            let position = &checkpoint.position;
            let is_there = files.iter().any(|(file, _)| *file == position.file);
            if position.is_same_server(&here) && !position.is_by_gtid() && !is_there {
                tracing::warn!(table = table.lake.name(), %position, "the log does not go back so far; loading the table anew");
                let lake_table = table.lake.name().to_owned();
                table.request = Some(Resnapshot {
                    lake_table,
                    condition: None,
                });
            }
        }
        Ok(())
    }

    /// Gives tables that no commit speaks of, and those that are to be loaded anew, their first checkpoint.
    pub(super) async fn begin_new_tables(&mut self, pipeline: &Pipeline) -> Result<()> {
        if !self.tables.iter().any(StartTable::is_new) {
            return Ok(());
        }
        let source = &pipeline.config.source;
        let (mode, server_id) = (&source.startup_mode, source.server_id);
        let replaces = self.tables.iter().any(StartTable::is_replaced);
        // What is loaded anew is so whatever the mode of the others.
        let initial = StartupMode::Initial;
        let loading = match mode.loads() || replaces {
            true => {
                Some(start_position(&self.options, &mut self.control, server_id, &initial).await?)
            }
            false => None,
        };
        let following = match mode.loads() {
            true => None,
            false => Some(start_position(&self.options, &mut self.control, server_id, mode).await?),
        };
        self.require_unaltered().await?;
        for table in self.tables.iter_mut().filter(|table| table.is_new()) {
            let is_loaded = mode.loads() || table.is_replaced();
            let position = if is_loaded { &loading } else { &following };
            let Some(position) = position.clone() else {
                continue;
            };
            tracing::info!(table = table.lake.name(), %position, "start position");
            let discovered = &table.discovered.table;
            let chunked = pipeline.config.with_chunk_column(discovered)?;
            let snapshot = match is_loaded {
                true => Some(SnapshotProgress {
                    remaining: initial_range(&mut self.control, &chunked)
                        .await?
                        .into_iter()
                        .collect(),
                    rows: 0,
                }),
                false => None,
            };
            let schema = TableSchema::new(discovered.clone());
            let checkpoint =
                TableCheckpoint::new(&pipeline.config.name, position, snapshot, schema);
            if !is_loaded {
                table.lake.begin(WriteOperation::Upsert).await?;
                table.newest_commit = Some(table.lake.commit(&checkpoint).await?);
            }
            table.checkpoint = Some(checkpoint);
        }
        Ok(())
    }

    /// The columns that were looked at before the position was taken are those of the position if nothing has changed since.
    async fn require_unaltered(&mut self) -> Result<()> {
        let now = discover(&mut self.control, self.tables_pattern.regex()).await?;
        for table in self.tables.iter().filter(|table| table.is_new()) {
            let known = &table.discovered.table;
            if !now.iter().any(|now| now.table == *known) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("{known} was altered at the moment when it was looked at"),
                ));
            }
        }
        Ok(())
    }
}
