//! Whole writes against a naive model: what is read back is what was written, whatever the table looks like.

mod change_log;
mod clustering;
mod clustering_crash;
mod clustering_random;
mod clustering_services;
mod compaction;
mod compaction_crash;
mod compaction_random;
mod concurrent;
mod crash;
mod failed_writes;
mod fsck;
mod hazards;
mod indexes;
mod instant_times;
mod log_compaction;
mod model;
mod operations;
mod random;
mod restore;
mod rollback_v6;
mod scenario;
mod schema_on_read;
mod versions;
