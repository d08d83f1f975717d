//! Writes one base file: rows with their meta columns into Parquet, streamed to the store row group by row group.
//!
//! Encoding runs on the CPU pool, the upload on the runtime. What the encoder holds is booked in the memory budget; when the
//! budget is overdrawn the row group is closed early. Spec: Hudi 1.2.0, "Parquet base files".

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::env::{Env, Reservation, run_on_cpu};
use crate::error::{Error, Result};
use crate::file_group::key_footer::KeyFooter;
use crate::file_group::parquet_schema::parquet_schema;
use crate::file_group::upload::FileUpload;
use crate::schema::avro::{record_name, record_namespace};
use crate::schema::meta::META_COLUMNS;
use crate::storage::Storage;

/// A row group is not closed below this size, however short memory is.
const ROW_GROUP_BYTES_MIN: usize = 256 << 10;
/// Values longer than this are truncated in statistics; record keys of any source are shorter.
const STATISTICS_BYTES_MAX: usize = 4096;

/// What base files look like, whatever they hold.
#[derive(Debug, Clone)]
pub struct BaseFileOptions {
    /// Compression of the columns.
    pub compression: Compression,
    /// Encoded bytes after which a row group is closed.
    pub row_group_bytes: u64,
    /// False-positive rate of the bloom filter in the footer.
    pub bloom_fpp: f64,
}

/// Everything that all base files of one write share.
#[derive(Debug, Clone)]
pub(crate) struct BaseFileFormat {
    /// The table's columns after the meta columns.
    pub(crate) schema: SchemaRef,
    /// The same as Avro JSON, as footers and log blocks carry it.
    pub(crate) avro_schema: String,
    /// Name of the table.
    pub(crate) table_name: String,
    /// Columns of the record key: unique values, for which a dictionary is wasted.
    pub(crate) record_key: Vec<String>,
    pub(crate) options: BaseFileOptions,
}

/// A finished base file.
#[derive(Debug)]
pub(crate) struct WrittenBaseFile {
    pub(crate) size_bytes: u64,
    pub(crate) rows: u64,
    pub(crate) metadata: ParquetMetaData,
}

/// Writes one base file.
#[derive(Debug)]
pub(crate) struct BaseFileWriter {
    encoder: Option<Box<Encoder>>,
    upload: FileUpload,
    memory: Reservation,
    env: Env,
    rows: u64,
    estimated_bytes: u64,
}

#[derive(Debug)]
struct Encoder {
    parquet: ArrowWriter<Vec<u8>>,
    keys: KeyFooter,
    schema: SchemaRef,
    row_group_bytes: usize,
}

/// What one encoding job gives back beside the encoder.
struct Encoded {
    bytes: Vec<u8>,
    rows: u64,
    held_bytes: u64,
    estimated_bytes: u64,
}

impl BaseFileWriter {
    /// A writer for the table-relative `path`, which must not exist.
    pub(crate) fn try_new(
        format: &BaseFileFormat,
        storage: Storage,
        env: Env,
        path: String,
    ) -> Result<Self> {
        let encoder = Box::new(Encoder::try_new(format)?);
        let memory = env.memory.book(0);
        let upload = FileUpload::new(storage, path);
        Ok(Self {
            encoder: Some(encoder),
            upload,
            memory,
            env,
            rows: 0,
            estimated_bytes: 0,
        })
    }

    /// About how long the file would be if it were finished now.
    pub(crate) fn estimated_bytes(&self) -> u64 {
        self.estimated_bytes
    }

    /// Appends the rows that `make_rows` returns, with their meta columns; it runs on the CPU pool and is given the number
    /// of rows before these.
    pub(crate) async fn write<F>(&mut self, make_rows: F) -> Result<()>
    where
        F: FnOnce(u64) -> Result<RecordBatch> + Send + 'static,
    {
        let mut encoder = self
            .encoder
            .take()
            .ok_or_else(|| Error::internal("a base file writer was used after it failed"))?;
        let rows_before = self.rows;
        let is_short_of_memory = self.env.memory.used_bytes() > self.env.memory.ceiling_bytes();
        let (encoder, encoded) = run_on_cpu(move || {
            let encoded = make_rows(rows_before)
                .and_then(|rows| encoder.encode(&rows, is_short_of_memory))?;
            Ok((encoder, encoded))
        })
        .await?;
        self.encoder = Some(encoder);
        self.rows += encoded.rows;
        self.estimated_bytes = encoded.estimated_bytes;
        if !encoded.bytes.is_empty() {
            self.upload.write(encoded.bytes).await?;
        }
        self.memory
            .resize(encoded.held_bytes + self.upload.buffered_bytes());
        Ok(())
    }

    /// Writes the footer and publishes the file.
    pub(crate) async fn finish(mut self) -> Result<WrittenBaseFile> {
        let mut encoder = self
            .encoder
            .take()
            .ok_or_else(|| Error::internal("a base file writer was used after it failed"))?;
        let (metadata, bytes) = run_on_cpu(move || encoder.finish()).await?;
        self.upload.write(bytes).await?;
        let size_bytes = self.upload.finish().await?;
        Ok(WrittenBaseFile {
            size_bytes,
            rows: self.rows,
            metadata,
        })
    }

    /// Gives the file up.
    pub(crate) async fn abort(self) -> Result<()> {
        self.upload.abort().await
    }
}

impl Encoder {
    fn try_new(format: &BaseFileFormat) -> Result<Self> {
        let (name, namespace) = (
            record_name(&format.table_name),
            record_namespace(&format.table_name),
        );
        let options = ArrowWriterOptions::new()
            .with_properties(properties(format))
            .with_skip_arrow_metadata(true)
            .with_parquet_schema(parquet_schema(
                &format.schema,
                &format!("{namespace}.{name}"),
            )?);
        let schema = Arc::clone(&format.schema);
        let parquet = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&schema), options)?;
        let row_group_bytes = usize::try_from(format.options.row_group_bytes).unwrap_or(usize::MAX);
        let keys = KeyFooter::new(format.options.bloom_fpp);
        Ok(Self {
            parquet,
            keys,
            schema,
            row_group_bytes,
        })
    }

    fn encode(&mut self, rows: &RecordBatch, is_short_of_memory: bool) -> Result<Encoded> {
        let keys = rows
            .column_by_name(META_COLUMNS[2])
            .and_then(|column| column.as_string_opt::<i32>())
            .ok_or_else(|| Error::internal("rows for a base file lack their record keys"))?;
        self.keys.add(keys);
        // Nullability may be narrower in the batch; the columns count.
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), rows.columns().to_vec())?;
        self.parquet.write(&rows)?;
        let held = self.parquet.memory_size();
        if held >= self.row_group_bytes || (is_short_of_memory && held >= ROW_GROUP_BYTES_MIN) {
            self.parquet.flush()?;
        }
        let bytes = self.take_bytes()?;
        Ok(Encoded {
            bytes,
            rows: rows.num_rows() as u64,
            held_bytes: (self.parquet.memory_size() + self.keys.memory_bytes()) as u64,
            estimated_bytes: (self.parquet.bytes_written() + self.parquet.in_progress_size())
                as u64,
        })
    }

    fn finish(&mut self) -> Result<(ParquetMetaData, Vec<u8>)> {
        for (key, value) in self.keys.entries() {
            self.parquet
                .append_key_value_metadata(KeyValue::new(key, value));
        }
        let metadata = self.parquet.finish()?;
        Ok((metadata, std::mem::take(self.parquet.inner_mut())))
    }

    fn take_bytes(&mut self) -> Result<Vec<u8>> {
        self.parquet
            .sync()
            .map_err(|error| Error::internal("encoding a base file failed").with_source(error))?;
        Ok(std::mem::take(self.parquet.inner_mut()))
    }
}

fn properties(format: &BaseFileFormat) -> WriterProperties {
    let column = |name: &str| ColumnPath::new(vec![name.to_owned()]);
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("lakebed version {}", env!("CARGO_PKG_VERSION")))
        .set_compression(format.options.compression)
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_statistics_truncate_length(Some(STATISTICS_BYTES_MAX))
        .set_key_value_metadata(Some(vec![KeyValue::new(
            "parquet.avro.schema".to_owned(),
            format.avro_schema.clone(),
        )]));
    // Sequence numbers and keys are unique: no dictionary, but they share prefixes with their neighbours.
    for name in [META_COLUMNS[1], META_COLUMNS[2]] {
        properties = properties
            .set_column_dictionary_enabled(column(name), false)
            .set_column_encoding(column(name), Encoding::DELTA_BYTE_ARRAY);
    }
    for name in [META_COLUMNS[1], META_COLUMNS[4]] {
        properties =
            properties.set_column_statistics_enabled(column(name), EnabledStatistics::None);
    }
    // A look-up of a key then reads a page, not a row group.
    for name in format
        .record_key
        .iter()
        .map(String::as_str)
        .chain([META_COLUMNS[2]])
    {
        properties =
            properties.set_column_statistics_enabled(column(name), EnabledStatistics::Page);
    }
    if let [name] = format.record_key.as_slice()
        && let Ok(field) = format.schema.field_with_name(name)
    {
        properties = properties.set_column_dictionary_enabled(column(name), false);
        if field.data_type().is_integer() {
            properties =
                properties.set_column_encoding(column(name), Encoding::DELTA_BINARY_PACKED);
        }
    }
    properties.build()
}

#[cfg(test)]
mod tests;
