//! Rows of a file or of standard input: read batch by batch, in whatever of the usual formats they come.

mod schema;
mod text;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use table_format::codec::container_rows::ContainerRows;
use tokio::sync::mpsc;

pub(crate) use schema::{schema_of_file, storable};

/// Rows in a batch.
const BATCH_ROWS: usize = 8 << 10;
/// What an Arrow IPC file begins with; a stream does not.
const ARROW_FILE_MAGIC: &[u8; 8] = b"ARROW1\0\0";

/// What rows are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum InputFormat {
    /// A Parquet file
    Parquet,
    /// Comma-separated values with a header; an empty value is null
    Csv,
    /// One JSON object a line; binary as base64
    Json,
    /// An Avro container file
    Avro,
    /// An Arrow IPC file or stream
    Arrow,
}

impl InputFormat {
    /// The format that a name tells.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let extension = Path::new(name).extension()?.to_str()?;
        Some(match extension.to_ascii_lowercase().as_str() {
            "parquet" | "pq" => Self::Parquet,
            "csv" => Self::Csv,
            "json" | "jsonl" | "ndjson" => Self::Json,
            "avro" => Self::Avro,
            "arrow" | "arrows" | "ipc" | "feather" => Self::Arrow,
            _ => return None,
        })
    }
}

/// The columns of the table, from which text formats take the types of theirs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) schema: &'a SchemaRef,
    /// Without the columns that no row has: of JSON, whose rows leave out what they like, they would be null.
    pub(crate) only_present: bool,
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// An opened input.
pub(crate) struct Input {
    name: String,
    schema: SchemaRef,
    batches: Batches,
}

impl Input {
    /// Opens a file, or standard input as `-`.
    pub(crate) fn open(
        path: &str,
        format: Option<InputFormat>,
        wanted: Option<Wanted<'_>>,
    ) -> Result<Self> {
        let name = if path == "-" { "standard input" } else { path };
        let Some(format) = format.or_else(|| InputFormat::of_name(path)) else {
            bail!(
                "{name}: its name does not tell the format; add --input-format parquet|csv|json|avro|arrow"
            );
        };
        let opened = open_source(path).and_then(|source| read_as(source, format, wanted));
        let (schema, batches) = opened.map_err(|error| anyhow!("{name}: {error:#}"))?;
        Ok(Self {
            name: name.to_owned(),
            schema,
            batches,
        })
    }

    /// The columns.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What the user calls it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Reads on a thread of its own, one batch ahead of who takes them.
    pub(crate) fn into_stream(self) -> mpsc::Receiver<Result<RecordBatch>> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            let mut rows = 0_u64;
            for batch in self.batches {
                let batch =
                    batch.map_err(|error| anyhow!("{}: after row {rows}: {error:#}", self.name));
                let is_last = batch.is_err();
                rows += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
                if sender.blocking_send(batch).is_err() || is_last {
                    // Whoever took the batches has given up, or the input is broken.
                    return;
                }
            }
        });
        receiver
    }
}

/// Where bytes come from.
enum Source {
    File(File),
    Stdin(io::Stdin),
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Stdin(stdin) => stdin.lock().read(buffer),
        }
    }
}

fn open_source(path: &str) -> Result<Source> {
    if path == "-" {
        return Ok(Source::Stdin(io::stdin()));
    }
    Ok(Source::File(File::open(path)?))
}

fn read_as(
    source: Source,
    format: InputFormat,
    wanted: Option<Wanted<'_>>,
) -> Result<(SchemaRef, Batches)> {
    Ok(match format {
        InputFormat::Csv => text::csv(source, wanted)?,
        InputFormat::Json => text::json(source, wanted)?,
        InputFormat::Parquet => {
            let file = match source {
                Source::File(file) => file,
                Source::Stdin(stdin) => spool(stdin.lock())?,
            };
            let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
            let schema = SchemaRef::clone(builder.schema());
            let rows = builder.with_batch_size(BATCH_ROWS).build()?;
            (schema, Box::new(rows.map(|batch| Ok(batch?))))
        }
        InputFormat::Avro => {
            let rows = ContainerRows::try_new(BufReader::new(source), BATCH_ROWS)?;
            let schema = SchemaRef::clone(rows.schema());
            (schema, Box::new(rows.map(|batch| Ok(batch?))))
        }
        InputFormat::Arrow => {
            let mut source = BufReader::new(source);
            let mut magic = Vec::new();
            (&mut source).take(8).read_to_end(&mut magic)?;
            // Behind its magic a file is a stream, and what follows the stream repeats where the batches are.
            if magic == ARROW_FILE_MAGIC {
                magic.clear();
            }
            let rows = StreamReader::try_new(io::Cursor::new(magic).chain(source), None)?;
            let schema = rows.schema();
            (schema, Box::new(rows.map(|batch| Ok(batch?))))
        }
    })
}

/// Standard input as a file, which ends with this process: the end of a Parquet file tells where its rows are.
fn spool(mut input: impl Read) -> Result<File> {
    let path = std::env::temp_dir().join(format!("lakebed-input-{}", std::process::id()));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    std::fs::remove_file(&path)?;
    io::copy(&mut input, &mut file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}
