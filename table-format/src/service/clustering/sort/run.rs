//! Sorted rows on disk, in Arrow's stream format, in a file without a name that goes with its last handle.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, SeekFrom};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::error::{Error, ErrorKind, Result};

/// Length of the batches of a run in memory: so much is held of each run that is merged.
const BATCH_BYTES: usize = 512 << 10;

/// One run, to be read once.
pub(super) struct Run(StreamReader<BufReader<File>>);

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}

impl Run {
    /// Writes what `next` gives until it gives nothing, which must be at least one batch.
    ///
    /// # Errors
    /// `Unavailable` when the disk does not take it; those of `next`.
    pub(super) fn write(
        dir: &Path,
        mut next: impl FnMut() -> Result<Option<RecordBatch>>,
    ) -> Result<Self> {
        let refuse = |what: &str, source: std::io::Error| {
            let place = dir.display();
            let message = format!("{what} a file for sorting in {place}");
            Error::new(ErrorKind::Unavailable, message).with_source(source)
        };
        let first = next()?.ok_or_else(|| Error::internal("a run without rows"))?;
        let file = tempfile::tempfile_in(dir).map_err(|error| refuse("making", error))?;
        let mut writer = StreamWriter::try_new(BufWriter::new(file), first.schema_ref())?;
        let mut batch = Some(first);
        while let Some(rows) = batch {
            for part in parts(&rows) {
                writer.write(&part)?;
            }
            batch = next()?;
        }
        let buffer = writer.into_inner()?;
        let mut file = buffer
            .into_inner()
            .map_err(|error| refuse("writing", error.into_error()))?;
        file.seek(SeekFrom::Start(0))
            .map_err(|error| refuse("reading", error))?;
        let reader = StreamReader::try_new(BufReader::new(file), None)?;
        Ok(Self(reader))
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// `Unavailable` when the disk gives up.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>> {
        Ok(self.0.next().transpose()?)
    }
}

/// The rows in batches of about [`BATCH_BYTES`].
fn parts(rows: &RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let parts = rows.get_array_memory_size().div_ceil(BATCH_BYTES).max(1);
    let length = rows.num_rows().div_ceil(parts).max(1);
    (0..rows.num_rows())
        .step_by(length)
        .map(move |start| rows.slice(start, length.min(rows.num_rows() - start)))
}
