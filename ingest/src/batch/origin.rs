//! Where the rows of a batch come from, as columns for the expressions of a pipeline.
//!
//! | Column | Type | Value |
//! |---|---|---|
//! | `__op_type__` | text | `r` (snapshot), `c` (insert), `u` (update), `d` (delete) |
//! | `__op_ts__` | timestamp with zone | when the source committed, to the second; null in a snapshot |
//! | `__database__`, `__table__` | text | the source table |
//! | `__file__`, `__position__` | text, long | binary log file, and the end of the row's event in it; null in a snapshot |
//! | `__gtid__` | text | the source transaction, where the server numbers them; null in a snapshot |
//! | `__row__` | text | the place of the row in all that the source gives, by which texts are ordered as the log is; another for each row |

use std::fmt::{self, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use table_format::record::RowKind;

use crate::schema::SourceTable;

pub(crate) const OP_TYPE: &str = "__op_type__";
const OP_TS: &str = "__op_ts__";
const DATABASE: &str = "__database__";
const TABLE: &str = "__table__";
const FILE: &str = "__file__";
const POSITION: &str = "__position__";
const GTID: &str = "__gtid__";
pub(crate) const ROW: &str = "__row__";

/// Metadata of fields that `*` does not stand for.
pub const HIDDEN_KEY: &str = "lakebed.hidden";

/// The names of the columns.
pub(crate) const ORIGIN_COLUMNS: [&str; 8] =
    [OP_TYPE, OP_TS, DATABASE, TABLE, FILE, POSITION, GTID, ROW];

/// The event that rows come from.
#[derive(Debug, Clone)]
pub(crate) struct RowOrigin {
    /// Seconds since the epoch.
    pub(crate) op_ts_seconds: u32,
    pub(crate) file: String,
    pub(crate) position: u64,
    pub(crate) gtid: Option<String>,
    /// Whose log it is.
    pub(crate) server: Arc<str>,
    /// How many rows its source transaction had before the event.
    pub(crate) rows_before: u64,
}

/// The origins of a batch's rows: each of all rows up to a number that have none yet.
#[derive(Debug, Default)]
pub(crate) struct RowOrigins {
    runs: Vec<(usize, RowOrigin)>,
    /// Rows without an origin in the batches before.
    snapshot_rows: u64,
}

/// The same columns, and those that tell the origin behind them.
pub(crate) fn with_origin_columns(schema: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.extend(ORIGIN_COLUMNS.map(|name| {
        let (data_type, is_known) = match name {
            OP_TS => (
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                false,
            ),
            POSITION => (DataType::Int64, false),
            FILE | GTID => (DataType::Utf8, false),
            _ => (DataType::Utf8, true),
        };
        let field = Field::new(name, data_type, !is_known);
        let metadata = [(HIDDEN_KEY.to_owned(), "true".to_owned())];
        Arc::new(field.with_metadata(metadata.into()))
    }));
    Arc::new(Schema::new(fields))
}

impl RowOrigins {
    /// What the columns take for a row, estimated from above: numbers and offsets, and texts of usual lengths.
    pub(crate) fn row_bytes(table: &SourceTable) -> u64 {
        const NUMBERS_AND_OFFSETS: usize = 48;
        const FILE_GTID_AND_ROW: usize = 32 + 64 + 96;
        (NUMBERS_AND_OFFSETS + FILE_GTID_AND_ROW + table.database.len() + table.name.len()) as u64
    }

    /// Says where the rows come from that were appended since the last call, up to `rows` of the batch.
    pub(crate) fn note(&mut self, rows: usize, origin: RowOrigin) {
        self.runs.push((rows, origin));
    }

    /// The columns for rows of these kinds; rows without an origin are those of a snapshot.
    pub(crate) fn finish(&mut self, table: &SourceTable, kinds: &[RowKind]) -> Vec<ArrayRef> {
        let mut op_types = StringBuilder::new();
        let mut op_ts = TimestampMicrosecondBuilder::new().with_timezone("UTC");
        let (mut databases, mut tables) = (StringBuilder::new(), StringBuilder::new());
        let (mut files, mut gtids) = (StringBuilder::new(), StringBuilder::new());
        let mut positions = Int64Builder::new();
        let mut places = StringBuilder::new();
        let mut run_begin = 0;
        let mut runs = std::mem::take(&mut self.runs).into_iter().peekable();
        for (row, kind) in kinds.iter().enumerate() {
            while let Some((end, _)) = runs.next_if(|(end, _)| *end <= row) {
                run_begin = end;
            }
            let origin = runs.peek().map(|(_, origin)| origin);
            op_types.append_value(match (origin, kind) {
                (None, _) => "r",
                (Some(_), RowKind::Insert) => "c",
                (Some(_), RowKind::UpdateBefore | RowKind::UpdateAfter) => "u",
                (Some(_), RowKind::Delete) => "d",
            });
            op_ts.append_option(origin.map(|origin| i64::from(origin.op_ts_seconds) * 1_000_000));
            databases.append_value(&table.database);
            tables.append_value(&table.name);
            files.append_option(origin.map(|origin| origin.file.as_str()));
            positions.append_option(origin.and_then(|origin| i64::try_from(origin.position).ok()));
            gtids.append_option(origin.and_then(|origin| origin.gtid.as_deref()));
            match origin {
                Some(origin) => {
                    let RowOrigin { file, position, .. } = origin;
                    let number = origin.rows_before + (row - run_begin) as u64;
                    let server = &origin.server;
                    let place = format_args!("{server}/{file}/{position:012}/{number:08}");
                    append_formatted(&mut places, place);
                }
                None => {
                    let number = self.snapshot_rows;
                    append_formatted(&mut places, format_args!("-/{table}/{number:012}"));
                    self.snapshot_rows += 1;
                }
            }
        }
        vec![
            Arc::new(op_types.finish()),
            Arc::new(op_ts.finish()),
            Arc::new(databases.finish()),
            Arc::new(tables.finish()),
            Arc::new(files.finish()),
            Arc::new(positions.finish()),
            Arc::new(gtids.finish()),
            Arc::new(places.finish()),
        ]
    }
}

/// Appends a text without making it first.
fn append_formatted(builder: &mut StringBuilder, text: fmt::Arguments<'_>) {
    let written = builder.write_fmt(text);
    debug_assert!(written.is_ok(), "a builder takes every text");
    builder.append_value("");
}
