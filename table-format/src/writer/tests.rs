//! Whole writes against a naive model: what is read back is what was written, whatever the table looks like.

mod compaction;
mod compaction_crash;
mod compaction_random;
mod concurrent;
mod crash;
mod failed_writes;
mod fsck;
mod model;
mod operations;
mod random;
mod restore;
mod rollback_v6;
mod scenario;
mod versions;
