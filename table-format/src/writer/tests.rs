//! Whole writes against a naive model: what is read back is what was written, whatever the table looks like.

mod compaction;
mod compaction_crash;
mod compaction_random;
mod crash;
mod model;
mod operations;
mod random;
mod scenario;
