//! The header of a block: texts by key.
//!
//! Java: HoodieLogBlock.HeaderMetadataType; the position in that enum is what stands in the file.

use std::collections::BTreeMap;

/// What a text of the header means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeaderKey {
    /// Begin time of the write that made the block.
    InstantTime,
    /// Command block: the instant that is undone.
    TargetInstantTime,
    /// Avro JSON of the records, meta columns included.
    Schema,
    /// Command block: `0`, for rollback.
    CommandBlockType,
    /// Instants whose blocks this one holds, after a log compaction.
    CompactedBlockTimes,
    /// Positions of the records in the base file.
    RecordPositions,
    /// Reserved; no reader looks at it.
    BlockIdentifier,
    /// `true` when the rows hold only the changed columns.
    IsPartial,
    /// Instant of the base file that the positions mean.
    BaseFileInstantTime,
}

impl HeaderKey {
    const ALL: [Self; 9] = [
        Self::InstantTime,
        Self::TargetInstantTime,
        Self::Schema,
        Self::CommandBlockType,
        Self::CompactedBlockTimes,
        Self::RecordPositions,
        Self::BlockIdentifier,
        Self::IsPartial,
        Self::BaseFileInstantTime,
    ];

    pub(super) fn from_ordinal(ordinal: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(ordinal).ok()?).copied()
    }

    pub(super) fn ordinal(self) -> u32 {
        match self {
            Self::InstantTime => 0,
            Self::TargetInstantTime => 1,
            Self::Schema => 2,
            Self::CommandBlockType => 3,
            Self::CompactedBlockTimes => 4,
            Self::RecordPositions => 5,
            Self::BlockIdentifier => 6,
            Self::IsPartial => 7,
            Self::BaseFileInstantTime => 8,
        }
    }
}

/// The texts in front of a block's content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockHeader(BTreeMap<HeaderKey, String>);

impl BlockHeader {
    /// The text under a key.
    pub fn get(&self, key: HeaderKey) -> Option<&str> {
        self.0.get(&key).map(String::as_str)
    }

    /// Begin time of the write that made the block.
    pub fn instant_time(&self) -> Option<&str> {
        self.get(HeaderKey::InstantTime)
    }

    /// Of a command block: the instant that is undone.
    pub fn target_instant_time(&self) -> Option<&str> {
        self.get(HeaderKey::TargetInstantTime)
    }

    /// Avro JSON of the records.
    pub fn schema(&self) -> Option<&str> {
        self.get(HeaderKey::Schema)
    }

    /// Whether the rows hold only the changed columns.
    pub fn is_partial(&self) -> bool {
        self.get(HeaderKey::IsPartial)
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// The instants whose blocks this one holds, after a log compaction.
    pub fn compacted_block_times(&self) -> impl Iterator<Item = &str> {
        let times = self.get(HeaderKey::CompactedBlockTimes).unwrap_or_default();
        times.split(',').filter(|time| !time.is_empty())
    }

    pub(super) fn insert(&mut self, key: HeaderKey, text: String) {
        self.0.insert(key, text);
    }
}

#[cfg(test)]
impl BlockHeader {
    /// A header of these texts.
    pub(crate) fn of_texts<const N: usize>(texts: [(HeaderKey, &str); N]) -> Self {
        Self(texts.map(|(key, text)| (key, text.to_owned())).into())
    }
}
