//! The start of a run: which tables there are, what each holds already, and from where the log is needed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Pipeline;
use super::progress::TableProgress;
use super::stream::StreamTable;
use crate::checkpoint::{PipelineCheckpoint, SnapshotProgress, TableCheckpoint};
use crate::config::StartupMode;
use crate::error::{Error, ErrorKind, Result};
use crate::position::BinlogPosition;
use crate::sink::LakeTable;
use crate::snapshot::{SnapshotLoader, TableLoad};
use crate::source::mysql::chunk::initial_range;
use crate::source::mysql::connection::{Connection, MySqlOptions};
use crate::source::mysql::discovery::{DiscoveredTable, discover};
use crate::source::mysql::safe_position::{current_position, safe_position};
use table_format::timeline::Instant;
use table_format::writer::WriteOperation;

/// A captured table with what its lake table says of it.
pub(super) struct StartTable {
    discovered: DiscoveredTable,
    lake: LakeTable,
    newest_commit: Option<Instant>,
    checkpoint: Option<TableCheckpoint>,
    progress: Arc<TableProgress>,
}

/// Everything a run knows before it reads rows.
pub(super) struct Start {
    pub(super) options: MySqlOptions,
    pub(super) control: Connection,
    tables: Vec<StartTable>,
}

impl Start {
    /// Connects, finds the tables and opens or creates their lake tables.
    pub(super) async fn prepare(pipeline: &Pipeline) -> Result<Self> {
        let config = &pipeline.config;
        let options = MySqlOptions {
            memory: pipeline.env.memory.clone(),
            ..MySqlOptions::from_config(&config.source)?
        };
        let mut control = Connection::connect(&options).await?;
        let discovered = discover(&mut control, config.source.tables.regex()).await?;
        if discovered.is_empty() {
            return Err(Error::invalid(format!(
                "no table of {} matches source.tables `{}`; it is a regular expression on DATABASE.TABLE",
                options.endpoint(),
                config.source.tables
            )));
        }
        pipeline.progress.clear_tables();
        let mut tables = Vec::with_capacity(discovered.len());
        let mut sinks = BTreeSet::new();
        for discovered in discovered {
            let table = StartTable::open(pipeline, discovered).await?;
            if !sinks.insert(table.lake.name().to_owned()) {
                return Err(Error::invalid(format!(
                    "several source tables go to the lake table {}; give each a sink-table of its own",
                    table.lake.name()
                )));
            }
            tables.push(table);
        }
        let mut start = Self {
            options,
            control,
            tables,
        };
        start.begin_new_tables(pipeline).await?;
        Ok(start)
    }

    /// Gives tables that no commit speaks of their first checkpoint.
    async fn begin_new_tables(&mut self, pipeline: &Pipeline) -> Result<()> {
        if self.tables.iter().all(|table| table.checkpoint.is_some()) {
            return Ok(());
        }
        let config = &pipeline.config;
        let loads = config.source.startup_mode != StartupMode::LatestOffset;
        let position = if loads {
            safe_position(&self.options).await?
        } else {
            current_position(&mut self.control).await?
        };
        tracing::info!(%position, "start position of new tables");
        for table in self
            .tables
            .iter_mut()
            .filter(|table| table.checkpoint.is_none())
        {
            let source = &table.discovered.table;
            let snapshot = match loads {
                true => Some(SnapshotProgress {
                    remaining: initial_range(&mut self.control, source)
                        .await?
                        .into_iter()
                        .collect(),
                    rows: 0,
                }),
                false => None,
            };
            let name = source.to_string();
            let checkpoint = TableCheckpoint::new(&config.name, &name, position.clone(), snapshot);
            if !loads {
                table.lake.begin(WriteOperation::Upsert).await?;
                table.newest_commit = Some(table.lake.commit(&checkpoint).await?);
            }
            table.checkpoint = Some(checkpoint);
        }
        Ok(())
    }

    /// From where the log is needed: the lowest position of the tables, after those that had no change have caught up
    /// with the pipeline checkpoint.
    pub(super) async fn position(&mut self, pipeline: &Pipeline) -> Result<BinlogPosition> {
        let noted = PipelineCheckpoint::load(&pipeline.lake, &pipeline.config.name).await?;
        for table in &mut self.tables {
            let (Some(checkpoint), Some(newest)) = (&mut table.checkpoint, &table.newest_commit)
            else {
                continue;
            };
            if let Some(noted) = &noted
                && noted.covers(table.lake.name(), newest)
                && noted.position.is_same_server(&checkpoint.position)
                && noted.position > checkpoint.position
            {
                checkpoint.position = noted.position.clone();
            }
        }
        self.require_same_server().await?;
        let positions = self
            .tables
            .iter()
            .filter_map(|table| table.checkpoint.as_ref());
        positions
            .map(|checkpoint| checkpoint.position.clone())
            .min()
            .ok_or_else(|| Error::internal("a pipeline without tables has no position"))
    }

    /// File and offset mean nothing on another server: skipping by them would lose rows without a word.
    async fn require_same_server(&mut self) -> Result<()> {
        let here = current_position(&mut self.control).await?;
        for table in &self.tables {
            let Some(checkpoint) = &table.checkpoint else {
                continue;
            };
            if !checkpoint.position.is_same_server(&here) {
                return Err(Error::invalid(format!(
                    "{} was read up to {} of {}, but {} is {}; point source.hostname at that server, or remove the \
                     lake table to load it anew",
                    table.lake.name(),
                    checkpoint.position,
                    checkpoint.position.server,
                    self.options.endpoint(),
                    here.server
                )));
            }
        }
        Ok(())
    }

    pub(super) fn into_stream_tables(self) -> Result<Vec<StreamTable>> {
        let stream_table = |table: StartTable| {
            let missing =
                || Error::internal(format!("{} has no checkpoint", table.discovered.table));
            let held = table
                .checkpoint
                .as_ref()
                .ok_or_else(missing)?
                .position
                .clone();
            let newest = table.newest_commit.map(|instant| instant.time.to_string());
            StreamTable::new(
                Arc::new(table.discovered.table),
                table.lake,
                held,
                newest,
                table.progress,
            )
        };
        self.tables.into_iter().map(stream_table).collect()
    }
}

impl StartTable {
    async fn open(pipeline: &Pipeline, discovered: DiscoveredTable) -> Result<Self> {
        let (config, env) = (&pipeline.config, &pipeline.env);
        let source = &discovered.table;
        if source.primary_key.is_empty()
            && config
                .transform(&source.database, &source.name)
                .is_none_or(|transform| transform.primary_keys.is_empty())
        {
            return Err(Error::invalid(format!(
                "{source} has no primary key; ALTER TABLE `{}`.`{}` ADD PRIMARY KEY (...), or leave it out of source.tables",
                source.database, source.name
            )));
        }
        let progress = pipeline.progress.add_table(source.to_string());
        let row_group_bytes = pipeline.plan.row_group_bytes;
        let lake =
            LakeTable::open_or_create(config, source, env, row_group_bytes, &pipeline.leases)
                .await?;
        let (newest_commit, checkpoint) = lake.checkpoint().await?.unzip();
        if let Some(checkpoint) = &checkpoint {
            require_ours(&config.name, &lake, checkpoint, &source.to_string())?;
        }
        Ok(Self {
            discovered,
            lake,
            newest_commit,
            checkpoint,
            progress,
        })
    }
}

fn require_ours(
    pipeline: &str,
    lake: &LakeTable,
    checkpoint: &TableCheckpoint,
    source: &str,
) -> Result<()> {
    if checkpoint.pipeline == pipeline && checkpoint.source_table == source {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        format!(
            "lake table {} is fed by pipeline `{}` from {}; use its name, or another sink.path",
            lake.name(),
            checkpoint.pipeline,
            checkpoint.source_table
        ),
    ))
}

impl Pipeline {
    /// Reads what the snapshots have left, table after table.
    pub(super) async fn load_snapshots(&self, start: &mut Start) -> Result<()> {
        let loader = SnapshotLoader {
            options: start.options.clone(),
            plan: self.plan,
            chunk_rows_max: self.config.source.chunk_rows_max,
            commit_interval: self.config.sink.commit_interval,
            shutdown: self.shutdown.clone(),
        };
        for table in &mut start.tables {
            let Some(checkpoint) = table.checkpoint.take() else {
                continue;
            };
            let unfinished = checkpoint.snapshot.is_some();
            let load = TableLoad {
                source: Arc::new(table.discovered.table.clone()),
                lake: &mut table.lake,
                checkpoint,
                row_bytes_average: table.discovered.row_bytes_average,
                rows_estimated: table.discovered.rows_estimated,
                progress: Arc::clone(&table.progress),
            };
            let (instant, checkpoint) = loader.load(load).await?;
            if unfinished {
                table.newest_commit = instant;
            }
            table.checkpoint = Some(checkpoint);
            if self.shutdown.is_cancelled() {
                break;
            }
        }
        Ok(())
    }
}
