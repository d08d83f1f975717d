//! Blocks that a log compaction has made of others.
//!
//! Java: BaseHoodieLogRecordReader#scanInternal. A log compaction writes the folded records of several instants into blocks
//! of its own instant, whose header names these instants; the blocks that they come from stay where they are. The new
//! blocks count where the newest of the old ones lies, whatever was logged since then, and the old ones do not count.
//! A log compaction may take in the blocks of an earlier one.

use std::collections::{HashMap, HashSet};

use crate::codec::log_block::LogBlock;

/// Blocks with the names of their files, in the order in which they count.
type Blocks = Vec<(String, LogBlock)>;

/// Puts blocks of log compactions in the place of those that they were made of. Other logs come back as they are.
pub(super) fn replace_compacted(blocks: Blocks) -> Blocks {
    if blocks
        .iter()
        .all(|(_, block)| compacted_times(block).is_empty())
    {
        return blocks;
    }
    let mut order: Vec<String> = Vec::new();
    let mut by_instant: HashMap<String, Blocks> = HashMap::new();
    for (path, block) in blocks {
        let instant = block.header.instant_time().unwrap_or_default().to_owned();
        if !by_instant.contains_key(&instant) {
            order.push(instant.clone());
        }
        by_instant.entry(instant).or_default().push((path, block));
    }
    // Newest first: a log compaction is met before what it was made of.
    let mut made_into: HashMap<String, String> = HashMap::new();
    let mut counted: Vec<String> = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    for instant in order.into_iter().rev() {
        let first = by_instant.get(&instant).and_then(|blocks| blocks.first());
        let parts = first
            .map(|(_, block)| compacted_times(block))
            .unwrap_or_default();
        let place = made_into.get(&instant).unwrap_or(&instant).clone();
        if parts.is_empty() {
            if seen.insert(place.clone()) {
                counted.push(place);
            }
        } else {
            made_into.extend(parts.into_iter().map(|part| (part, place.clone())));
        }
    }
    let oldest_first = counted.into_iter().rev();
    oldest_first
        .filter_map(|instant| by_instant.remove(&instant))
        .flatten()
        .collect()
}

fn compacted_times(block: &LogBlock) -> Vec<String> {
    block
        .header
        .compacted_block_times()
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::codec::log_block::{BlockHeader, BlockKind, HeaderKey};

    /// The instants of the blocks that count, of logs given as `instant` or `instant=made of,made of`.
    fn counted(blocks: &[&str]) -> String {
        let blocks = blocks.iter().map(|text| {
            let (instant, parts) = text.split_once('=').unwrap_or((text, ""));
            let block = LogBlock {
                kind: BlockKind::AvroData,
                offset: 0,
                length: 0,
                header: BlockHeader::of_texts([
                    (HeaderKey::InstantTime, instant),
                    (HeaderKey::CompactedBlockTimes, parts),
                ]),
                content: Bytes::new(),
            };
            (String::new(), block)
        });
        let counted = replace_compacted(blocks.collect());
        let instants = counted
            .iter()
            .map(|(_, block)| block.header.instant_time().unwrap());
        instants.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn compacted_blocks_count_where_the_newest_of_their_parts_lies() {
        assert_eq!(counted(&["1", "2", "2", "3"]), "1 2 2 3");
        assert_eq!(counted(&["1", "2", "3=1,2", "4"]), "3 4");
        assert_eq!(
            counted(&["1", "2", "4", "3=1,2", "5"]),
            "3 4 5",
            "4 was logged meanwhile"
        );
        assert_eq!(
            counted(&["1", "3", "4=1,3", "2"]),
            "4 2",
            "2 is logged late, and counts after it"
        );
    }

    #[test]
    fn log_compactions_of_log_compactions_count_once() {
        assert_eq!(counted(&["1", "2", "3=1,2", "4", "5=3,4", "6"]), "5 6");
        assert_eq!(counted(&["1", "2", "3=1,2", "4", "6", "5=1,2,4,3"]), "5 6");
        assert_eq!(counted(&["1", "2=1", "3", "4=3"]), "2 4");
    }
}
