//! What compactions and clusterings share: rows of slices, as they are, go into base files of a plan's instant.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};

use crate::config::TableConfig;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::file_group::view::PartitionFiles;
use crate::file_group::{BaseFile, BaseFileFormat, Horizon, LogFile, Visibility, join_path};
use crate::reader::ReadContext;
use crate::schema::avro::{arrow_to_avro, avro_to_arrow, record_name, record_namespace};
use crate::schema::meta::{META_COLUMNS, with_meta_columns, without_meta_columns};
use crate::storage::Storage;
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
}

impl Rewriter {
    /// For the plan of `time`; rows have the columns of `schema` (Avro JSON) behind their meta columns.
    pub(super) fn try_new(
        storage: &Storage,
        env: &Env,
        config: &TableConfig,
        timeline: &ActiveTimeline,
        time: &InstantTime,
        schema: &str,
        options: &WriterOptions,
    ) -> Result<Self> {
        let name = config.name();
        let with_meta = with_meta_columns(&without_meta_columns(avro_to_arrow(schema)?.as_ref()));
        let avro_schema = arrow_to_avro(&with_meta, &record_name(name), &record_namespace(name))?;
        let millis = u64::try_from(env.clock.now().timestamp_millis()).unwrap_or_default();
        Ok(Self {
            context: ReadContext {
                storage: storage.clone(),
                config: Arc::new(config.clone()),
                schema: Arc::clone(&with_meta),
                visibility: Arc::new(Visibility::new(timeline, Horizon::Latest)),
                commits: None,
                evolution: None,
            },
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
