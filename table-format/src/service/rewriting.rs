//! What compactions and clusterings share: rows of slices, as they are, go into base files of a plan's instant.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};

use crate::config::TableConfig;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::file_group::view::PartitionFiles;
use crate::file_group::{BaseFile, BaseFileFormat, Horizon, LogFile, Visibility, join_path};
use crate::reader::ReadContext;
use crate::schema::avro::{arrow_to_avro, avro_to_arrow, record_name, record_namespace};
use crate::schema::evolution::{SchemaHistory, WrittenSchema};
use crate::schema::meta::{META_COLUMNS, with_meta_columns, without_meta_columns};
use crate::storage::Storage;
use crate::table::Table;
use crate::timeline::metadata::{CommitMetadata, SCHEMA_KEY, WriteOperation};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime};
use crate::writer::{DataFiles, MARKER_ROOT, WriterOptions, constant_column};

/// Distinguishes attempts of one instant; small enough for Java's `int`.
const ATTEMPTS: u64 = 1_000_000_000;

/// Reads the slices of one plan and writes what takes their place.
#[derive(Debug)]
pub(super) struct Rewriter {
    pub(super) context: ReadContext,
    pub(super) env: Env,
    pub(super) format: BaseFileFormat,
    pub(super) files: DataFiles,
    /// The table's columns as Avro JSON.
    schema: String,
    /// On tables with schema on read.
    written: Option<WrittenSchema>,
}

impl Rewriter {
    /// For the plan of `time`: rows have the columns of the table behind their meta columns. With schema on read these are the
    /// columns when the plan was made, because its files bear that time.
    ///
    /// Java: InternalSchemaCache#getInternalSchemaAndAvroSchemaForClusteringAndCompaction.
    pub(super) async fn begin(
        storage: &Storage,
        env: &Env,
        config: &TableConfig,
        timeline: &ActiveTimeline,
        time: &InstantTime,
        options: &WriterOptions,
    ) -> Result<Self> {
        let name = config.name();
        let history = SchemaHistory::load(storage, timeline).await?;
        let horizon = match history {
            Some(_) => Horizon::BegunBy(time.clone()),
            None => Horizon::Latest,
        };
        let table = Table::new(storage.clone(), config.clone());
        let schema = table.schema_text_within(timeline, &horizon).await?;
        let columns = without_meta_columns(avro_to_arrow(&schema)?.as_ref());
        let written = history
            .map(|history| WrittenSchema::of_rows(&history, time, &columns))
            .transpose()?;
        let evolution = written.as_ref().map(WrittenSchema::evolution).transpose()?;
        let with_meta = with_meta_columns(&columns);
        let avro_schema = arrow_to_avro(&with_meta, &record_name(name), &record_namespace(name))?;
        let millis = u64::try_from(env.clock.now().timestamp_millis()).unwrap_or_default();
        Ok(Self {
            context: ReadContext {
                storage: storage.clone(),
                config: Arc::new(config.clone()),
                schema: Arc::clone(&with_meta),
                visibility: Arc::new(Visibility::new(timeline, Horizon::Latest)),
                commits: None,
                evolution,
            },
            schema,
            written,
            env: env.clone(),
            format: BaseFileFormat {
                schema: with_meta,
                avro_schema,
                table_name: name.to_owned(),
                record_key: config.record_key_fields(),
                options: options.base_file.clone(),
            },
            files: DataFiles::of_attempt(storage.clone(), time.clone(), millis % ATTEMPTS),
        })
    }

    /// What the completed file says, without the files.
    ///
    /// # Errors
    /// `Internal` when the columns cannot be put into words.
    pub(super) fn metadata(&self, operation: WriteOperation) -> Result<CommitMetadata> {
        let mut metadata = CommitMetadata::new(operation);
        metadata.extra_metadata = BTreeMap::from([(SCHEMA_KEY.to_owned(), self.schema.clone())]);
        if let Some(written) = &self.written {
            written.describe(&mut metadata)?;
        }
        Ok(metadata)
    }

    /// Whether the columns are those of the plan's time yet; to be asked under the table's lock. Hudi's services leave the history
    /// as it is, and so do ours, unless the newest commit has columns that it does not know.
    ///
    /// # Errors
    /// `Conflict` when they have changed; what the store says.
    pub(super) async fn check_columns(
        &self,
        timeline: &ActiveTimeline,
        plan: &Instant,
    ) -> Result<()> {
        let storage = &self.context.storage;
        match &self.written {
            Some(written) if written.is_change() => written.publish(storage, timeline, plan).await,
            Some(written) => written.check(storage, timeline).await.map(drop),
            None => Ok(()),
        }
    }
}

/// The same rows, as rows of the file `name`.
pub(super) fn with_file_name(rows: &RecordBatch, name: &str) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    let column = columns
        .get_mut(META_COLUMNS.len() - 1)
        .ok_or_else(|| Error::internal("merged rows lack their meta columns"))?;
    *column = Arc::new(constant_column(name, rows.num_rows())?);
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

/// Deletes what an earlier attempt wrote: the files that bear the instant, what uploads of files with markers left, and
/// the markers last, so that a crash in between is mended the same way.
pub(super) async fn remove_debris(
    storage: &Storage,
    time: &InstantTime,
    files: &[String],
) -> Result<()> {
    for path in files {
        storage.delete(path).await?;
    }
    let folder = format!("{MARKER_ROOT}/{time}");
    for (path, _) in storage.list_recursive(&folder).await? {
        let marked = path
            .strip_prefix(&folder)
            .and_then(|path| path.strip_prefix('/'));
        if let Some((data_file, _)) = marked.and_then(|path| path.rsplit_once(".marker.")) {
            storage.delete_staging(data_file).await?;
        }
        storage.delete(&path).await?;
    }
    Ok(())
}

/// Files that bear the instant of a plan: it has not completed, so they are what a failed attempt left. A log compaction writes
/// logs, all others base files; on version 6 logs that bear the instant of a compaction were written since it was planned.
pub(super) fn written_by(partition: &PartitionFiles, plan: &Instant) -> Vec<String> {
    let instant_of = |name: &str| match plan.action {
        Action::LogCompaction => LogFile::parse(name, 0).map(|file| file.instant),
        _ => BaseFile::parse(name, 0).map(|file| file.instant),
    };
    let names = partition.files.iter().map(|file| file.name.as_str());
    names
        .filter(|name| instant_of(name).as_ref() == Some(&plan.time))
        .map(|name| join_path(&partition.partition_path, name))
        .collect()
}
