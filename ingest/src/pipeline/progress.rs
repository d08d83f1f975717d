//! What a pipeline is doing, in counters that a display or a metrics page reads at any time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};

use table_format::env::MemoryBudget;

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
    /// Commits in this run.
    pub commits: AtomicU64,
}

impl TableProgress {
    fn new(name: String) -> Self {
        Self {
            name,
            phase: AtomicU8::new(0),
            rows_estimated: AtomicU64::new(0),
            snapshot_rows: AtomicU64::new(0),
            chunks: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            commits: AtomicU64::new(0),
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

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }
}

/// Counters of a pipeline.
#[derive(Debug)]
pub struct Progress {
    tables: Mutex<Vec<std::sync::Arc<TableProgress>>>,
    memory: MemoryBudget,
    position: Mutex<String>,
    lag_millis: AtomicI64,
    caught_up: AtomicBool,
}

impl Progress {
    /// Counters at zero; `memory` is the budget whose use is shown.
    pub fn new(memory: MemoryBudget) -> Self {
        Self {
            tables: Mutex::default(),
            memory,
            position: Mutex::default(),
            lag_millis: AtomicI64::new(0),
            caught_up: AtomicBool::new(false),
        }
    }

    /// The tables, in the order in which they were found.
    pub fn tables(&self) -> Vec<std::sync::Arc<TableProgress>> {
        lock(&self.tables).clone()
    }

    /// The budget on which everything draws.
    pub fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    /// The source position that has been read, as text.
    pub fn position(&self) -> String {
        lock(&self.position).clone()
    }

    /// Milliseconds between a change at the source and its being read, as of the last change.
    pub fn lag_millis(&self) -> i64 {
        self.lag_millis.load(Ordering::Relaxed)
    }

    /// Whether the log has been read to its end at least once.
    pub fn caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Relaxed)
    }

    pub(crate) fn add_table(&self, name: String) -> std::sync::Arc<TableProgress> {
        let table = std::sync::Arc::new(TableProgress::new(name));
        lock(&self.tables).push(std::sync::Arc::clone(&table));
        table
    }

    pub(crate) fn clear_tables(&self) {
        lock(&self.tables).clear();
    }

    pub(crate) fn set_position(&self, position: String) {
        *lock(&self.position) = position;
    }

    pub(crate) fn set_lag_millis(&self, millis: i64) {
        self.lag_millis.store(millis, Ordering::Relaxed);
    }

    pub(crate) fn set_caught_up(&self) {
        self.caught_up.store(true, Ordering::Relaxed);
        self.set_lag_millis(0);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
