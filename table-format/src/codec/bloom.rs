//! The bloom filter of record keys in the footer of base files, bit for bit that of Hudi.
//!
//! A filter that lacks a key makes Spark insert the key again, so that nothing here may differ by a bit. Java:
//! SimpleBloomFilter, HoodieDynamicBoundedBloomFilter, InternalDynamicBloomFilter, and Hadoop's MurmurHash.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Buf;

use crate::error::{Error, Result};

/// Footer key of the filter, in base64.
pub const FOOTER_KEY: &str = "org.apache.hudi.bloomfilter";
/// Footer key of the kind of filter; without it, `SIMPLE` is meant.
pub const TYPE_CODE_KEY: &str = "hoodie_bloom_filter_type_code";
/// Footer key of the smallest record key in the file.
pub const MIN_RECORD_KEY: &str = "hoodie_min_record_key";
/// Footer key of the greatest record key in the file.
pub const MAX_RECORD_KEY: &str = "hoodie_max_record_key";
/// The share of false answers that Hudi asks for by default.
pub const DEFAULT_FALSE_POSITIVES: f64 = 1e-9;

const VERSION: i32 = -1;
const MURMUR: u8 = 1;
/// Some 256 MiB; a filter in a footer is far below.
const BITS_MAX: u32 = 1 << 31;

/// The kinds of filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BloomFilterType {
    /// One row of bits.
    Simple,
    /// Rows of bits, one more whenever the last is full.
    DynamicV0,
}

impl BloomFilterType {
    /// The code in the footer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Simple => "SIMPLE",
            Self::DynamicV0 => "DYNAMIC_V0",
        }
    }

    /// Reads the code of the footer.
    ///
    /// # Errors
    /// `Unsupported` for another code.
    pub fn parse(code: &str) -> Result<Self> {
        match code {
            "SIMPLE" => Ok(Self::Simple),
            "DYNAMIC_V0" => Ok(Self::DynamicV0),
            other => Err(Error::unsupported(format!(
                "bloom filter of type `{other}`"
            ))),
        }
    }
}

/// A set of record keys that may answer yes for a key it does not hold, but never no for one it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BloomFilter {
    filter_type: BloomFilterType,
    /// Keys per row (dynamic filters).
    row_keys: u32,
    /// Keys in the last row (dynamic filters).
    last_row_keys: u32,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    hashes: u32,
    bits: u32,
    bytes: Vec<u8>,
}

impl BloomFilter {
    /// An empty dynamic filter with room for `keys` keys in its one row.
    ///
    /// # Errors
    /// `Invalid` when so many keys do not fit a filter, or the share is not between 0 and 1.
    pub fn with_capacity(keys: u32, false_positives: f64) -> Result<Self> {
        let row_keys = keys.max(1);
        let row = Row::sized(row_keys, false_positives)?;
        let filter_type = BloomFilterType::DynamicV0;
        Ok(Self {
            filter_type,
            row_keys,
            last_row_keys: 0,
            rows: vec![row],
        })
    }

    /// An empty simple filter for `keys` keys.
    ///
    /// # Errors
    /// See [`BloomFilter::with_capacity`].
    pub fn simple(keys: u32, false_positives: f64) -> Result<Self> {
        let filter = Self::with_capacity(keys, false_positives)?;
        Ok(Self {
            filter_type: BloomFilterType::Simple,
            row_keys: 0,
            ..filter
        })
    }

    /// An empty simple filter of `bits` bits, of which each key sets up to `hashes`.
    pub fn simple_of_size(bits: u32, hashes: u32) -> Self {
        let bits = bits.clamp(1, BITS_MAX - 1);
        let row = Row {
            hashes: hashes.max(1),
            bits,
            bytes: vec![0; bits.div_ceil(8) as usize],
        };
        Self {
            filter_type: BloomFilterType::Simple,
            row_keys: 0,
            last_row_keys: 0,
            rows: vec![row],
        }
    }

    /// Shrinks the filter to `1 / factor` of its bits without losing a key: a position is a hash modulo the bits, and the
    /// smaller number divides the larger. A factor that does not divide the bits into whole bytes changes nothing.
    pub fn fold(&mut self, factor: u32) {
        for row in &mut self.rows {
            let Some(bits) = row
                .bits
                .checked_div(factor)
                .filter(|bits| *bits > 0 && bits % 8 == 0)
            else {
                continue;
            };
            if row.bits % factor != 0 {
                continue;
            }
            let mut folded = vec![0; (bits / 8) as usize];
            for part in row.bytes.chunks(folded.len()) {
                folded
                    .iter_mut()
                    .zip(part)
                    .for_each(|(to, from)| *to |= from);
            }
            (row.bits, row.bytes) = (bits, folded);
        }
    }

    /// Makes the filter answer "maybe" for every key.
    pub fn fill(&mut self) {
        self.rows.iter_mut().for_each(|row| row.bytes.fill(0xff));
    }

    /// Bytes that its bits take.
    pub fn bytes(&self) -> u64 {
        self.rows.iter().map(|row| row.bytes.len() as u64).sum()
    }

    /// Which kind of filter it is.
    pub fn filter_type(&self) -> BloomFilterType {
        self.filter_type
    }

    /// Adds a key. An empty one is no record key and is left out.
    ///
    /// A dynamic filter whose rows are full gets another; it never grows as Hudi's does by going over old rows again,
    /// since it has no bound to its rows.
    pub fn insert(&mut self, key: &str) {
        if self.filter_type == BloomFilterType::DynamicV0 && self.last_row_keys >= self.row_keys {
            if let Some(last) = self.rows.last() {
                let row = Row {
                    bytes: vec![0; last.bytes.len()],
                    ..*last
                };
                self.rows.push(row);
            }
            self.last_row_keys = 0;
        }
        if let Some(row) = self.rows.last_mut() {
            row.insert(key.as_bytes());
        }
        if self.filter_type == BloomFilterType::DynamicV0 {
            self.last_row_keys += 1;
        }
    }

    /// Whether the key may be in the file; no is certain.
    pub fn might_contain(&self, key: &str) -> bool {
        self.rows.iter().any(|row| row.contains(key.as_bytes()))
    }

    /// The filter as it stands in the footer.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.to_bytes())
    }

    fn to_bytes(&self) -> Vec<u8> {
        let size: usize = self.rows.iter().map(|row| row.bytes.len() + 13).sum();
        let mut out = Vec::with_capacity(size + 25);
        if let (BloomFilterType::DynamicV0, Some(first)) = (self.filter_type, self.rows.first()) {
            first.put_prefix(&mut out);
            out.extend_from_slice(&self.row_keys.to_be_bytes());
            out.extend_from_slice(&self.last_row_keys.to_be_bytes());
            // A row takes at least a byte, and a footer is far below 2^32 of them.
            let rows = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&rows.to_be_bytes());
        }
        for row in &self.rows {
            row.put_prefix(&mut out);
            out.extend_from_slice(&row.bytes);
        }
        out
    }

    /// Reads the filter of a footer.
    ///
    /// # Errors
    /// `Corrupt` when the text is not a filter of this type; `Unsupported` for another hash than murmur.
    pub fn from_base64(text: &str, filter_type: BloomFilterType) -> Result<Self> {
        let bytes = STANDARD.decode(text.trim_ascii());
        let bytes = bytes.map_err(|error| corrupt("not base64").with_source(error))?;
        let mut rest = &bytes[..];
        let mut filter = Self {
            filter_type,
            row_keys: 0,
            last_row_keys: 0,
            rows: Vec::new(),
        };
        let mut rows = 1;
        if filter_type == BloomFilterType::DynamicV0 {
            read_prefix(&mut rest)?;
            filter.row_keys = read(&mut rest)?;
            filter.last_row_keys = read(&mut rest)?;
            rows = read(&mut rest)?;
        }
        for _ in 0..rows {
            let (hashes, bits) = read_prefix(&mut rest)?;
            let length = bits.div_ceil(8) as usize;
            let (bytes, behind) = rest
                .split_at_checked(length)
                .ok_or_else(|| corrupt("cut short"))?;
            filter.rows.push(Row {
                hashes,
                bits,
                bytes: bytes.to_vec(),
            });
            rest = behind;
        }
        if filter.rows.is_empty() {
            return Err(corrupt("no rows"));
        }
        Ok(filter)
    }
}

impl Row {
    fn sized(keys: u32, false_positives: f64) -> Result<Self> {
        let invalid = || {
            let wanted = format!("{keys} keys with a share of false answers of {false_positives}");
            Error::invalid(format!("bloom filter: no filter holds {wanted}"))
        };
        if !(false_positives > 0.0 && false_positives < 1.0) {
            return Err(invalid());
        }
        let ln2 = std::f64::consts::LN_2;
        let bits = (f64::from(keys) * -false_positives.ln() / (ln2 * ln2)).ceil();
        let hashes = (ln2 * bits / f64::from(keys)).ceil();
        if bits > f64::from(BITS_MAX - 1) {
            return Err(invalid());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "both are positive and below 2^31"
        )]
        let (bits, hashes) = (bits as u32, hashes as u32);
        Ok(Self {
            hashes,
            bits,
            bytes: vec![0; bits.div_ceil(8) as usize],
        })
    }

    fn put_prefix(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&self.hashes.to_be_bytes());
        out.push(MURMUR);
        out.extend_from_slice(&self.bits.to_be_bytes());
    }

    /// The bits of a key: each hash is the seed of the next.
    fn positions<'k>(&self, key: &'k [u8]) -> impl Iterator<Item = u32> + use<'k> {
        let bits = self.bits.cast_signed();
        let hashes = if key.is_empty() { 0 } else { self.hashes };
        let mut seed = 0_i32;
        (0..hashes).map(move |_| {
            seed = murmur2(key, seed);
            (seed % bits).unsigned_abs()
        })
    }

    fn insert(&mut self, key: &[u8]) {
        for position in self.positions(key) {
            if let Some(byte) = self.bytes.get_mut((position / 8) as usize) {
                *byte |= 1 << (position % 8);
            }
        }
    }

    fn contains(&self, key: &[u8]) -> bool {
        !key.is_empty()
            && self.positions(key).all(|position| {
                let byte = self.bytes.get((position / 8) as usize);
                byte.is_some_and(|byte| byte & (1 << (position % 8)) != 0)
            })
    }
}

/// Hadoop's form of MurmurHash2: the tail is taken last byte lowest, and its bytes are signed.
///
/// Java: org.apache.hudi.common.util.hash.MurmurHash#hash.
fn murmur2(data: &[u8], seed: i32) -> i32 {
    const M: i32 = 0x5bd1_e995;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "java counts in 32 bits; no record key comes near 2 GiB"
    )]
    let mut hash = seed ^ data.len() as i32;
    let (chunks, tail) = data.as_chunks::<4>();
    for chunk in chunks {
        let mut k = i32::from_le_bytes(*chunk).wrapping_mul(M);
        k ^= k.cast_unsigned().wrapping_shr(24).cast_signed();
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (place, byte) in tail.iter().rev().enumerate() {
            hash ^= i32::from(byte.cast_signed()) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash.cast_unsigned().wrapping_shr(13).cast_signed();
    hash = hash.wrapping_mul(M);
    hash ^ hash.cast_unsigned().wrapping_shr(15).cast_signed()
}

fn corrupt(message: &str) -> Error {
    Error::corrupt("bloom filter", message)
}

fn read(rest: &mut &[u8]) -> Result<u32> {
    rest.try_get_u32()
        .map_err(|error| corrupt("cut short").with_source(error))
}

/// Number of hashes and of bits.
fn read_prefix(rest: &mut &[u8]) -> Result<(u32, u32)> {
    let version = read(rest)?.cast_signed();
    let hashes = read(rest)?;
    let hash_type = rest
        .try_get_u8()
        .map_err(|error| corrupt("cut short").with_source(error))?;
    let bits = read(rest)?;
    if version != VERSION {
        return Err(Error::unsupported(format!(
            "bloom filter: version {version}; only -1 is known"
        )));
    }
    if hash_type != MURMUR {
        return Err(Error::unsupported(format!(
            "bloom filter: hash type {hash_type}; only murmur is known"
        )));
    }
    if bits == 0 || bits >= BITS_MAX || hashes == 0 || hashes > 1024 {
        return Err(corrupt("a number of bits or hashes that no filter has"));
    }
    Ok((hashes, bits))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use arrow::array::AsArray;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::error::ErrorKind;

    /// Record keys and footer entry of a base file that Hudi wrote.
    fn base_file(entry: &str) -> (Vec<String>, String) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/base/v9_cow.parquet");
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
        let entries = builder
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .unwrap();
        let entry = entries
            .iter()
            .find(|found| found.key == entry)
            .unwrap()
            .value
            .clone()
            .unwrap();
        let keys = builder.build().unwrap().flat_map(|batch| {
            let batch = batch.unwrap();
            let keys = batch
                .column_by_name("_hoodie_record_key")
                .unwrap()
                .as_string::<i32>();
            keys.iter()
                .map(|key| key.unwrap().to_owned())
                .collect::<Vec<_>>()
        });
        (keys.collect(), entry)
    }

    #[test]
    fn has_the_bits_of_hudi() {
        let (keys, theirs) = base_file(FOOTER_KEY);
        assert_eq!(keys.len(), 9);
        let filter = BloomFilter::from_base64(&theirs, BloomFilterType::Simple).unwrap();
        assert!(keys.iter().all(|key| filter.might_contain(key)));
        assert_eq!(filter.to_base64(), theirs);
        let absent = (1000..2000)
            .filter(|key| !filter.might_contain(&key.to_string()))
            .count();
        assert!(absent > 990, "{absent} of 1000 absent keys are told apart");
        // The table was made for 50 keys and 1 % of false answers.
        let mut ours = BloomFilter::simple(50, 0.01).unwrap();
        keys.iter().for_each(|key| ours.insert(key));
        assert_eq!(ours.to_base64(), theirs);
        assert_eq!(ours, filter);
    }

    #[test]
    fn a_default_filter_starts_as_that_of_hudi() {
        let mut filter = BloomFilter::with_capacity(60_000, DEFAULT_FALSE_POSITIVES).unwrap();
        ["a", "b", "c", "d"]
            .iter()
            .for_each(|key| filter.insert(key));
        let text = filter.to_base64();
        assert!(
            text.starts_with("/////wAAAB4BACd9PgAA6mAAAAAEAAAAAf////8AAAAeAQAnfT4"),
            "{}",
            &text[..60]
        );
        assert_eq!(text.len(), 431_380);
        assert_eq!(
            BloomFilter::from_base64(&text, BloomFilterType::DynamicV0).unwrap(),
            filter
        );
    }

    #[test]
    fn holds_every_key_past_its_first_row_and_beyond_ascii() {
        let mut filter = BloomFilter::with_capacity(10, DEFAULT_FALSE_POSITIVES).unwrap();
        let keys: Vec<String> = (0..95).map(|at| format!("schlüssel-{at}-🦀")).collect();
        keys.iter().for_each(|key| filter.insert(key));
        let again =
            BloomFilter::from_base64(&filter.to_base64(), BloomFilterType::DynamicV0).unwrap();
        assert!(keys.iter().all(|key| again.might_contain(key)));
        assert_eq!(again.rows.len(), 10);
        assert!(!again.might_contain("schlüssel-95"));
    }

    #[test]
    fn broken_filters_are_refused() {
        let text = BloomFilter::with_capacity(10, 0.01).unwrap().to_base64();
        for length in (0..text.len()).step_by(4) {
            let error = BloomFilter::from_base64(&text[..length], BloomFilterType::DynamicV0);
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Corrupt, "{length}");
        }
        assert!(BloomFilter::with_capacity(u32::MAX, 1e-9).is_err());
        assert!(BloomFilter::with_capacity(1, 0.0).is_err());
    }
}
