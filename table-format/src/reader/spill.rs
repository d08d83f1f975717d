//! Rows on disk, in buckets by the hash of their record keys, for slices whose logs are more than memory may hold.
//!
//! The file has no name and goes with its last handle. It lies in the directory for temporary files (`TMPDIR`). Segments
//! are Arrow streams of their own, so that a file takes rows of several schemas; within a bucket their order is kept.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{RecordBatch, StringArray, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::env::{MemoryBudget, Reservation};
use crate::error::{Error, ErrorKind, Result};

/// The part of the memory that is filled with rows before they are written.
const PENDING_SHARE: u64 = 64;
/// No fewer bytes than these wait to be written.
const PENDING_BYTES_MIN: u64 = 1 << 20;
/// Rows of a segment, at most: so many are read at a time.
const SEGMENT_ROWS: usize = 8192;

/// Deals rows out to buckets.
#[derive(Debug, Clone)]
pub(super) struct Dealer {
    hasher: RandomState,
    buckets: usize,
}

impl Dealer {
    pub(super) fn new(buckets: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            buckets,
        }
    }

    pub(super) fn buckets(&self) -> usize {
        self.buckets
    }

    /// The rows of each bucket, in their order. Rows without a key are an error of the file that they come from.
    pub(super) fn deal(&self, keys: &StringArray) -> Result<Vec<UInt32Array>> {
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.buckets];
        for (row, key) in (0_u32..).zip(keys) {
            let key =
                key.ok_or_else(|| Error::corrupt("rows", format!("row {row} has no record key")))?;
            let hash = self.hasher.hash_one(key.as_bytes());
            if let Some(rows) = rows.get_mut((hash % self.buckets as u64) as usize) {
                rows.push(row);
            }
        }
        Ok(rows.into_iter().map(UInt32Array::from).collect())
    }
}

/// What a segment is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SegmentKind {
    /// Whole rows.
    Rows,
    /// Rows with some columns only.
    PartialRows,
    /// Deleted keys.
    Deletes,
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    kind: SegmentKind,
    offset: u64,
    length: usize,
}

#[derive(Debug, Default)]
struct Bucket {
    pending: Vec<(SegmentKind, RecordBatch)>,
    segments: Vec<Segment>,
}

/// A file that is being filled.
#[derive(Debug)]
pub(super) struct SpillWriter {
    file: File,
    length: u64,
    buckets: Vec<Bucket>,
    pending_max: u64,
    /// What the rows take that are not written yet.
    memory: Reservation,
}

impl SpillWriter {
    /// An empty file.
    ///
    /// # Errors
    /// `Unavailable` when the disk gives none.
    pub(super) fn new(buckets: usize, memory: &MemoryBudget) -> Result<Self> {
        let file = tempfile::tempfile().map_err(|error| refused("making", error))?;
        Ok(Self {
            file,
            length: 0,
            buckets: std::iter::repeat_with(Bucket::default)
                .take(buckets)
                .collect(),
            pending_max: (memory.ceiling_bytes() / PENDING_SHARE).max(PENDING_BYTES_MIN),
            memory: memory.book(0),
        })
    }

    /// Puts the rows that `dealt` names into their buckets.
    ///
    /// # Errors
    /// `Unavailable` when the disk does not take them.
    pub(super) fn add(
        &mut self,
        kind: SegmentKind,
        batch: &RecordBatch,
        dealt: &[UInt32Array],
    ) -> Result<()> {
        let mut pending_bytes = self.memory.bytes();
        for (bucket, rows) in self.buckets.iter_mut().zip(dealt) {
            if rows.is_empty() {
                continue;
            }
            let taken = take_record_batch(batch, rows)?;
            pending_bytes += taken.get_array_memory_size() as u64;
            bucket.pending.push((kind, taken));
        }
        self.memory.resize(pending_bytes);
        if pending_bytes >= self.pending_max {
            self.flush()?;
        }
        Ok(())
    }

    /// The whole file, to be read by bucket.
    ///
    /// # Errors
    /// `Unavailable` when the disk does not take the last rows.
    pub(super) fn finish(mut self) -> Result<SpillFile> {
        self.flush()?;
        Ok(SpillFile {
            file: Arc::new(Mutex::new(self.file)),
            buckets: self
                .buckets
                .into_iter()
                .map(|bucket| bucket.segments)
                .collect(),
        })
    }

    fn flush(&mut self) -> Result<()> {
        for bucket in &mut self.buckets {
            for (kind, batch) in joined(&std::mem::take(&mut bucket.pending))? {
                for start in (0..batch.num_rows()).step_by(SEGMENT_ROWS) {
                    let rows = batch.slice(start, SEGMENT_ROWS.min(batch.num_rows() - start));
                    let bytes = encode(&rows)?;
                    let written = self.file.write_all(&bytes);
                    written.map_err(|error| refused("writing", error))?;
                    bucket.segments.push(Segment {
                        kind,
                        offset: self.length,
                        length: bytes.len(),
                    });
                    self.length += bytes.len() as u64;
                }
            }
        }
        self.memory.resize(0);
        Ok(())
    }
}

/// A file that is full.
#[derive(Debug)]
pub(super) struct SpillFile {
    file: Arc<Mutex<File>>,
    buckets: Vec<Vec<Segment>>,
}

impl SpillFile {
    /// The segments of a bucket, which can be read once.
    pub(super) fn take_bucket(&mut self, bucket: usize) -> SpilledRows {
        let segments = self.buckets.get_mut(bucket).map(std::mem::take);
        SpilledRows {
            file: Arc::clone(&self.file),
            segments: segments.unwrap_or_default().into_iter(),
        }
    }
}

/// The rows of a bucket that are still to come.
#[derive(Debug)]
pub(crate) struct SpilledRows {
    file: Arc<Mutex<File>>,
    segments: std::vec::IntoIter<Segment>,
}

impl SpilledRows {
    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// `Unavailable` when the disk gives up.
    pub(super) fn next(&mut self) -> Result<Option<(SegmentKind, RecordBatch)>> {
        let Some(segment) = self.segments.next() else {
            return Ok(None);
        };
        let mut bytes = vec![0; segment.length];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file
            .seek(SeekFrom::Start(segment.offset))
            .and_then(|_| file.read_exact(&mut bytes));
        drop(file);
        read.map_err(|error| refused("reading", error))?;
        let batch = StreamReader::try_new(Cursor::new(bytes), None)?.next();
        let batch = batch.ok_or_else(|| Error::internal("an empty segment of spilled rows"))??;
        Ok(Some((segment.kind, batch)))
    }
}

/// Neighbours of one kind and schema as one batch.
fn joined(pending: &[(SegmentKind, RecordBatch)]) -> Result<Vec<(SegmentKind, RecordBatch)>> {
    let is_alike = |left: &(SegmentKind, RecordBatch), right: &(SegmentKind, RecordBatch)| {
        left.0 == right.0 && left.1.schema_ref() == right.1.schema_ref()
    };
    let runs = pending.chunk_by(is_alike);
    runs.filter_map(|run| run.first().map(|(kind, first)| (run, *kind, first)))
        .map(|(run, kind, first)| {
            let batches = run.iter().map(|(_, batch)| batch);
            Ok((kind, concat_batches(first.schema_ref(), batches)?))
        })
        .collect()
}

fn encode(rows: &RecordBatch) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), rows.schema_ref())?;
    writer.write(rows)?;
    Ok(writer.into_inner()?)
}

fn refused(what: &str, source: std::io::Error) -> Error {
    let place = std::env::temp_dir();
    let place = place.display();
    let message = format!("{what} a file for rows that do not fit the memory, in {place}");
    Error::new(ErrorKind::Unavailable, message).with_source(source)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn every_row_comes_back_from_one_bucket_in_its_order() {
        let memory = MemoryBudget::new(64 << 20);
        let dealer = Dealer::new(7);
        let mut writer = SpillWriter::new(dealer.buckets(), &memory).unwrap();
        for batch in 0..60_i64 {
            let numbers: Vec<i64> = (0..5000).map(|row| batch * 5000 + row).collect();
            let keys: StringArray = numbers
                .iter()
                .map(|number| Some(format!("key {}", number % 1000)))
                .collect();
            let dealt = dealer.deal(&keys).unwrap();
            let kind = match batch % 3 {
                0 => SegmentKind::Deletes,
                _ => SegmentKind::Rows,
            };
            let columns: [(&str, ArrayRef); 2] = [
                ("key", Arc::new(keys)),
                ("number", Arc::new(Int64Array::from(numbers))),
            ];
            let batch = RecordBatch::try_from_iter(columns).unwrap();
            writer.add(kind, &batch, &dealt).unwrap();
            assert!(memory.used_bytes() < 2 << 20, "{}", memory.used_bytes());
        }
        let mut file = writer.finish().unwrap();
        assert_eq!(memory.used_bytes(), 0);
        let mut bucket_of_key = std::collections::HashMap::new();
        let mut seen = Vec::new();
        for bucket in 0..dealer.buckets() {
            let mut rows = file.take_bucket(bucket);
            let mut last = -1;
            while let Some((kind, batch)) = rows.next().unwrap() {
                let keys = batch.column(0).as_string::<i32>();
                let numbers = batch.column(1).as_primitive::<Int64Type>().values();
                for (key, number) in keys.iter().zip(numbers) {
                    assert!(*number > last, "{number} after {last}");
                    last = *number;
                    assert_eq!(kind == SegmentKind::Deletes, number / 5000 % 3 == 0);
                    let known = bucket_of_key.entry(key.unwrap().to_owned());
                    assert_eq!(*known.or_insert(bucket), bucket);
                    seen.push(*number);
                }
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..300_000).collect::<Vec<_>>());
    }
}
