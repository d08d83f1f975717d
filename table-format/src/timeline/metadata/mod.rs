//! What the files of the timeline hold: commits, plans, and the records of what services did.
//!
//! Layout 2 (table versions 8 and 9) holds Avro container files throughout; layout 1 (version 6) holds JSON for commits
//! and Avro for the rest; an empty file means an empty payload in both. The schemas under `avsc` have the names, types
//! and field order of the files that Hudi 1.2.0 writes; reading goes by the schema inside the file.

mod clean;
mod cleaner_plan;
mod clustering;
mod commit;
mod compaction;
mod operation;
mod payload;
mod restore;
mod rollback;
mod savepoint;
mod write_stat;

pub use clean::{CleanMetadata, CleanPartitionMetadata};
pub use cleaner_plan::{ActionInstant, CleanFileInfo, CleanerPlan, SAVEPOINTED_TIMESTAMPS_KEY};
pub use clustering::{
    ClusteringGroup, ClusteringPlan, ClusteringStrategy, RequestedReplaceMetadata, SliceInfo,
};
pub(crate) use commit::LATEST_SCHEMA;
pub use commit::{CommitMetadata, SCHEMA_KEY};
pub use compaction::{CompactionOperation, CompactionPlan, CompactionStrategy};
pub use operation::WriteOperation;
pub use payload::Payload;
pub(crate) use payload::decode_avro;
pub use restore::{RestoreMetadata, RestorePlan};
pub use rollback::{
    InstantInfo, RollbackMetadata, RollbackPartitionMetadata, RollbackPlan, RollbackRequest,
};
pub use savepoint::{SavepointMetadata, SavepointPartitionMetadata};
pub use write_stat::{NO_PREVIOUS_COMMIT, RuntimeStats, WriteStat};

#[cfg(test)]
mod tests;
