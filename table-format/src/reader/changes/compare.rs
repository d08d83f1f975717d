//! Changes found by comparing a file group's slices before and after a commit.
//!
//! The later slice streams by first: its rows that bear the commit's time are kept, and where rows may have been deleted the
//! keys of all others. Then the earlier slice streams by and meets them; what is left over at the end is new.

use arrow::array::{AsArray, BooleanArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{filter_record_batch, interleave_record_batch, take_record_batch};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::{ChangeContext, image};
use crate::env::Reservation;
use crate::error::{Error, Result};
use crate::file_group::FileSlice;
use crate::reader::key_map::KeyMap;
use crate::reader::{ReadOptions, read_slice};
use crate::schema::meta::{COMMIT_TIME, RECORD_KEY};
use crate::timeline::InstantTime;

/// Rows that a commit changed, and what else is there after it.
#[derive(Debug)]
pub(super) struct Comparison {
    context: ChangeContext,
    changed: Changed,
    /// Keys of rows that the commit left alone; `None` when it deleted none.
    others: Option<KeySet>,
    memory: Reservation,
}

impl Comparison {
    /// The changes as a stream: updates and deletes in the order of the earlier slice, then inserts.
    pub(super) async fn read(
        context: ChangeContext,
        before: &FileSlice,
        after: &FileSlice,
        may_delete: bool,
        options: &ReadOptions,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let mut comparison = Self {
            memory: options.memory.book(0),
            changed: Changed::default(),
            others: may_delete.then(KeySet::default),
            context,
        };
        let mut rows = read_slice(comparison.context.after.clone(), after, options).await?;
        while let Some(rows) = rows.try_next().await? {
            comparison.take(&rows)?;
        }
        drop(rows);
        let old = read_slice(comparison.context.before.clone(), before, options).await?;
        let state = (old, Some(comparison));
        let batches = stream::try_unfold(state, |(mut old, comparison)| async move {
            let Some(mut comparison) = comparison else {
                return Ok(None);
            };
            Ok::<_, Error>(match old.try_next().await? {
                Some(rows) => {
                    let changes = comparison.meet(&rows)?;
                    Some((changes, (old, Some(comparison))))
                }
                None => Some((comparison.inserts()?, (old, None))),
            })
        });
        let batches = batches.map_ok(|batches| stream::iter(batches.into_iter().map(Ok)));
        Ok(batches
            .try_flatten()
            .try_filter(|batch| std::future::ready(batch.num_rows() > 0))
            .boxed())
    }

    /// Takes rows of the later slice.
    fn take(&mut self, rows: &RecordBatch) -> Result<()> {
        let is_changed = bears(rows, &self.context.instant)?;
        if let Some(others) = &mut self.others {
            let keys = text(rows, RECORD_KEY)?;
            for (key, is_changed) in keys.iter().zip(&is_changed) {
                if let (Some(key), Some(false)) = (key, is_changed) {
                    others.insert(key);
                }
            }
        }
        if is_changed.true_count() > 0 {
            self.changed.add(filter_record_batch(rows, &is_changed)?)?;
        }
        let others = self.others.as_ref().map_or(0, KeySet::memory_bytes);
        self.memory
            .resize((self.changed.memory_bytes() + others) as u64);
        Ok(())
    }

    /// What became of rows of the earlier slice.
    fn meet(&mut self, old: &RecordBatch) -> Result<Vec<RecordBatch>> {
        let keys = text(old, RECORD_KEY)?;
        let (mut updated, mut after, mut deleted) = (Vec::new(), Vec::new(), Vec::new());
        for (row, key) in (0_u32..).zip(keys.iter()) {
            let key = key.ok_or_else(|| Error::corrupt("base file", "a row has no record key"))?;
            if let Some(place) = self.changed.meet(key) {
                updated.push(row);
                after.push(place);
            } else if self
                .others
                .as_ref()
                .is_some_and(|others| !others.contains(key))
            {
                deleted.push(row);
            }
        }
        let mut changes = Vec::new();
        if !updated.is_empty() {
            let before = take_record_batch(old, &UInt32Array::from(updated))?;
            let after = self.changed.pick(&after)?;
            changes.push(image::updates(&self.context, &before, &after)?);
        }
        if !deleted.is_empty() {
            let before = take_record_batch(old, &UInt32Array::from(deleted))?;
            changes.push(image::deletes(&self.context, &before)?);
        }
        Ok(changes)
    }

    /// The changed rows whose keys the earlier slice did not hold.
    fn inserts(&self) -> Result<Vec<RecordBatch>> {
        let new = self.changed.not_met();
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.changed.pick(&new)?;
        Ok(vec![image::inserts(&self.context, &rows)?])
    }
}

/// Changed rows by key.
#[derive(Debug, Default)]
struct Changed {
    batches: Vec<RecordBatch>,
    keys: Vec<StringArray>,
    /// Batch and row of each key.
    places: Vec<(usize, usize)>,
    is_met: Vec<bool>,
    map: KeyMap,
}

impl Changed {
    fn add(&mut self, rows: RecordBatch) -> Result<()> {
        self.keys.push(text(&rows, RECORD_KEY)?.clone());
        let batch = self.batches.len();
        for row in 0..rows.num_rows() {
            let (places, keys) = (&self.places, &self.keys);
            let key_of = |number: u32| key_at(keys, places, number);
            let key = keys.last().map_or("", |keys| keys.value(row));
            let (number, is_new) = self.map.find_or_insert(key, key_of);
            if is_new {
                self.places.push((batch, row));
                self.is_met.push(false);
            } else if let Some(place) = self.places.get_mut(number as usize) {
                *place = (batch, row);
            }
        }
        self.batches.push(rows);
        Ok(())
    }

    /// The place of the changed row with this key, which is no insert then.
    fn meet(&mut self, key: &str) -> Option<(usize, usize)> {
        let (places, keys) = (&self.places, &self.keys);
        let number = self.map.find(key, |number| key_at(keys, places, number))? as usize;
        if let Some(is_met) = self.is_met.get_mut(number) {
            *is_met = true;
        }
        self.places.get(number).copied()
    }

    fn not_met(&self) -> Vec<(usize, usize)> {
        let places = self.places.iter().zip(&self.is_met);
        places
            .filter(|(_, is_met)| !**is_met)
            .map(|(place, _)| *place)
            .collect()
    }

    fn pick(&self, places: &[(usize, usize)]) -> Result<RecordBatch> {
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        Ok(interleave_record_batch(&batches, places)?)
    }

    fn memory_bytes(&self) -> usize {
        let batches = self.batches.iter().map(RecordBatch::get_array_memory_size);
        let places = self.places.capacity() * size_of::<(usize, usize)>();
        batches.sum::<usize>() + self.map.memory_bytes() + places
    }
}

fn key_at<'a>(keys: &'a [StringArray], places: &[(usize, usize)], number: u32) -> &'a str {
    let place = places.get(number as usize).copied();
    place
        .and_then(|(batch, row)| keys.get(batch).map(|keys| keys.value(row)))
        .unwrap_or_default()
}

/// Keys, one behind the other.
#[derive(Debug, Default)]
struct KeySet {
    text: String,
    /// Where each key ends.
    ends: Vec<usize>,
    map: KeyMap,
}

impl KeySet {
    fn insert(&mut self, key: &str) {
        let (text, ends) = (&self.text, &self.ends);
        let (_, is_new) = self
            .map
            .find_or_insert(key, |number| key_in(text, ends, number));
        if is_new {
            self.text.push_str(key);
            self.ends.push(self.text.len());
        }
    }

    fn contains(&self, key: &str) -> bool {
        let key_of = |number| key_in(&self.text, &self.ends, number);
        self.map.find(key, key_of).is_some()
    }

    fn memory_bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<usize>() + self.map.memory_bytes()
    }
}

fn key_in<'a>(text: &'a str, ends: &[usize], number: u32) -> &'a str {
    let number = number as usize;
    let start = number.checked_sub(1).and_then(|before| ends.get(before));
    let end = ends.get(number).copied().unwrap_or_default();
    text.get(start.copied().unwrap_or_default()..end)
        .unwrap_or_default()
}

/// Which rows bear the time of a commit.
pub(super) fn bears(rows: &RecordBatch, instant: &InstantTime) -> Result<BooleanArray> {
    let times = text(rows, COMMIT_TIME)?;
    let is_same = times
        .iter()
        .map(|time| Some(time == Some(instant.as_str())));
    Ok(is_same.collect())
}

fn text<'a>(rows: &'a RecordBatch, column: &str) -> Result<&'a StringArray> {
    let found = rows.column_by_name(column);
    found
        .and_then(|column| column.as_string_opt::<i32>())
        .ok_or_else(|| Error::internal(format!("changes are read without column `{column}`")))
}
