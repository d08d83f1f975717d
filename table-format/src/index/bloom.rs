//! The bloom index: footers of base files rule out most keys, by their range and by the bloom filter; the key column of the
//! files that are left decides.
//!
//! Java: HoodieBloomIndex, HoodieBloomIndexCheckFunction.

use async_trait::async_trait;
use parquet::file::metadata::ParquetMetaData;

use crate::error::Result;
use crate::file_group::{key_bounds, key_filter};
use crate::index::stored_keys::{fill_small_groups, find_stored};
use crate::index::{Asked, Homes, Index, Room, Target};

/// See the module.
#[derive(Debug)]
pub(super) struct BloomIndex;

#[async_trait]
impl Index for BloomIndex {
    async fn locate(&self, asked: Asked<'_>, rows: &[u32]) -> Result<Homes> {
        let may_hold = |footer: &ParquetMetaData| may_hold(asked, rows, footer);
        find_stored(asked, rows, &may_hold).await
    }

    fn place(&self, asked: Asked<'_>, rows: &[u32], room: &Room) -> Result<Vec<(u32, Target)>> {
        Ok(fill_small_groups(asked.partition, &asked, rows, room))
    }
}

/// `false` when range and filter in a footer rule out the keys of all `rows`.
fn may_hold(asked: Asked<'_>, rows: &[u32], footer: &ParquetMetaData) -> bool {
    let bounds = key_bounds(footer);
    // Some writers order by UTF-16, some by bytes: the two agree where one side is ASCII.
    let in_range = |key: &str| match bounds {
        Some((min, max)) if key.is_ascii() => (min..=max).contains(&key),
        _ => true,
    };
    let mut candidates = rows
        .iter()
        .map(|&row| asked.key(row))
        .filter(|key| in_range(key))
        .peekable();
    if candidates.peek().is_none() {
        return false;
    }
    let Some(filter) = key_filter(footer) else {
        return true;
    };
    let _held = asked.context.env.memory.book(filter.bytes());
    candidates.any(|key| filter.might_contain(key))
}
