//! Which tables begin anew, and where: those that no commit speaks of, those that somebody asked for, those whose log is gone.

use super::{Start, StartLake};
use crate::checkpoint::PipelineCheckpoint;
use crate::config::{PositionLost, StartupMode};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::pipeline::signal::Resnapshot;
use crate::position::BinlogPosition;
use crate::schema::SourceTable;
use crate::source::mysql::backlog::log_files;
use crate::source::mysql::discovery::discover;
use crate::source::mysql::safe_position::current_position;
use crate::source::mysql::start_position::start_position;

impl Start {
    /// Tables that had no change since their last commit hold everything up to the pipeline checkpoint.
    pub(super) async fn catch_up_quiet_tables(&mut self, pipeline: &Pipeline) -> Result<()> {
        let noted = PipelineCheckpoint::load(&pipeline.lake, &pipeline.config.name).await?;
        let Some(noted) = noted else { return Ok(()) };
        for lake in &mut self.lakes {
            let Some(newest) = &lake.newest_commit else {
                continue;
            };
            if !noted.covers(lake.lake.name(), newest) {
                continue;
            }
            let tables = lake.tables.iter_mut();
            for checkpoint in tables.filter_map(|table| table.checkpoint.as_mut()) {
                if checkpoint.snapshot.is_none()
                    && noted.position.is_same_server(&checkpoint.position)
                    && noted.position > checkpoint.position
                {
                    checkpoint.position = noted.position.clone();
                }
            }
        }
        Ok(())
    }

    /// Finds the tables that are to be loaded anew because the log does not go back to their position.
    pub(super) async fn choose_loads(&mut self, pipeline: &Pipeline) -> Result<()> {
        let files = match pipeline.config.source.position_lost {
            PositionLost::Fail => return Ok(()),
            PositionLost::Snapshot => log_files(&mut self.control).await?,
        };
        let here = current_position(&mut self.control).await?;
        for lake in &mut self.lakes {
            let is_lost = |position: &BinlogPosition| {
                let is_there = files.iter().any(|(file, _)| *file == position.file);
                position.is_same_server(&here) && !position.is_by_gtid() && !is_there
            };
            let tables = lake.tables.iter();
            let mut positions =
                tables.filter_map(|table| Some(&table.checkpoint.as_ref()?.position));
            if let Some(position) = positions.find(|position| is_lost(position)) {
                tracing::warn!(table = lake.lake.name(), %position, "the log does not go back so far; loading the table anew");
                let lake_table = lake.lake.name().to_owned();
                lake.request = Some(Resnapshot {
                    lake_table,
                    condition: None,
                });
            }
        }
        Ok(())
    }

    /// Gives tables that no commit speaks of, and those that are to be loaded anew, their first checkpoint.
    pub(super) async fn begin_new_tables(&mut self, pipeline: &Pipeline) -> Result<()> {
        if !self.tables().any(|(lake, table)| lake.is_new(table)) {
            return Ok(());
        }
        let source = &pipeline.config.source;
        let (mode, server_id) = (&source.startup_mode, source.server_id);
        let replaces = self.lakes.iter().any(StartLake::is_replaced);
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
        let (control, config) = (&mut self.control, &pipeline.config);
        for lake in &mut self.lakes {
            let is_loaded = mode.loads() || lake.is_replaced();
            let position = if is_loaded { &loading } else { &following };
            let Some(position) = lake.joining_position().or(position.clone()) else {
                continue;
            };
            let position = |_: &SourceTable| Ok(position.clone());
            lake.begin_tables(control, config, position, is_loaded)
                .await?;
        }
        Ok(())
    }

    /// The columns that were looked at before the position was taken are those of the position if nothing has changed since.
    async fn require_unaltered(&mut self) -> Result<()> {
        let now = discover(&mut self.control, self.tables_pattern.regex()).await?;
        for (_, table) in self.tables().filter(|(lake, table)| lake.is_new(table)) {
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

impl StartLake {
    /// Where a source table begins that joins others: where these stand, so that a row that moves between them is followed
    /// in all of them from the same place on.
    fn joining_position(&self) -> Option<BinlogPosition> {
        let held = self.tables.iter().filter(|table| !self.is_new(table));
        let positions = held.filter_map(|table| Some(&table.checkpoint.as_ref()?.position));
        positions.min().cloned()
    }
}
