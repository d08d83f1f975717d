//! The start of a run: which tables there are, what each holds already, and from where the log is needed.

mod begin;
mod place;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Pipeline;
use super::progress::TableProgress;
use super::signal::Resnapshot;
use super::stream_table::StreamTable;
use crate::checkpoint::{TableCheckpoint, TableSchema};
use crate::config::TablePattern;
use crate::error::{Error, ErrorKind, Result};
use crate::sink::LakeTable;
use crate::snapshot::{SnapshotLoader, TableLoad, Throttle};
use crate::source::mysql::connection::{Connection, MySqlOptions};
use crate::source::mysql::discovery::{DiscoveredTable, discover};
use crate::transform::TableTransform;
use table_format::timeline::Instant;

/// A captured table with what its lake table says of it.
pub(super) struct StartTable {
    discovered: DiscoveredTable,
    lake: LakeTable,
    newest_commit: Option<Instant>,
    checkpoint: Option<TableCheckpoint>,
    /// Whether the lake held one at the start.
    checkpoint_is_there: bool,
    progress: Arc<TableProgress>,
    /// A request to load it anew.
    request: Option<Resnapshot>,
}

/// Everything a run knows before it reads rows.
pub(super) struct Start {
    pub(super) options: MySqlOptions,
    pub(super) control: Connection,
    tables_pattern: TablePattern,
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
        let names = discovered
            .iter()
            .map(|found| found.table.to_string())
            .collect();
        pipeline.progress.keep_tables(&names);
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
            tables_pattern: config.source.tables.clone(),
            tables,
        };
        start.catch_up_quiet_tables(pipeline).await?;
        start.choose_loads(pipeline).await?;
        start.begin_new_tables(pipeline).await?;
        Ok(start)
    }

    pub(super) fn into_stream_tables(self) -> Result<Vec<StreamTable>> {
        let stream_table = |table: StartTable| {
            let source = table.discovered.table;
            let Some(checkpoint) = table.checkpoint else {
                return Err(Error::internal(format!("{source} has no checkpoint")));
            };
            // Checkpoints of older versions do not tell the columns: those of today are taken for them.
            let schema = checkpoint
                .schema
                .unwrap_or_else(|| TableSchema::new(source));
            let newest = table.newest_commit.map(|instant| instant.time.to_string());
            StreamTable::new(
                schema,
                table.lake,
                checkpoint.position,
                newest,
                table.progress,
            )
        };
        self.tables.into_iter().map(stream_table).collect()
    }
}

impl StartTable {
    /// Whether all of it is loaded anew, over what is there.
    fn is_replaced(&self) -> bool {
        let request = self.request.as_ref();
        self.checkpoint_is_there && request.is_some_and(|request| request.condition.is_none())
    }

    /// Whether it has to be given a first checkpoint.
    fn is_new(&self) -> bool {
        self.checkpoint.is_none() || self.is_replaced()
    }

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
        let progress = pipeline.progress.table(&source.to_string());
        let row_group_bytes = pipeline.plan.row_group_bytes;
        let transform = TableTransform::of(config, pipeline.transforms.as_ref(), source)?;
        let mut lake = LakeTable::open_or_create(
            config,
            transform,
            source,
            env,
            row_group_bytes,
            &pipeline.leases,
            &progress,
        )
        .await?;
        let (newest_commit, checkpoint) = lake.checkpoint().await?.unzip();
        if let Some(checkpoint) = &checkpoint {
            require_ours(&config.name, &lake, checkpoint, &source.to_string())?;
        }
        // The log tells how the columns change from the checkpoint on; chunks come in those of today.
        let following = checkpoint
            .as_ref()
            .filter(|checkpoint| checkpoint.snapshot.is_none())
            .and_then(|checkpoint| checkpoint.schema.as_ref());
        match following {
            None => lake.take_in(source).await?,
            // Another projection may stand in the pipeline file.
            Some(schema) if lake.is_transformed() => lake.take_in(&schema.table).await?,
            Some(_) => {}
        }
        Ok(Self {
            discovered,
            lake,
            newest_commit,
            checkpoint_is_there: checkpoint.is_some(),
            checkpoint,
            progress,
            request: None,
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
            throttle: Throttle::new(self.config.source.snapshot_rows_per_second),
            counters: Arc::clone(&self.progress),
            shutdown: self.shutdown.clone(),
        };
        for table in &mut start.tables {
            let Some(checkpoint) = table.checkpoint.take() else {
                continue;
            };
            let unfinished = checkpoint.snapshot.is_some();
            let condition = table
                .request
                .as_ref()
                .and_then(|request| request.condition.clone());
            let replaces = table.is_replaced();
            if replaces || condition.is_some() {
                table.lake.take_in(&table.discovered.table).await?;
            }
            let load = TableLoad {
                source: Arc::new(self.config.with_chunk_column(&table.discovered.table)?),
                lake: &mut table.lake,
                checkpoint,
                row_bytes_average: table.discovered.row_bytes_average,
                rows_estimated: table.discovered.rows_estimated,
                progress: Arc::clone(&table.progress),
            };
            let (instant, checkpoint) = match condition {
                _ if replaces => loader.replace(load).await?,
                Some(condition) if !unfinished => loader.reload(load, &condition).await?,
                _ => loader.load(load).await?,
            };
            if instant.is_some() {
                table.newest_commit = instant;
            }
            table.checkpoint = Some(checkpoint);
            if self.shutdown.is_cancelled() {
                break;
            }
            if let Some(request) = table.request.take() {
                request.remove(&self.lake, &self.config.name).await?;
            }
        }
        Ok(())
    }
}
