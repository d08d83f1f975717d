//! What a writer knows of its table between two instants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use arrow::datatypes::SchemaRef;
use tokio::sync::Mutex;

use crate::config::{
    IndexConfig, KeyGeneratorType, MergeMode, TableConfig, TableType, TableVersion, TimelineZone,
    key,
};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::index::groups::FileGroups;
use crate::index::log_keys::LogSource;
use crate::index::{Index, index_of};
use crate::record::{KeyGenerator, PartitionPathGenerator};
use crate::schema::evolution::SchemaHistory;
use crate::storage::Storage;
use crate::table::Table;
use crate::table::create::replace_config;
use crate::timeline::metadata::WriteOperation;
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime};
use crate::transaction::instant_clock::next_instant_time;
use crate::transaction::lock::{TableLock, WriterLease};
use crate::writer::WriterOptions;

/// Writers up to version 8 leave the name of a single field out of its key when this is true.
const BARE_COMPLEX_KEYS: &str = "hoodie.write.complex.keygen.new.encoding";

/// Shared by a writer and its transactions.
#[derive(Debug)]
pub(crate) struct TableState {
    pub(crate) storage: Storage,
    pub(crate) env: Env,
    pub(crate) options: WriterOptions,
    pub(crate) known: Mutex<Known>,
    /// Held for a moment: around the choice of a time, and around check and completion.
    pub(crate) lock: TableLock,
    /// Held throughout, by writers that are to be the only one.
    pub(crate) lease: Option<Arc<WriterLease>>,
    /// Instants that were begun here and are neither completed nor undone.
    pub(crate) unfinished: std::sync::Mutex<BTreeSet<InstantTime>>,
}

impl TableState {
    /// The table's logs, for the index.
    pub(crate) fn logs(&self) -> LogSource<'_> {
        LogSource {
            storage: &self.storage,
            memory: &self.env.memory,
        }
    }

    /// Notes that an instant was begun here.
    pub(crate) fn begun(&self, instant: &InstantTime) {
        self.lock_unfinished().insert(instant.clone());
    }

    /// Notes that an instant needs nothing more.
    pub(crate) fn finished(&self, instant: &InstantTime) {
        self.lock_unfinished().remove(instant);
    }

    /// Instants that were begun here and came to no end.
    pub(crate) fn unfinished(&self) -> BTreeSet<InstantTime> {
        self.lock_unfinished().clone()
    }

    fn lock_unfinished(&self) -> std::sync::MutexGuard<'_, BTreeSet<InstantTime>> {
        self.unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The table as of the last instant that was taken in.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) schema: SchemaRef,
    /// The schema was set by hand, and no commit carries it yet.
    pub(crate) is_schema_set: bool,
    /// The columns by their ids, on tables with schema on read.
    pub(crate) history: Option<SchemaHistory>,
    pub(crate) groups: Arc<FileGroups>,
    /// Completed writes whose files are known.
    pub(crate) instants: BTreeSet<Instant>,
    /// `false` when the groups must be looked up before they are used.
    pub(crate) are_groups_current: bool,
}

/// The table's settings that a write depends on, checked for what this writer can do.
#[derive(Debug)]
pub(crate) struct WritableTable {
    pub(crate) config: TableConfig,
    pub(crate) keys: KeyGenerator,
    pub(crate) partitions: PartitionPathGenerator,
    pub(crate) index: Arc<dyn Index>,
}

impl WritableTable {
    /// Reads the settings anew: another engine may have upgraded the table meanwhile (hazard 26). What the table does not
    /// say of its key generator may stand in a writer's `properties`.
    pub(crate) async fn load(
        storage: &Storage,
        properties: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let table = Table::open_storage(storage.clone()).await?;
        Self::try_new(table.config().clone(), properties)
    }

    /// What a writer needs of these settings.
    ///
    /// # Errors
    /// `Unsupported` for a table that can only be read; `Invalid` for settings that make no sense.
    pub(crate) fn try_new(
        config: TableConfig,
        properties: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let refuse = |what: String| Error::unsupported(format!("table {}: {what}", config.name()));
        if !config.populates_meta_fields() {
            return Err(refuse(
                "tables without meta columns can be read only".to_owned(),
            ));
        }
        if config.drops_partition_columns() {
            return Err(refuse(
                "tables whose files lack the partition columns can be read only".to_owned(),
            ));
        }
        if config.merge_mode() == MergeMode::Custom {
            return Err(refuse(
                "its merge mode is CUSTOM, whose rules only its own merger knows".to_owned(),
            ));
        }
        if config.column_merge()?.is_some() {
            return Err(refuse(format!(
                "its records are merged column by column ({} or its payload class), which this version only reads",
                key::PARTIAL_UPDATE_MODE
            )));
        }
        let keys = key_generator(&config, properties)?;
        let partitions = PartitionPathGenerator::for_table(&config, properties)?;
        let index = index_of(&IndexConfig::of(&config, properties)?);
        Ok(Self {
            config,
            keys,
            partitions,
            index,
        })
    }

    /// The column whose ranges the index wants to know.
    pub(crate) fn range_field(&self) -> Option<&str> {
        let first = self.keys.fields().first();
        first
            .filter(|_| self.index.reads_ranges())
            .map(String::as_str)
    }

    /// The action of a write into this table.
    pub(crate) fn write_action(&self, operation: WriteOperation) -> Action {
        if operation.is_replace() {
            return Action::ReplaceCommit;
        }
        match self.config.table_type() {
            TableType::CopyOnWrite => Action::Commit,
            TableType::MergeOnRead => Action::DeltaCommit,
        }
    }

    /// The next time for an instant on `timeline`.
    pub(crate) async fn next_time(
        &self,
        env: &Env,
        timeline: &ActiveTimeline,
    ) -> Result<InstantTime> {
        next_time(&self.config, env, timeline, None).await
    }
}

/// Only version 9 is sure of how a COMPLEX generator writes a single field (hazard 23).
fn key_generator(
    config: &TableConfig,
    properties: &BTreeMap<String, String>,
) -> Result<KeyGenerator> {
    let fields = config.record_key_fields();
    let is_bare = config.version() <= TableVersion::Eight
        && properties
            .get(BARE_COMPLEX_KEYS)
            .is_some_and(|value| value.trim() == "true");
    match config.key_generator() {
        KeyGeneratorType::Complex if !is_bare => KeyGenerator::try_new_complex(&fields),
        _ => KeyGenerator::try_new(&fields),
    }
}

/// A time later than all of `timeline` and `floor`.
pub(crate) async fn next_time(
    config: &TableConfig,
    env: &Env,
    timeline: &ActiveTimeline,
    floor: Option<&InstantTime>,
) -> Result<InstantTime> {
    let newest = timeline.latest_time().into_iter().chain(floor).max();
    let is_utc = config.timeline_zone()? == TimelineZone::Utc;
    next_instant_time(env, is_utc, newest).await
}

/// Takes the metadata table out of use if the table names one: it would not know of our files, and readers that list by it
/// would not see them (hazards 1 and 22). Engines that want one build it anew.
pub(crate) async fn disable_metadata_table(
    storage: &Storage,
    env: &Env,
    config: &TableConfig,
) -> Result<TableConfig> {
    if config.metadata_partitions().is_empty() {
        return Ok(config.clone());
    }
    let mut properties = config.properties().clone();
    properties.remove(key::METADATA_PARTITIONS);
    properties.remove("hoodie.table.metadata.partitions.inflight");
    let changed = TableConfig::try_new(properties)?;
    replace_config(storage, env, config, &changed).await?;
    tracing::info!(table = config.name(), "took the metadata table out of use");
    Ok(changed)
}
