//! Creates tables, and changes their properties.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use crate::config::{MergeMode, NewTable, TableConfig, TableType};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::file_group::Horizon;
use crate::schema::avro::{arrow_to_avro, avro_to_arrow, record_name, record_namespace};
use crate::schema::meta::{is_meta_column, without_meta_columns};
use crate::storage::Storage;
use crate::table::{PROPERTIES_BACKUP_PATH, PROPERTIES_PATH, Table, read_config};
use crate::timeline::archived::Selection;
use crate::timeline::{ActiveTimeline, Instant};
use crate::transaction::WritableTable;
use crate::writer::OrderingColumns;

/// What a new table is to be.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// Name of the table.
    pub name: String,
    /// Its database; may be empty.
    pub database: String,
    /// Copy-on-write or merge-on-read.
    pub table_type: TableType,
    /// Columns without the meta columns.
    pub schema: SchemaRef,
    /// Columns that make up the record key.
    pub record_key: Vec<String>,
    /// Columns that partition the table; may be empty. `column:simple` or `column:timestamp` for the CUSTOM key generator.
    pub partition_by: Vec<String>,
    /// Columns that decide between versions of a row; empty: the later write wins.
    pub ordering: Vec<String>,
    /// Overrides which version of a row wins.
    pub merge_mode: Option<MergeMode>,
    /// `hoodie.*` properties: those that concern the table are kept in it, and write options fill in what is left empty above.
    pub properties: BTreeMap<String, String>,
}

impl Table {
    /// Creates an empty table, whose instants are in UTC: of version 9, or of the one that `hoodie.write.table.version` asks for.
    ///
    /// # Errors
    /// `AlreadyExists` when a table is there; `Invalid` when anything else is; `Invalid` or `Unsupported` when the columns cannot be a table's.
    pub async fn create(storage: Storage, env: Env, spec: TableSpec) -> Result<Self> {
        for path in [PROPERTIES_PATH, PROPERTIES_BACKUP_PATH] {
            if storage.exists(path).await? {
                let message = format!("{} is a Hudi table already", storage.location());
                return Err(Error::new(ErrorKind::AlreadyExists, message));
            }
        }
        let there = storage.list("").await?;
        if let Some(name) = there
            .dirs
            .first()
            .or(there.files.first().map(|file| &file.name))
        {
            let message = format!(
                "{} holds `{name}` and is not a Hudi table; empty it or choose another place",
                storage.location()
            );
            return Err(Error::invalid(message));
        }
        let spec = spec.with_write_options()?;
        check_columns(&spec)?;
        let schema = arrow_to_avro(
            &spec.schema,
            &record_name(&spec.name),
            &record_namespace(&spec.name),
        )?;
        let properties = spec.table_properties();
        let config = NewTable {
            version: spec.version()?,
            name: &spec.name,
            database: (!spec.database.is_empty()).then_some(spec.database.as_str()),
            table_type: spec.table_type,
            record_key: &spec.record_key,
            partition_by: &spec.partition_by,
            ordering: &spec.ordering,
            merge_mode: spec.merge_mode,
            create_schema: &schema,
            properties: &properties,
        }
        .config()?;
        WritableTable::try_new(config.clone(), &BTreeMap::new())?;
        OrderingColumns::try_new(&config, &spec.schema)?;
        // The properties come last: with them the table exists. An object store has no folders to create.
        storage
            .create(PROPERTIES_PATH, encode(&config, &env))
            .await?;
        Ok(Self::new(storage, config))
    }

    /// The columns of the table without the meta columns, as of the newest commit that tells.
    ///
    /// # Errors
    /// `Corrupt` when no schema is to be found or it cannot be read.
    pub async fn schema(&self) -> Result<SchemaRef> {
        let text = self.schema_text(&self.timeline().await?).await?;
        Ok(without_meta_columns(avro_to_arrow(&text)?.as_ref()))
    }

    /// The same as Avro JSON, as commits carry it.
    pub(crate) async fn schema_text(&self, timeline: &ActiveTimeline) -> Result<String> {
        self.schema_text_within(timeline, &Horizon::Latest).await
    }

    /// The same as of the newest commit within a horizon.
    pub(crate) async fn schema_text_within(
        &self,
        timeline: &ActiveTimeline,
        horizon: &Horizon,
    ) -> Result<String> {
        let newest = self.committed_schema(timeline, horizon).await?;
        let text = newest.or_else(|| self.config().create_schema().map(str::to_owned));
        text.ok_or_else(|| {
            let place = self.storage().location_of(PROPERTIES_PATH);
            Error::corrupt(
                place,
                "neither a commit nor the table's properties tell its schema",
            )
        })
    }

    /// The newest completed write that carries `key` in its extra metadata, with all of it. Commits of other engines carry
    /// only a schema, so the newest commit alone does not tell (hazard 25): the walk goes back over the active timeline, by
    /// completion, and on into the archive, by begin time.
    ///
    /// # Errors
    /// What the store says; `Corrupt` when a commit cannot be read.
    pub async fn last_extra_metadata(
        &self,
        key: &str,
    ) -> Result<Option<(Instant, BTreeMap<String, String>)>> {
        let timeline: ActiveTimeline = self.timeline().await?;
        for instant in timeline.completed_writes_by_completion().into_iter().rev() {
            let metadata = timeline.read_metadata(instant).await?;
            if metadata.extra_metadata.contains_key(key) {
                return Ok(Some((instant.clone(), metadata.extra_metadata)));
            }
        }
        let archived = self
            .archived()
            .await?
            .newest_write(&Selection::default(), |_, commit| {
                Ok(commit.extra_metadata.contains_key(key))
            })
            .await?;
        Ok(archived.map(|(instant, commit)| (instant, commit.extra_metadata)))
    }
}

fn check_columns(spec: &TableSpec) -> Result<()> {
    for field in spec.schema.fields() {
        if is_meta_column(field.name()) {
            let message = format!(
                "column `{}` has the name of a Hudi meta column; rename it",
                field.name()
            );
            return Err(Error::invalid(message));
        }
    }
    for (role, columns) in [
        ("record key", &spec.record_key),
        ("partition", &spec.partition_by),
        ("ordering", &spec.ordering),
    ] {
        for column in columns {
            let column = column.split(':').next().unwrap_or(column).trim();
            if spec.schema.column_with_name(column).is_none() {
                return Err(Error::invalid(format!(
                    "table {} has no {role} column `{column}`",
                    spec.name
                )));
            }
        }
    }
    Ok(())
}

/// Replaces the properties `current` of a table by `changed`; readers take the backup in between.
///
/// Java: HoodieTableConfig#modify. The backup is made of `current`, not of the file: that may be broken, and `current` come
/// from an earlier backup.
pub(crate) async fn replace_config(
    storage: &Storage,
    env: &Env,
    current: &TableConfig,
    changed: &TableConfig,
) -> Result<()> {
    storage
        .overwrite(PROPERTIES_BACKUP_PATH, encode(current, env))
        .await?;
    storage
        .overwrite(PROPERTIES_PATH, encode(changed, env))
        .await?;
    storage.delete(PROPERTIES_BACKUP_PATH).await
}

/// Removes the backup that a change of the properties has left which died after all else was done. The caller holds the
/// table's lock.
pub(crate) async fn remove_backup(storage: &Storage) -> Result<()> {
    match read_config(storage, PROPERTIES_PATH).await {
        Ok(_) => storage.delete(PROPERTIES_BACKUP_PATH).await,
        // Then the backup is what counts.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => Ok(()),
        Err(error) => Err(error),
    }
}

fn encode(config: &TableConfig, env: &Env) -> Bytes {
    let now = env.clock.now();
    let comments = [
        format!(
            "Properties saved on {}",
            now.format("%Y-%m-%dT%H:%M:%S%.3fZ")
        ),
        now.format("%a %b %d %H:%M:%S UTC %Y").to_string(),
    ];
    config.properties().encode(&comments).into()
}
