//! Counters of one table.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};

use crate::source::mysql::binlog::RowsKind;

/// How far a table has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not looked at yet.
    Waiting,
    /// The snapshot is being read.
    Snapshot,
    /// Following the log.
    Stream,
}

impl Phase {
    /// All of them, with their names in metrics and on the status page.
    pub const ALL: [(&'static str, Self); 3] = [
        ("waiting", Self::Waiting),
        ("snapshot", Self::Snapshot),
        ("stream", Self::Stream),
    ];
}

/// Counters of one table.
#[derive(Debug)]
pub struct TableProgress {
    /// `database.table` of the source.
    pub name: String,
    phase: AtomicU8,
    /// The server's estimate of its rows.
    pub rows_estimated: AtomicU64,
    /// Rows read by the snapshot, also in earlier runs.
    pub snapshot_rows: AtomicU64,
    /// Chunks read in this run.
    pub chunks: AtomicU64,
    /// Row changes taken from the log in this run.
    pub changes: AtomicU64,
    /// Of these, inserts.
    pub inserts: AtomicU64,
    /// Of these, updates.
    pub updates: AtomicU64,
    /// Of these, deletes.
    pub deletes: AtomicU64,
    /// Bytes of these as the log holds them.
    pub change_bytes: AtomicU64,
    /// Commits in this run.
    pub commits: AtomicU64,
    /// Times that the columns were changed after the source's in this run.
    pub schema_changes: AtomicU64,
    /// Plans of compactions and clusterings that are not executed yet.
    pub pending_services: AtomicU64,
    /// Table services that failed in this run.
    pub service_failures: AtomicU64,
    last_commit_millis: AtomicI64,
}

impl TableProgress {
    pub(super) fn new(name: String) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            name,
            phase: AtomicU8::new(0),
            rows_estimated: zero(),
            snapshot_rows: zero(),
            chunks: zero(),
            changes: zero(),
            inserts: zero(),
            updates: zero(),
            deletes: zero(),
            change_bytes: zero(),
            commits: zero(),
            schema_changes: zero(),
            pending_services: zero(),
            service_failures: zero(),
            last_commit_millis: AtomicI64::new(0),
        }
    }

    /// How far the table has come.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Waiting,
            1 => Phase::Snapshot,
            _ => Phase::Stream,
        }
    }

    /// When its last commit of this run became visible, in milliseconds since 1970; `None` before the first.
    pub fn last_commit_millis(&self) -> Option<i64> {
        Some(self.last_commit_millis.load(Ordering::Relaxed)).filter(|millis| *millis > 0)
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(crate) fn add_changes(&self, kind: RowsKind, rows: u64, bytes: u64) {
        let of_kind = match kind {
            RowsKind::Write => &self.inserts,
            RowsKind::Update => &self.updates,
            RowsKind::Delete => &self.deletes,
        };
        of_kind.fetch_add(rows, Ordering::Relaxed);
        self.changes.fetch_add(rows, Ordering::Relaxed);
        self.change_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_committed(&self, now_millis: i64) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.last_commit_millis.store(now_millis, Ordering::Relaxed);
    }
}
