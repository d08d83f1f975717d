//! Writes one file of the archive, batch by batch; only a row group of it is held.
//!
//! Java: LSMTimelineWriter, HoodieLSMTimelineInstant. Hudi compresses with GZIP and names the record in the footer; so do we.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BinaryArray, Int32Array, RecordBatch, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, GzipLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::env::{Env, Reservation, run_on_cpu};
use crate::error::{Error, Result};
use crate::file_group::FileUpload;
use crate::storage::Storage;
use crate::timeline::Instant;
use crate::timeline::archived::lsm_rows::{
    ACTION, COMPLETION_TIME, INSTANT_TIME, METADATA, PLAN, VERSION,
};

/// Encoded bytes after which a row group is closed.
const ROW_GROUP_BYTES: usize = 4 << 20;
/// Version of a row. Java: LSMTimeline#LSM_TIMELINE_INSTANT_VERSION_1.
const ROW_VERSION: i32 = 1;
const RECORD_NAME: &str = "org.apache.hudi.avro.model.HoodieLSMTimelineInstant";
const AVRO_SCHEMA: &str = include_str!("HoodieLSMTimelineInstant.avsc");

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new(INSTANT_TIME, DataType::Utf8, true),
        Field::new(COMPLETION_TIME, DataType::Utf8, true),
        Field::new(ACTION, DataType::Utf8, true),
        Field::new(METADATA, DataType::Binary, true),
        Field::new(PLAN, DataType::Binary, true),
        Field::new(VERSION, DataType::Int32, false),
    ]))
});

/// An instant with the bytes of its files.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) instant: Instant,
    /// The file of the completed instant; none when it is empty.
    pub(super) metadata: Option<bytes::Bytes>,
    /// The plan of a service or a replace commit.
    pub(super) plan: Option<bytes::Bytes>,
}

impl Row {
    pub(super) fn bytes(&self) -> u64 {
        let length =
            |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        length(&self.metadata) + length(&self.plan)
    }
}

/// The rows as columns.
pub(super) fn batch(rows: &[Row]) -> Result<RecordBatch> {
    let times: StringArray = rows
        .iter()
        .map(|row| Some(row.instant.time.as_str()))
        .collect();
    let completions: StringArray = rows
        .iter()
        .map(|row| row.instant.completion.as_ref().map(|time| time.as_str()))
        .collect();
    let actions: StringArray = rows
        .iter()
        .map(|row| Some(row.instant.action.comparable().as_str()))
        .collect();
    let metadata: BinaryArray = rows.iter().map(|row| row.metadata.as_deref()).collect();
    let plans: BinaryArray = rows.iter().map(|row| row.plan.as_deref()).collect();
    let versions = Int32Array::from(vec![ROW_VERSION; rows.len()]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times),
        Arc::new(completions),
        Arc::new(actions),
        Arc::new(metadata),
        Arc::new(plans),
        Arc::new(versions),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}

/// Rows of another file in our columns: it may lack the plans, and hold its text in another kind of array.
pub(super) fn conform(rows: &RecordBatch) -> Result<RecordBatch> {
    let columns = SCHEMA.fields().iter().map(|field| {
        match (rows.column_by_name(field.name()), field.name().as_str()) {
            (Some(column), _) => Ok(cast(column, field.data_type())?),
            (None, PLAN) => Ok(new_null_array(field.data_type(), rows.num_rows())),
            (None, name) => Err(Error::corrupt(
                "archive",
                format!("the column `{name}` is missing"),
            )),
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}

/// A file of the archive under construction; it appears when [`LsmWriter::finish`] returns.
#[derive(Debug)]
pub(super) struct LsmWriter {
    parquet: Option<Box<ArrowWriter<Vec<u8>>>>,
    upload: FileUpload,
    memory: Reservation,
}

impl LsmWriter {
    /// A writer for the table-relative `path`, which must not exist.
    pub(super) fn try_new(storage: &Storage, env: &Env, path: String) -> Result<Self> {
        let options = ArrowWriterOptions::new()
            .with_properties(properties())
            .with_skip_arrow_metadata(true)
            .with_schema_root(RECORD_NAME.to_owned());
        let parquet = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&SCHEMA), options)?;
        Ok(Self {
            parquet: Some(Box::new(parquet)),
            upload: FileUpload::new(storage.clone(), path),
            memory: env.memory.book(0),
        })
    }

    /// Appends rows, which the file keeps in this order.
    pub(super) async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        let mut parquet = self.take()?;
        let (parquet, bytes, held) = run_on_cpu(move || {
            parquet.write(&rows)?;
            if parquet.in_progress_size() >= ROW_GROUP_BYTES {
                parquet.flush()?;
            }
            parquet.sync().map_err(|error| {
                Error::internal("encoding a file of the archive failed").with_source(error)
            })?;
            let bytes = std::mem::take(parquet.inner_mut());
            let held = parquet.memory_size() as u64;
            Ok((parquet, bytes, held))
        })
        .await?;
        self.parquet = Some(parquet);
        if !bytes.is_empty() {
            self.upload.write(bytes).await?;
        }
        self.memory.resize(held + self.upload.buffered_bytes());
        Ok(())
    }

    /// Writes the footer and publishes the file; returns its length.
    pub(super) async fn finish(mut self) -> Result<u64> {
        let mut parquet = self.take()?;
        let bytes = run_on_cpu(move || {
            parquet.finish()?;
            Ok(std::mem::take(parquet.inner_mut()))
        })
        .await?;
        self.upload.write(bytes).await?;
        self.upload.finish().await
    }

    fn take(&mut self) -> Result<Box<ArrowWriter<Vec<u8>>>> {
        self.parquet
            .take()
            .ok_or_else(|| Error::internal("a writer of the archive was used after it failed"))
    }
}

fn properties() -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("lakebed version {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::GZIP(GzipLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_key_value_metadata(Some(vec![
            KeyValue::new(
                "parquet.avro.schema".to_owned(),
                AVRO_SCHEMA.trim_end().to_owned(),
            ),
            KeyValue::new("writer.model.name".to_owned(), "avro".to_owned()),
        ]));
    for name in [METADATA, PLAN] {
        let column = ColumnPath::new(vec![name.to_owned()]);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_statistics_enabled(column, EnabledStatistics::None);
    }
    properties.build()
}
