//! What the footer of a base file says about its record keys: a bloom filter, the smallest and the largest key.
//!
//! Spark's bloom index trusts both: a filter or a range that misses a stored key makes it insert that key again. So the
//! filter may say "maybe" too often, never "no" wrongly. Its size is settled at the end: a filter of `2^n` times the final
//! bits folds onto itself exactly, because a position is a hash modulo the bits. Spec: Hudi 1.2.0, "Footer key/value
//! metadata", "Bloom filter serialisation".

use arrow::array::{Array, StringArray};
use arrow::compute::{max_string, min_string};

use crate::codec::bloom::{BloomFilter, FOOTER_KEY, MAX_RECORD_KEY, MIN_RECORD_KEY, TYPE_CODE_KEY};

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
        let hashes = (bits_per_key * std::f64::consts::LN_2).ceil().clamp(1.0, 30.0);
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

    /// The entries for the footer; none for a file without rows.
    pub(crate) fn entries(&mut self) -> Vec<(String, String)> {
        let (Some(min), Some(max)) = (self.min.take(), self.max.take()) else { return Vec::new() };
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
        vec![
            (FOOTER_KEY.to_owned(), self.filter.to_base64()),
            (TYPE_CODE_KEY.to_owned(), self.filter.filter_type().as_str().to_owned()),
            (MIN_RECORD_KEY.to_owned(), min),
            (MAX_RECORD_KEY.to_owned(), max),
        ]
    }
}
