//! One file group before and after a commit: which rows the commit inserted, updated and deleted.
//!
//! A row after the commit that bears its time was written by it. The rows before are then streamed past those: a key that is
//! among them was updated, one that is gone was deleted, and what is left of them was inserted.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, BooleanArray, RecordBatch, StringArray, UInt32Array};
use datafusion::arrow::compute::{filter_record_batch, interleave_record_batch, take_record_batch};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use table_format::env::{MemoryBudget, Reservation};
use table_format::file_group::FileSlice;
use table_format::reader::ReadOptions;
use table_format::schema::meta::{COMMIT_TIME, RECORD_KEY};
use table_format::table::{CommitChange, Snapshot};
use table_format::timeline::InstantTime;
use table_format::{Error, Result};

type Batches = BoxStream<'static, Result<RecordBatch>>;

/// Rows that one commit changed in the same way.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) instant: InstantTime,
    /// The rows before; `None` for inserts.
    pub(super) before: Option<RecordBatch>,
    /// The rows after, in the same order; `None` for deletes.
    pub(super) after: Option<RecordBatch>,
}

impl Changed {
    pub(super) fn rows(&self) -> usize {
        let some = self.before.as_ref().or(self.after.as_ref());
        some.map_or(0, RecordBatch::num_rows)
    }

    pub(super) fn operation(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "i",
            (Some(_), Some(_)) => "u",
            (Some(_), None) => "d",
        }
    }
}

/// The comparison of a file group with itself.
pub(super) struct GroupDiff {
    instant: InstantTime,
    /// Rows before the commit that are still to come.
    before: Option<Batches>,
    /// Rows after it that are still to come; only of a group that the commit made.
    after: Option<Batches>,
    /// What the commit wrote into a group that was there.
    written: Option<Written>,
    /// Found, and to be handed out next.
    found: Vec<Changed>,
}

impl GroupDiff {
    /// Reads the rows after the commit, if there are any before it to compare them with.
    pub(super) async fn open(
        commit: Arc<CommitChange>,
        position: usize,
        memory: MemoryBudget,
    ) -> Result<Self> {
        let group = commit
            .groups
            .get(position)
            .ok_or_else(|| Error::internal("a file group is missing"))?;
        let before = read(&commit.before(), group.before.as_ref(), &memory).await?;
        let after = read(&commit.after(), group.after.as_ref(), &memory).await?;
        let instant = commit.instant.time.clone();
        let (after, written) = match (before.is_some(), after) {
            (true, Some(rows)) => {
                let written = Written::collect(rows, &instant, &memory).await?;
                (None, Some(written))
            }
            (_, after) => (after, None),
        };
        Ok(Self {
            instant,
            before,
            after,
            written,
            found: Vec::new(),
        })
    }

    pub(super) fn into_stream(self) -> BoxStream<'static, Result<Changed>> {
        futures::stream::try_unfold(self, |mut diff| async move {
            let changed = diff.next().await?;
            Ok(changed.map(|changed| (changed, diff)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Changed>> {
        loop {
            if let Some(changed) = self.found.pop() {
                if changed.rows() > 0 {
                    return Ok(Some(changed));
                }
                continue;
            }
            if let Some(before) = &mut self.before {
                match before.try_next().await? {
                    Some(rows) => self.found = self.compare(rows)?,
                    None => self.before = None,
                }
            } else if let Some(after) = &mut self.after {
                match after.try_next().await? {
                    Some(rows) => {
                        let mine = filter_record_batch(&rows, &bears(&rows, &self.instant)?)?;
                        self.found = vec![self.changed(None, Some(mine))];
                    }
                    None => self.after = None,
                }
            } else if let Some(written) = self.written.take() {
                for rows in written.not_met()? {
                    let inserted = self.changed(None, Some(rows));
                    self.found.push(inserted);
                }
            } else {
                return Ok(None);
            }
        }
    }

    /// What became of rows before the commit.
    fn compare(&mut self, rows: RecordBatch) -> Result<Vec<Changed>> {
        let Some(written) = &mut self.written else {
            return Ok(vec![self.changed(Some(rows), None)]);
        };
        let keys = text(&rows, RECORD_KEY)?;
        let (mut gone, mut updated, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..rows.num_rows() {
            match written.meet(keys.value(row)) {
                Met::Gone => gone.push(row as u32),
                Met::Unchanged => {}
                Met::Written(place) => {
                    updated.push(row as u32);
                    places.push(place);
                }
            }
        }
        let deleted = take_record_batch(&rows, &UInt32Array::from(gone))?;
        let before = take_record_batch(&rows, &UInt32Array::from(updated))?;
        let after = written.rows_at(&places)?;
        Ok(vec![
            self.changed(Some(deleted), None),
            self.changed(Some(before), after),
        ])
    }

    fn changed(&self, before: Option<RecordBatch>, after: Option<RecordBatch>) -> Changed {
        Changed {
            instant: self.instant.clone(),
            before,
            after,
        }
    }
}

async fn read(
    snapshot: &Snapshot,
    slice: Option<&FileSlice>,
    memory: &MemoryBudget,
) -> Result<Option<Batches>> {
    match slice {
        Some(slice) => {
            let options = ReadOptions::new(memory.clone());
            snapshot.read_slice(slice, &options).await.map(Some)
        }
        None => Ok(None),
    }
}

/// A batch, and a row of it.
type Place = (usize, usize);

/// What the commit made of a key that was there.
enum Met {
    Gone,
    Unchanged,
    Written(Place),
}

/// The keys of a file group after the commit, and the rows that the commit wrote.
struct Written {
    batches: Vec<RecordBatch>,
    /// By a digest of the key; `None` for rows that the commit did not write.
    keys: HashMap<u128, Option<Place>>,
    is_met: Vec<Vec<bool>>,
    memory: Reservation,
}

impl Written {
    async fn collect(
        mut rows: Batches,
        instant: &InstantTime,
        memory: &MemoryBudget,
    ) -> Result<Self> {
        let mut written = Self {
            batches: Vec::new(),
            keys: HashMap::new(),
            is_met: Vec::new(),
            memory: memory.book(0),
        };
        let mut held_bytes = 0;
        while let Some(batch) = rows.try_next().await? {
            let is_mine = bears(&batch, instant)?;
            let keys = text(&batch, RECORD_KEY)?;
            let mut mine = 0;
            for row in 0..batch.num_rows() {
                let place = is_mine.value(row).then_some((written.batches.len(), mine));
                mine += usize::from(place.is_some());
                written.keys.entry(digest(keys.value(row))).or_insert(place);
            }
            if mine > 0 {
                let batch = filter_record_batch(&batch, &is_mine)?;
                held_bytes += batch.get_array_memory_size();
                written.is_met.push(vec![false; mine]);
                written.batches.push(batch);
            }
            let entry = size_of::<(u128, Option<Place>)>() + 1;
            let bytes = held_bytes + written.keys.capacity() * entry;
            written.memory.resize(bytes as u64);
        }
        Ok(written)
    }

    fn meet(&mut self, key: &str) -> Met {
        match self.keys.get(&digest(key)) {
            None => Met::Gone,
            Some(None) => Met::Unchanged,
            Some(Some((batch, row))) => {
                if let Some(is_met) = self.is_met.get_mut(*batch).and_then(|m| m.get_mut(*row)) {
                    *is_met = true;
                }
                Met::Written((*batch, *row))
            }
        }
    }

    fn rows_at(&self, places: &[Place]) -> Result<Option<RecordBatch>> {
        if places.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        Ok(Some(interleave_record_batch(&batches, places)?))
    }

    /// The rows whose keys were not there before.
    fn not_met(self) -> Result<Vec<RecordBatch>> {
        let rows = self.batches.iter().zip(self.is_met);
        rows.map(|(batch, is_met)| {
            let is_new: BooleanArray = is_met.into_iter().map(|met| Some(!met)).collect();
            Ok(filter_record_batch(batch, &is_new)?)
        })
        .collect()
    }
}

/// Which rows bear the time of a commit.
fn bears(rows: &RecordBatch, instant: &InstantTime) -> Result<BooleanArray> {
    let times = text(rows, COMMIT_TIME)?;
    Ok(times
        .iter()
        .map(|time| Some(time == Some(instant.as_str())))
        .collect())
}

fn text<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    let column = rows.column_by_name(name);
    let column = column.and_then(|column| column.as_any().downcast_ref::<StringArray>());
    column.ok_or_else(|| Error::internal(format!("there is no text in column {name}")))
}

/// 128 bits tell all keys of a file group apart.
fn digest(key: &str) -> u128 {
    let half = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(seed);
        hasher.write(key.as_bytes());
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}
