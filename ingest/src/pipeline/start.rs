//! The start of a run: which tables there are, what each holds already, and from where the log is needed.

mod begin;
mod load;
mod place;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Pipeline;
use super::progress::TableProgress;
use super::signal::Resnapshot;
use super::stream_lake::StreamLake;
use super::stream_table::StreamTable;
use crate::checkpoint::{LakeCheckpoint, SnapshotProgress, TableCheckpoint, TableSchema};
use crate::config::{PipelineConfig, TablePattern, record_key};
use crate::error::{Error, ErrorKind, Result};
use crate::position::{BinlogPosition, SourcePosition};
use crate::schema::SourceTable;
use crate::sink::{Feed, LakeTable};
use crate::source::mysql::chunk::initial_range;
use crate::source::mysql::connection::{Connection, MySqlOptions};
use crate::source::mysql::discovery::{DiscoveredTable, discover};
use table_format::timeline::Instant;
use table_format::writer::WriteOperation;

/// A captured source table with what its lake table says of it.
pub(super) struct StartTable<P = BinlogPosition> {
    pub(super) discovered: DiscoveredTable,
    pub(super) feed: Feed,
    pub(super) checkpoint: Option<TableCheckpoint<P>>,
    pub(super) progress: Arc<TableProgress>,
}

/// A lake table with the source tables that feed it: one, or shards that are merged.
pub(super) struct StartLake<P = BinlogPosition> {
    pub(super) lake: LakeTable,
    newest_commit: Option<Instant>,
    pub(super) tables: Vec<StartTable<P>>,
    /// Whether it held a checkpoint at the start.
    checkpoint_is_there: bool,
    /// A request to load it anew.
    request: Option<Resnapshot>,
}

/// Everything a run knows before it reads rows.
pub(super) struct Start {
    pub(super) options: MySqlOptions,
    pub(super) control: Connection,
    tables_pattern: TablePattern,
    pub(super) lakes: Vec<StartLake>,
}

impl Start {
    /// Connects, finds the tables and opens or creates their lake tables.
    pub(super) async fn prepare(pipeline: &Pipeline) -> Result<Self> {
        let (options, mut control) = pipeline.connect().await?;
        let lakes = StartLake::open_all(pipeline, &mut control).await?;
        let mut start = Self {
            options,
            control,
            tables_pattern: pipeline.config.source.tables.clone(),
            lakes,
        };
        start.catch_up_quiet_tables(pipeline).await?;
        take_requests(pipeline, &mut start.lakes).await?;
        start.choose_loads(pipeline).await?;
        start.begin_new_tables(pipeline).await?;
        Ok(start)
    }

    pub(super) fn into_stream_tables(self) -> Result<(Vec<StreamLake>, Vec<StreamTable>)> {
        let (mut lakes, mut tables) = (Vec::new(), Vec::new());
        for start in self.lakes {
            let newest = start.newest_commit.map(|instant| instant.time.to_string());
            let number = lakes.len();
            lakes.push(StreamLake::new(start.lake, newest, start.tables.len()));
            for table in start.tables {
                tables.push(table.into_stream_table(number)?);
            }
        }
        Ok((lakes, tables))
    }

    /// The source tables with the lake tables that they go to.
    fn tables(&self) -> impl Iterator<Item = (&StartLake, &StartTable)> {
        self.lakes
            .iter()
            .flat_map(|lake| lake.tables.iter().map(move |table| (lake, table)))
    }
}

impl<P: SourcePosition> StartTable<P> {
    fn new(pipeline: &Pipeline, discovered: DiscoveredTable) -> Result<Self> {
        let (config, source) = (&pipeline.config, &discovered.table);
        if record_key(&config.transforms, source).is_empty() {
            return Err(Error::invalid(format!(
                "{source} has no primary key; ALTER TABLE `{}`.`{}` ADD PRIMARY KEY (...), or say in a transform how its rows are kept apart: `primary-keys`, or `mode: append`",
                source.database, source.name
            )));
        }
        Ok(Self {
            feed: Feed::of(config, pipeline.transforms.as_ref(), source)?,
            progress: pipeline.progress.table(&source.to_string()),
            checkpoint: None,
            discovered,
        })
    }

    /// Gives it its first checkpoint: from `position` on, with all its rows still to be read if it is loaded.
    async fn begin(
        &mut self,
        control: &mut Connection,
        config: &PipelineConfig,
        position: P,
        is_loaded: bool,
    ) -> Result<()> {
        let discovered = &self.discovered.table;
        tracing::info!(table = %discovered, %position, "start position");
        let snapshot = match is_loaded {
            true => {
                let chunked = config.with_chunk_column(discovered)?;
                let range = initial_range(control, &chunked).await?;
                Some(SnapshotProgress {
                    remaining: range.into_iter().collect(),
                    rows: 0,
                })
            }
            false => None,
        };
        let schema = TableSchema::new(discovered.clone());
        self.checkpoint = Some(TableCheckpoint::new(position, snapshot, schema));
        Ok(())
    }
}

impl StartTable {
    fn into_stream_table(self, lake: usize) -> Result<StreamTable> {
        let source = self.discovered.table;
        let Some(checkpoint) = self.checkpoint else {
            return Err(Error::internal(format!("{source} has no checkpoint")));
        };
        // Checkpoints of older versions do not tell the columns: those of today are taken for them.
        let schema = checkpoint
            .schema
            .unwrap_or_else(|| TableSchema::new(source));
        StreamTable::new(schema, lake, self.feed, checkpoint.position, self.progress)
    }
}

/// Finds the requests to load tables anew.
pub(super) async fn take_requests<P>(
    pipeline: &Pipeline,
    lakes: &mut [StartLake<P>],
) -> Result<()> {
    for request in Resnapshot::pending(&pipeline.lake, &pipeline.config.name).await? {
        match lakes
            .iter_mut()
            .find(|lake| lake.lake.name() == request.lake_table)
        {
            Some(lake) => lake.request = Some(request),
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
    Ok(())
}

impl<P> StartLake<P> {
    /// Whether all of it is loaded anew, over what is there.
    pub(super) fn is_replaced(&self) -> bool {
        let request = self.request.as_ref();
        self.checkpoint_is_there && request.is_some_and(|request| request.condition.is_none())
    }

    /// Whether a source table of it has to be given a first checkpoint.
    pub(super) fn is_new(&self, table: &StartTable<P>) -> bool {
        table.checkpoint.is_none() || self.is_replaced()
    }
}

impl<P: SourcePosition> StartLake<P> {
    /// Gives the source tables that are new their first checkpoints, at their `position`. Unless they are loaded, these are
    /// committed.
    pub(super) async fn begin_tables(
        &mut self,
        control: &mut Connection,
        config: &PipelineConfig,
        position: impl Fn(&SourceTable) -> Result<P> + Send,
        is_loaded: bool,
    ) -> Result<()> {
        let replaces = self.is_replaced();
        let mut begun = false;
        for table in &mut self.tables {
            if table.checkpoint.is_some() && !replaces {
                continue;
            }
            let position = position(&table.discovered.table)?;
            table.begin(control, config, position, is_loaded).await?;
            begun = true;
        }
        if begun && !is_loaded {
            self.lake.begin(WriteOperation::Upsert).await?;
            let checkpoint = self.checkpoint(&config.name);
            self.newest_commit = Some(self.lake.commit(&checkpoint).await?);
        }
        Ok(())
    }

    /// Finds the source tables, and opens or creates the lake tables that they go to.
    pub(super) async fn open_all(
        pipeline: &Pipeline,
        control: &mut Connection,
    ) -> Result<Vec<Self>> {
        let config = &pipeline.config;
        let discovered = discover(control, config.source.tables.regex()).await?;
        if discovered.is_empty() {
            return Err(Error::invalid(format!(
                "no table of {} matches source.tables `{}`; it is a regular expression on DATABASE.TABLE",
                control.endpoint(),
                config.source.tables
            )));
        }
        let names = discovered
            .iter()
            .map(|found| found.table.to_string())
            .collect();
        pipeline.progress.keep_tables(&names);
        let mut by_lake: BTreeMap<String, Vec<DiscoveredTable>> = BTreeMap::new();
        for found in discovered {
            let (database, table) = (&found.table.database, &found.table.name);
            let lake = config.sink_table(database, table);
            by_lake.entry(lake).or_default().push(found);
        }
        let mut lakes = Vec::with_capacity(by_lake.len());
        for discovered in by_lake.into_values() {
            lakes.push(Self::open(pipeline, discovered).await?);
        }
        Ok(lakes)
    }

    /// Opens or creates the lake table of these source tables.
    async fn open(pipeline: &Pipeline, discovered: Vec<DiscoveredTable>) -> Result<Self> {
        let config = &pipeline.config;
        let tables = discovered.into_iter();
        let tables = tables.map(|discovered| StartTable::new(pipeline, discovered));
        let mut tables = tables.collect::<Result<Vec<_>>>()?;
        require_one_key(config, &tables)?;
        let first = tables
            .first()
            .ok_or_else(|| Error::internal("a lake table without a source"))?;
        let mut lake = LakeTable::open_or_create(
            config,
            &first.feed,
            &first.discovered.table,
            &pipeline.env,
            pipeline.plan.row_group_bytes,
            &pipeline.leases,
            &first.progress,
        )
        .await?;
        let (newest_commit, checkpoint) = lake.checkpoint().await?.unzip();
        let checkpoint_is_there = checkpoint.is_some();
        if let Some(checkpoint) = checkpoint {
            require_ours(&config.name, &lake, &checkpoint, &tables)?;
            for held in checkpoint.tables {
                let name = |table: &&mut StartTable<P>| {
                    table.discovered.table.to_string() == held.source_table
                };
                if let Some(table) = tables.iter_mut().find(name) {
                    table.checkpoint = Some(held);
                }
            }
        }
        let is_merged = tables.len() > 1;
        for table in &tables {
            // The log tells how the columns change from the checkpoint on; chunks come in those of today.
            let following = table
                .checkpoint
                .as_ref()
                .filter(|checkpoint| checkpoint.snapshot.is_none())
                .and_then(|checkpoint| checkpoint.schema.as_ref());
            let source = match following {
                None => &table.discovered.table,
                // Another projection may stand in the pipeline file.
                Some(schema) if table.feed.is_transformed() => &schema.table,
                Some(_) => continue,
            };
            lake.take_in(&table.feed, source, is_merged).await?;
        }
        Ok(Self {
            lake,
            newest_commit,
            tables,
            checkpoint_is_there,
            request: None,
        })
    }

    /// What a commit says of its source tables, those that have no checkpoint yet left out.
    pub(super) fn checkpoint(&self, pipeline: &str) -> LakeCheckpoint<P> {
        let tables = self.tables.iter();
        let held = tables.filter_map(|table| table.checkpoint.clone());
        LakeCheckpoint::new(pipeline, held.collect())
    }
}

/// Shards that are merged have to be keyed alike.
fn require_one_key<P>(config: &PipelineConfig, tables: &[StartTable<P>]) -> Result<()> {
    let key = |table: &StartTable<P>| record_key(&config.transforms, &table.discovered.table);
    let Some((first, rest)) = tables.split_first() else {
        return Ok(());
    };
    let other = rest.iter().find(|table| key(table) != key(first));
    match other {
        None => Ok(()),
        Some(other) => Err(Error::invalid(format!(
            "{} is keyed by {}, {} by {}, and both go to one lake table: choose `primary-keys` in a transform that matches \
             both, or give each a sink-table of its own",
            first.discovered.table,
            key(first).join(", "),
            other.discovered.table,
            key(other).join(", ")
        ))),
    }
}

fn require_ours<P: SourcePosition>(
    pipeline: &str,
    lake: &LakeTable,
    checkpoint: &LakeCheckpoint<P>,
    tables: &[StartTable<P>],
) -> Result<()> {
    let is_fed_by = |table: &StartTable<P>| {
        let name = table.discovered.table.to_string();
        checkpoint
            .tables
            .iter()
            .any(|held| held.source_table == name)
    };
    if checkpoint.pipeline == pipeline && tables.iter().any(is_fed_by) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        format!(
            "lake table {} is fed by pipeline `{}` from {}; use its name, or another sink.path",
            lake.name(),
            checkpoint.pipeline,
            checkpoint.source_tables()
        ),
    ))
}
