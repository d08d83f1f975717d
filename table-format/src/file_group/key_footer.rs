//! What the footer of a base file says about its record keys: a bloom filter, the smallest and the largest key.
//!
//! Spark's bloom index trusts both: a filter or a range that misses a stored key makes it insert that key again. So the
//! filter may say "maybe" too often, never "no" wrongly. Its size is settled at the end: a filter of `2^n` times the final
//! bits folds onto itself exactly, because a position is a hash modulo the bits. Spec: Hudi 1.2.0, "Footer key/value
//! metadata", "Bloom filter serialisation".

use arrow::array::{Array, StringArray};
use arrow::compute::{max_string, min_string};

use parquet::file::metadata::ParquetMetaData;

use crate::codec::bloom::{
    BloomFilter, BloomFilterType, FOOTER_KEY, MAX_RECORD_KEY, MIN_RECORD_KEY, TYPE_CODE_KEY,
};

/// Bits of the filter while the number of keys is unknown: 1 MiB.
const BITS_MAX: u32 = 1 << 23;
/// Bits of the smallest filter that is written.
const BITS_MIN: u32 = 1 << 10;
/// Below this many bits a key the filter would answer "maybe" nearly always.
const BITS_PER_KEY_MIN: u64 = 4;

/// Collects the keys of one base file as they are written.
#[derive(Debug)]
pub(crate) struct KeyFooter {
    filter: BloomFilter,
    bits_per_key: f64,
    keys: u64,
    is_saturated: bool,
    min: Option<String>,
    max: Option<String>,
}

impl KeyFooter {
    /// A collector whose filter aims at `fpp` false positives.
    pub(crate) fn new(fpp: f64) -> Self {
        let bits_per_key = -fpp.ln() / (std::f64::consts::LN_2 * std::f64::consts::LN_2);
        let hashes = (bits_per_key * std::f64::consts::LN_2)
            .ceil()
            .clamp(1.0, 30.0);
        Self {
            filter: BloomFilter::simple_of_size(BITS_MAX, hashes as u32),
            bits_per_key,
            keys: 0,
            is_saturated: false,
            min: None,
            max: None,
        }
    }

    /// Bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        (BITS_MAX / 8) as usize
    }

    /// Takes the keys of one batch.
    pub(crate) fn add(&mut self, keys: &StringArray) {
        if !self.is_saturated {
            for key in keys.iter().flatten() {
                self.filter.insert(key);
            }
        }
        self.keys += keys.len() as u64;
        if let Some(min) = min_string(keys)
            && self.min.as_deref().is_none_or(|known| min < known)
        {
            self.min = Some(min.to_owned());
        }
        if let Some(max) = max_string(keys)
            && self.max.as_deref().is_none_or(|known| max > known)
        {
            self.max = Some(max.to_owned());
        }
        self.is_saturated = self.keys * BITS_PER_KEY_MIN > u64::from(BITS_MAX);
    }

    /// The entries for the footer. A file without rows has a filter too, for want of which Spark would fail.
    pub(crate) fn entries(&mut self) -> Vec<(String, String)> {
        if self.is_saturated {
            self.filter.fold(BITS_MAX / BITS_MIN);
            self.filter.fill();
        } else {
            let wanted = (self.bits_per_key * self.keys as f64).ceil();
            let mut bits = BITS_MAX;
            while bits > BITS_MIN && f64::from(bits / 2) >= wanted {
                bits /= 2;
            }
            self.filter.fold(BITS_MAX / bits);
        }
        let kind = self.filter.filter_type().as_str().to_owned();
        let mut entries = vec![
            (FOOTER_KEY.to_owned(), self.filter.to_base64()),
            (TYPE_CODE_KEY.to_owned(), kind),
        ];
        entries.extend(self.min.take().map(|min| (MIN_RECORD_KEY.to_owned(), min)));
        entries.extend(self.max.take().map(|max| (MAX_RECORD_KEY.to_owned(), max)));
        entries
    }
}

/// The smallest and the largest record key in a base file, as its writer orders them; `None` when the footer does not tell.
pub(crate) fn key_bounds(footer: &ParquetMetaData) -> Option<(&str, &str)> {
    Some((
        value_of(footer, MIN_RECORD_KEY)?,
        value_of(footer, MAX_RECORD_KEY)?,
    ))
}

fn value_of<'a>(footer: &'a ParquetMetaData, name: &str) -> Option<&'a str> {
    let entries = footer.file_metadata().key_value_metadata()?;
    let entry = entries.iter().find(|entry| entry.key == name)?;
    entry.value.as_deref()
}

/// The bloom filter of the record keys in a base file. One that is missing or cannot be read rules nothing out: `None`.
pub fn key_filter(footer: &ParquetMetaData) -> Option<BloomFilter> {
    let text = value_of(footer, FOOTER_KEY)?;
    let kind =
        value_of(footer, TYPE_CODE_KEY).map_or(Ok(BloomFilterType::Simple), BloomFilterType::parse);
    kind.and_then(|kind| BloomFilter::from_base64(text, kind))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer(keys: std::ops::Range<u32>) -> (BloomFilter, usize) {
        let mut footer = KeyFooter::new(0.01);
        let texts: Vec<String> = keys.map(|key| key.to_string()).collect();
        for part in texts.chunks(10_000) {
            footer.add(&StringArray::from(part.to_vec()));
        }
        let entries = footer.entries();
        (
            BloomFilter::from_base64(&entries[0].1, BloomFilterType::Simple).unwrap(),
            entries.len(),
        )
    }

    #[test]
    fn a_file_without_rows_has_an_empty_filter_and_no_range() {
        let (filter, entries) = footer(0..0);
        assert_eq!(entries, 2);
        assert!(!filter.might_contain("0"));
    }

    #[test]
    fn a_filter_with_too_many_keys_holds_them_all() {
        let (filter, entries) = footer(0..2_200_000);
        assert_eq!(entries, 4);
        assert!(
            (0..2_200_000)
                .step_by(997)
                .all(|key: u32| filter.might_contain(&key.to_string()))
        );
        assert!(
            filter.to_base64().len() < 1_000,
            "a saturated filter is small"
        );
    }
}
