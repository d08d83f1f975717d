//! The bloom filter in the footer of base files, bit by bit as Hudi makes it.
//!
//! Java: SimpleBloomFilter, HoodieDynamicBoundedBloomFilter, MurmurHash (the port in Hadoop, which differs from the
//! reference in its tail). Spec: Hudi 1.2.0, "Bloom filter serialisation".

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, Result};

const MURMUR: u8 = 1;
const HEADER_BYTES: usize = 13;

/// A set of keys that may say "maybe" wrongly, but never "no".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BloomFilter {
    /// A simple filter has one row; a dynamic one has more.
    rows: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    bits: u32,
    hashes: u32,
    /// Bit `i` is bit `i % 8` of byte `i / 8`.
    vector: Vec<u8>,
}

impl BloomFilter {
    /// An empty simple filter of `bits` bits, each key setting up to `hashes` of them.
    pub fn with_size(bits: u32, hashes: u32) -> Self {
        let bits = bits.clamp(1, i32::MAX.unsigned_abs());
        let vector = vec![0; bits.div_ceil(8) as usize];
        Self { rows: vec![Row { bits, hashes: hashes.max(1), vector }] }
    }

    /// An empty simple filter that holds `keys` keys at `fpp` false positives, sized as Hudi does.
    pub fn for_keys(keys: u32, fpp: f64) -> Self {
        let keys = f64::from(keys.max(1));
        let ln2 = std::f64::consts::LN_2;
        let bits = (keys * -fpp.ln() / (ln2 * ln2)).ceil();
        let hashes = (ln2 * bits / keys).ceil();
        // Float to integer conversions saturate.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        Self::with_size(bits as u32, hashes as u32)
    }

    /// Adds a key.
    pub fn add(&mut self, key: &[u8]) {
        if let Some(row) = self.rows.last_mut() {
            row.add(key);
        }
    }

    /// `false` when the key was certainly not added.
    pub fn might_contain(&self, key: &[u8]) -> bool {
        self.rows.iter().any(|row| row.might_contain(key))
    }

    /// Shrinks a simple filter to `1 / factor` of its bits without losing a key: a position is a hash modulo the bits, and
    /// the smaller number divides the larger. Does nothing when `factor` does not divide the bits into whole bytes.
    pub fn fold(&mut self, factor: u32) {
        for row in &mut self.rows {
            let bits = row.bits / factor.max(1);
            if bits == 0 || row.bits % factor.max(1) != 0 || bits % 8 != 0 {
                continue;
            }
            let folded_bytes = (bits / 8) as usize;
            let mut folded = vec![0; folded_bytes];
            for part in row.vector.chunks(folded_bytes) {
                folded.iter_mut().zip(part).for_each(|(to, from)| *to |= from);
            }
            row.bits = bits;
            row.vector = folded;
        }
    }

    /// Makes the filter say "maybe" to every key.
    pub fn fill(&mut self) {
        self.rows.iter_mut().for_each(|row| row.vector.fill(0xff));
    }

    /// The text of a simple filter (type code `SIMPLE`), as the footer holds it.
    pub fn to_base64(&self) -> String {
        let mut bytes = Vec::new();
        self.rows.iter().for_each(|row| row.encode(&mut bytes));
        STANDARD.encode(bytes)
    }

    /// Reads the text of a footer. `is_dynamic`: its type code is `DYNAMIC_V0`, not `SIMPLE`.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are no filter.
    pub fn from_base64(text: &str, is_dynamic: bool) -> Result<Self> {
        let corrupt = |what: &str| Error::corrupt("bloom filter", what);
        let bytes = STANDARD
            .decode(text)
            .map_err(|error| corrupt("not base64").with_source(error))?;
        let mut rest = bytes.as_slice();
        if !is_dynamic {
            return Ok(Self { rows: vec![Row::decode(&mut rest)?] });
        }
        let (_, after) = rest.split_at_checked(HEADER_BYTES + 8).ok_or_else(|| corrupt("header cut off"))?;
        rest = after;
        let count = take_u32(&mut rest)?;
        let rows = (0..count).map(|_| Row::decode(&mut rest)).collect::<Result<Vec<_>>>()?;
        Ok(Self { rows })
    }
}

impl Row {
    fn add(&mut self, key: &[u8]) {
        let mut seed = 0;
        for _ in 0..self.hashes {
            seed = murmur(key, seed);
            let position = seed.unsigned_abs() % self.bits;
            if let Some(byte) = self.vector.get_mut((position / 8) as usize) {
                *byte |= 1 << (position % 8);
            }
        }
    }

    fn might_contain(&self, key: &[u8]) -> bool {
        let mut seed = 0;
        (0..self.hashes).all(|_| {
            seed = murmur(key, seed);
            let position = seed.unsigned_abs() % self.bits;
            self.vector.get((position / 8) as usize).is_some_and(|byte| byte & (1 << (position % 8)) != 0)
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend((-1_i32).to_be_bytes());
        out.extend(self.hashes.to_be_bytes());
        out.push(MURMUR);
        out.extend(self.bits.to_be_bytes());
        out.extend(&self.vector);
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self> {
        let corrupt = |what: &str| Error::corrupt("bloom filter", what);
        if take_u32(bytes)? != u32::MAX {
            return Err(corrupt("unknown version"));
        }
        let hashes = take_u32(bytes)?;
        let (&kind, rest) = bytes.split_first().ok_or_else(|| corrupt("header cut off"))?;
        *bytes = rest;
        if kind != MURMUR {
            return Err(corrupt("its hash function is not murmur"));
        }
        let bits = take_u32(bytes)?;
        if bits == 0 || hashes == 0 || hashes > 1_000 {
            return Err(corrupt("no bits or hashes, or too many"));
        }
        let (vector, rest) =
            bytes.split_at_checked(bits.div_ceil(8) as usize).ok_or_else(|| corrupt("bits cut off"))?;
        *bytes = rest;
        Ok(Self { bits, hashes, vector: vector.to_vec() })
    }
}

fn take_u32(bytes: &mut &[u8]) -> Result<u32> {
    let (head, rest) = bytes
        .split_first_chunk::<4>()
        .ok_or_else(|| Error::corrupt("bloom filter", "header cut off"))?;
    *bytes = rest;
    Ok(u32::from_be_bytes(*head))
}

/// Java: MurmurHash#hash of Hadoop. The tail's bytes are sign-extended, and its last byte goes to the low bits.
fn murmur(key: &[u8], seed: i32) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let mut hash = u32::from_ne_bytes(seed.to_ne_bytes()) ^ length;
    let (chunks, tail) = key.as_chunks::<4>();
    for chunk in chunks {
        let mut k = u32::from_le_bytes(*chunk).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (shift, &byte) in (0_u32..).step_by(8).zip(tail.iter().rev()) {
            let extended = u32::from_ne_bytes(i32::from(i8::from_ne_bytes([byte])).to_ne_bytes());
            hash ^= extended << shift;
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^= hash >> 15;
    i32::from_ne_bytes(hash.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_those_of_hudi() {
        let filter = BloomFilter::for_keys(60_000, 1e-9);
        assert_eq!((filter.rows[0].bits, filter.rows[0].hashes), (2_587_966, 30));
        let text = filter.to_base64();
        assert!(text.starts_with("/////wAAAB4BACd9P"), "{}", &text[..20]);
    }

    proptest! {
        #[test]
        fn no_key_is_lost_by_folding_or_writing(
            keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 1..200),
            fold in 0_u32..6,
        ) {
            let mut filter = BloomFilter::with_size(1 << 14, 7);
            keys.iter().for_each(|key| filter.add(key));
            let mut small = BloomFilter::with_size((1 << 14) >> fold, 7);
            keys.iter().for_each(|key| small.add(key));
            filter.fold(1 << fold);
            prop_assert_eq!(&filter, &small);
            let read = BloomFilter::from_base64(&filter.to_base64(), false).unwrap();
            prop_assert!(keys.iter().all(|key| read.might_contain(key)));
        }

        #[test]
        fn foreign_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let text = STANDARD.encode(&bytes);
            for is_dynamic in [false, true] {
                drop(BloomFilter::from_base64(&text, is_dynamic));
            }
        }
    }

    #[test]
    fn a_filled_filter_holds_everything() {
        let mut filter = BloomFilter::with_size(64, 3);
        assert!(!filter.might_contain(b"k"));
        filter.fill();
        assert!(filter.might_contain(b"k"));
    }
}
