//! Instants from begin to end: the only code that completes one.
//!
//! requested → inflight → data files (each behind its marker) → completed. The last step is one create-if-absent, and it is
//! the commit point: before it nothing is visible, after it everything is. A writer that dies leaves a pending instant,
//! which the next one rolls back before it writes.

mod action;
mod announced;
mod columns;
mod commit;
mod conflict;
mod heartbeat;
mod instant_clock;
mod lock;
mod operation;
mod replace;
mod rollback;
mod state;
mod table_writer;

pub(crate) use action::{Completed, ServiceAction};
pub use commit::Transaction;
pub(crate) use conflict::check_clustered;
pub(crate) use heartbeat::{
    FailedWrites, FailedWritesPolicy, Heartbeat, Heartbeats, heartbeat_path,
};
pub(crate) use instant_clock::{instant_time_at, seconds_between, shifted};
pub(crate) use lock::TableLock;
pub use lock::WriterLease;
pub(crate) use replace::Replaced;
pub(crate) use rollback::{
    Debris, Purpose, delete_markers, finish_pending, finish_restore, info_of, is_clustering,
    list_table, roll_back, roll_back_pending, unpublish,
};
pub(crate) use state::{WritableTable, disable_metadata_table, next_time};
pub use table_writer::TableWriter;
