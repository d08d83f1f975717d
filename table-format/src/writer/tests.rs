//! Whole writes against a naive model: what is read back is what was written, whatever the table looks like.

mod concurrent;
mod crash;
mod failed_writes;
mod model;
mod random;
mod restore;
mod rollback_v6;
mod scenario;
