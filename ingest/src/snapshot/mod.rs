//! The initial load: a table's chunks, read in parallel without locks, straight into base files.
//!
//! Chunks are read after the start position of the log was taken, and the log is replayed from there once all are
//! committed: whatever changed while they were read arrives again, and the last change of a key wins. See
//! docs/decisions/0001.

mod assigner;
mod loader;
mod throttle;
mod view;

pub(crate) use loader::{SnapshotLoader, TableLoad};
pub(crate) use throttle::Throttle;
