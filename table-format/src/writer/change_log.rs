//! Change data: what a new base file changes against the old one, in a log beside it.
//!
//! A log holds a record per changed key: its operation and, as the table's mode says, its key or the row before and after.
//! Only base files that take the place of others have one; of new groups every row is an insert, and logs of merge-on-read
//! tables tell their changes themselves. Readers find the logs by `cdcStats`. Java: HoodieCDCLogger, HoodieCDCUtils,
//! HoodieMergeHandleWithChangeLog; Spec: Hudi 1.2.0, "CDC".

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use serde_json::{Value, json};

use crate::codec::avro::RecordEncoder;
use crate::codec::log_block::DataBlockBuilder;
use crate::config::TableConfig;
use crate::error::{Error, Result};
use crate::file_group::{FileSlice, FileUpload};
use crate::reader::{change_image, image_fields};
use crate::schema::avro::{arrow_to_avro, record_name, record_namespace};
use crate::schema::meta::RECORD_KEY;
use crate::writer::bulk_insert::to_i64;
use crate::writer::context::WriteContext;
use crate::writer::stamp::constant_column;

const ENABLED: &str = "hoodie.table.cdc.enabled";
const MODE: &str = "hoodie.table.cdc.supplemental.logging.mode";

/// What is logged of a change. Java: HoodieCDCSupplementalLoggingMode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoggingMode {
    OpKeyOnly,
    DataBefore,
    DataBeforeAfter,
}

impl FromStr for LoggingMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_uppercase().as_str() {
            "OP_KEY_ONLY" => Ok(Self::OpKeyOnly),
            "DATA_BEFORE" => Ok(Self::DataBefore),
            "DATA_BEFORE_AFTER" => Ok(Self::DataBeforeAfter),
            _ => Err(Error::invalid(format!(
                "{MODE}={text}: expected OP_KEY_ONLY, DATA_BEFORE or DATA_BEFORE_AFTER"
            ))),
        }
    }
}

/// What logs of changes look like in one table.
#[derive(Debug)]
pub(crate) struct ChangeLogFormat {
    mode: LoggingMode,
    /// Columns of the changes.
    schema: SchemaRef,
    /// Columns of an image.
    image: Fields,
    avro_schema: String,
}

impl ChangeLogFormat {
    /// The format for a table with these columns (meta columns not among them); `None` when it logs no changes.
    ///
    /// # Errors
    /// `Invalid` for a mode that Hudi does not know.
    pub(crate) fn of_table(config: &TableConfig, schema: &Schema) -> Result<Option<Self>> {
        let properties = config.properties();
        let is_enabled = properties.get_non_blank(ENABLED);
        if !is_enabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let mode = properties.get_non_blank(MODE);
        let mode = mode.map_or(Ok(LoggingMode::DataBeforeAfter), str::parse)?;
        let image = image_fields(schema);
        let images = DataType::Struct(image.clone());
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let fields = match mode {
            LoggingMode::OpKeyOnly => vec![text("op"), text("record_key")],
            LoggingMode::DataBefore => {
                let before = Field::new("before", images, true);
                vec![text("op"), text("record_key"), before]
            }
            LoggingMode::DataBeforeAfter => {
                let [before, after] =
                    ["before", "after"].map(|name| Field::new(name, images.clone(), true));
                vec![text("op"), text("ts_ms"), before, after]
            }
        };
        Ok(Some(Self {
            mode,
            schema: Arc::new(Schema::new(fields)),
            image,
            avro_schema: avro_schema(mode, config.name(), schema)?,
        }))
    }
}

/// Java: HoodieCDCUtils#schemaBySupplementalLoggingMode. The second image refers to the record of the first by name.
fn avro_schema(mode: LoggingMode, table: &str, schema: &Schema) -> Result<String> {
    if mode == LoggingMode::OpKeyOnly {
        let text = |name: &str| json!({"name": name, "type": ["string", "null"]});
        let fields = [text("op"), text("record_key")];
        return Ok(json!({"type": "record", "name": "Record", "fields": fields}).to_string());
    }
    let (name, namespace) = (record_name(table), record_namespace(table));
    let row = arrow_to_avro(schema, &name, &namespace)?;
    let mut row: Value = serde_json::from_str(&row)
        .map_err(|error| Error::internal("a schema is no JSON").with_source(error))?;
    if let Some(record) = row.as_object_mut() {
        // It is that of the record around it.
        record.remove("namespace");
    }
    let field = |name: &str, of: Value| json!({"name": name, "type": ["null", of], "doc": "", "default": null});
    let text = |name: &str| field(name, json!("string"));
    let fields = match mode {
        LoggingMode::DataBefore => vec![text("op"), text("record_key"), field("before", row)],
        _ => vec![
            text("op"),
            text("ts_ms"),
            field("before", row),
            field("after", json!(name)),
        ],
    };
    let record = json!({"type": "record", "name": "CDC", "namespace": namespace, "doc": "", "fields": fields});
    Ok(record.to_string())
}

/// Rows of an old batch that a merge changes.
#[derive(Debug, Default)]
pub(super) struct ChangedRows {
    /// Row before, and row among the upserts.
    updated: (Vec<u32>, Vec<u32>),
    deleted: Vec<u32>,
}

impl ChangedRows {
    /// A row is updated by one of the upserts.
    pub(super) fn update(&mut self, row: usize, upsert: usize) {
        self.updated.0.push(row as u32);
        self.updated.1.push(upsert as u32);
    }

    /// A row is deleted.
    pub(super) fn delete(&mut self, row: usize) {
        self.deleted.push(row as u32);
    }
}

/// Records of changes on their way into blocks. Its work is for the CPU pool.
#[derive(Debug)]
pub(super) struct ChangeLog {
    format: Arc<ChangeLogFormat>,
    encoder: RecordEncoder,
    instant: String,
    block_bytes: usize,
    block: DataBlockBuilder,
    full: Vec<Vec<u8>>,
}

impl ChangeLog {
    /// An empty log of an instant.
    pub(super) fn begin(format: &Arc<ChangeLogFormat>, context: &WriteContext) -> Result<Self> {
        let instant = context.instant.to_string();
        Ok(Self {
            encoder: RecordEncoder::try_new(&format.schema, &format.avro_schema)?,
            block: DataBlockBuilder::of_changes(&instant, &format.avro_schema)?,
            block_bytes: usize::try_from(context.options.log_block_bytes).unwrap_or(usize::MAX),
            format: Arc::clone(format),
            instant,
            full: Vec::new(),
        })
    }

    /// Rows of `old`, which have these keys, and what takes their place.
    pub(super) fn add(
        &mut self,
        changed: &ChangedRows,
        keys: &StringArray,
        old: &RecordBatch,
        upserts: &RecordBatch,
    ) -> Result<()> {
        let (before, after) = &changed.updated;
        for (op, before, after) in [("u", before, Some(after)), ("d", &changed.deleted, None)] {
            if before.is_empty() {
                continue;
            }
            let rows = UInt32Array::from(before.clone());
            let keys = take(keys, &rows, None)?;
            let after = match after {
                Some(after) => Some(take_record_batch(
                    upserts,
                    &UInt32Array::from(after.clone()),
                )?),
                None => None,
            };
            let before = take_record_batch(old, &rows)?;
            self.append(op, keys.as_string(), Some(&before), after.as_ref())?;
        }
        Ok(())
    }

    /// Rows behind their meta columns, whose keys the old file did not hold.
    pub(super) fn add_inserts(&mut self, rows: &RecordBatch) -> Result<()> {
        let keys = rows.column_by_name(RECORD_KEY);
        let keys = keys
            .and_then(|keys| keys.as_string_opt::<i32>())
            .ok_or_else(|| Error::internal("inserted rows have no record keys"))?;
        self.append("i", keys, None, Some(rows))
    }

    fn append(
        &mut self,
        op: &str,
        keys: &StringArray,
        before: Option<&RecordBatch>,
        after: Option<&RecordBatch>,
    ) -> Result<()> {
        let rows = keys.len();
        let format = &self.format;
        let text =
            |value: &str| -> Result<ArrayRef> { Ok(Arc::new(constant_column(value, rows)?)) };
        let image = |of: Option<&RecordBatch>| change_image(of, &format.image, rows);
        let columns = match format.mode {
            LoggingMode::OpKeyOnly => vec![text(op)?, Arc::new(keys.clone())],
            LoggingMode::DataBefore => vec![text(op)?, Arc::new(keys.clone()), image(before)?],
            LoggingMode::DataBeforeAfter => {
                vec![
                    text(op)?,
                    text(&self.instant)?,
                    image(before)?,
                    image(after)?,
                ]
            }
        };
        let changes = RecordBatch::try_new(Arc::clone(&format.schema), columns)?;
        let encoder = self.encoder.bind(&changes)?;
        for row in 0..rows {
            self.block.append(|out| encoder.encode(row, out))?;
            if self.block.len() >= self.block_bytes {
                let next = DataBlockBuilder::of_changes(&self.instant, &format.avro_schema)?;
                let full = std::mem::replace(&mut self.block, next).finish()?;
                self.full.push(full);
            }
        }
        Ok(())
    }

    /// Blocks that are to be written.
    pub(super) fn full_blocks(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.full)
    }

    /// All that is left. There is a block even if nothing changed: readers want a log of every base file that replaces another.
    pub(super) fn finish(mut self) -> Result<Vec<Vec<u8>>> {
        let mut blocks = self.full_blocks();
        blocks.push(self.block.finish()?);
        Ok(blocks)
    }
}

/// The file of a log.
#[derive(Debug)]
pub(super) struct ChangeLogFile {
    path: String,
    upload: FileUpload,
}

impl ChangeLogFile {
    /// A new log for the file group of `slice`.
    pub(super) async fn begin(context: &WriteContext, slice: &FileSlice) -> Result<Self> {
        let (partition, file_id) = (&slice.partition_path, &slice.file_id);
        let new = context.files.new_change_log(partition, file_id).await?;
        let upload = FileUpload::new(context.storage.clone(), new.path.clone());
        Ok(Self {
            path: new.path,
            upload,
        })
    }

    /// Appends blocks.
    pub(super) async fn write(&mut self, blocks: Vec<Vec<u8>>) -> Result<()> {
        for block in blocks {
            self.upload.write(block).await?;
        }
        Ok(())
    }

    /// Publishes the log; what a write stat says of it.
    pub(super) async fn finish(self) -> Result<BTreeMap<String, i64>> {
        let bytes = self.upload.finish().await?;
        Ok(BTreeMap::from([(self.path, to_i64(bytes)?)]))
    }

    /// Gives the log up.
    pub(super) async fn abort(self) -> Result<()> {
        self.upload.abort().await
    }
}
