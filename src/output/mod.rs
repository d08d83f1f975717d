//! The rows of a query as text or files: streamed batch by batch, never held as a whole (a table for people excepted).

mod aligned;
mod cell;
mod grid;
mod lines;
mod progress;
mod table;

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use query::RowStream;

pub(crate) use aligned::{aligned, print_lines};
pub(crate) use grid::grid;
use lines::{Csv, Json};
use progress::Progress;
use table::TextTable;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people
    Table,
    /// One JSON object a line
    Json,
    /// Comma-separated values with a header; null is empty
    Csv,
    /// A Parquet file
    Parquet,
    /// An Arrow IPC stream
    Arrow,
}

impl Format {
    /// Whether the bytes are of no use on a terminal.
    pub(crate) fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }
}

/// What takes the batches of a result.
trait Sink {
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;
    fn finish(self: Box<Self>) -> Result<()>;
}

type Target = Box<dyn Write + Send>;

/// Writes all rows to `file`, or to standard output; returns how many. A reader that goes away early (`| head`) is no failure.
pub(crate) async fn write_rows(
    mut rows: RowStream,
    format: Format,
    file: Option<&Path>,
) -> Result<u64> {
    let target: Target = match file {
        Some(path) => {
            let file = File::create(path)
                .map_err(|error| anyhow::anyhow!("cannot create {}: {error}", path.display()))?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(BufWriter::new(io::stdout())),
    };
    let mut sink = sink(format, target, &rows.schema)?;
    let is_shown_as_it_comes = file.is_none() && is_on_terminal() && format != Format::Table;
    let mut progress = Progress::start();
    while let Some(batch) = rows.batches.next().await {
        let batch = batch?;
        if is_shown_as_it_comes {
            progress.hide();
        }
        if let Err(error) = sink.write(&batch) {
            return ignore_closed_pipe(error).map(|()| progress.rows());
        }
        progress.add(batch.num_rows());
    }
    progress.hide();
    let finished = sink.finish().or_else(ignore_closed_pipe);
    finished.map(|()| progress.rows())
}

/// Whether standard output is a terminal.
pub(crate) fn is_on_terminal() -> bool {
    io::stdout().is_terminal()
}

fn sink(format: Format, target: Target, schema: &SchemaRef) -> Result<Box<dyn Sink>> {
    Ok(match format {
        Format::Json => Box::new(Json::new(target, schema)?),
        Format::Csv => Box::new(Csv::start(target, schema)?),
        Format::Table => Box::new(TextTable::new(target, schema)),
        Format::Parquet => {
            let compression = Compression::ZSTD(ZstdLevel::default());
            let properties = WriterProperties::builder()
                .set_compression(compression)
                .build();
            Box::new(ArrowWriter::try_new(
                target,
                SchemaRef::clone(schema),
                Some(properties),
            )?)
        }
        Format::Arrow => Box::new(StreamWriter::try_new(target, schema)?),
    })
}

fn ignore_closed_pipe(error: anyhow::Error) -> Result<()> {
    let is_closed = error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    });
    if is_closed {
        Ok(())
    } else {
        let message = format!("cannot write the result: {error}");
        Err(error.context(message))
    }
}

impl Sink for ArrowWriter<Target> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        Ok(self.write(batch)?)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        ArrowWriter::finish(&mut self)?;
        Ok(self.inner_mut().flush()?)
    }
}

impl Sink for StreamWriter<Target> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        Ok(self.write(batch)?)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        StreamWriter::finish(&mut self)?;
        Ok(self.get_mut().flush()?)
    }
}
