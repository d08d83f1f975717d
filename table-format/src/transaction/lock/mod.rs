//! Locks: what keeps two writers of a table apart.
//!
//! Two kinds, for two spans of time. A [`TableLock`] is held for a moment, around what must not happen twice at once: the
//! choice of an instant's time, the check for conflicts together with the completed file, changes of the properties. A
//! [`WriterLease`] is held as long as a daemon runs, and makes it the only one that feeds its table.

mod file_system;
mod in_process;
mod lease;
mod on_machine;
mod provider;
mod storage_based;
mod table_lock;
mod witness;
mod writer_lease;

#[cfg(test)]
mod tests;

pub(crate) use table_lock::{LockGuard, TableLock};
pub use writer_lease::WriterLease;

/// This process, as others read of it in locks and leases.
pub(crate) fn this_process() -> String {
    let host =
        std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
    let host = host.unwrap_or_else(|_| "an unnamed machine".to_owned());
    format!("lakebed, process {} on {}", std::process::id(), host.trim())
}
