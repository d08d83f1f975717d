//! What a pipeline is doing, in counters that a display or a metrics page reads at any time.
//!
//! Counters live as long as the process: a stream that starts over goes on counting.

mod histogram;
mod table;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use table_format::env::{Clock, MemoryBudget};

use crate::error::ErrorKind;
use crate::position::BinlogPosition;
pub use histogram::{Histogram, HistogramSnapshot};
pub use table::{Phase, TableProgress};

/// Counters of a pipeline.
#[derive(Debug)]
pub struct Progress {
    tables: Mutex<Vec<Arc<TableProgress>>>,
    memory: MemoryBudget,
    clock: Arc<dyn Clock>,
    position: Mutex<Option<BinlogPosition>>,
    lag_millis: AtomicI64,
    last_event_millis: AtomicI64,
    caught_up: AtomicBool,
    connected: AtomicBool,
    /// When the oldest change that waits for a commit was read; 0 for none.
    pending_since_millis: AtomicI64,
    /// Bytes of the source's log behind the position; negative when not known.
    lag_bytes: AtomicI64,
    /// Bytes of the source's log that were received.
    pub received_bytes: AtomicU64,
    /// Source transactions that were read whole.
    pub transactions: AtomicU64,
    /// Times that the pipeline started over after a failure.
    pub retries: AtomicU64,
    /// Milliseconds between the newest source transaction of the last commit and its becoming visible.
    commit_lag_millis: AtomicI64,
    /// How long commits took.
    pub commit_duration: Histogram,
    last_error: Mutex<Option<(ErrorKind, String)>>,
}

impl Progress {
    /// Counters at zero; `memory` is the budget whose use is shown.
    pub fn new(memory: MemoryBudget, clock: Arc<dyn Clock>) -> Self {
        Self {
            tables: Mutex::default(),
            memory,
            clock,
            position: Mutex::default(),
            lag_millis: AtomicI64::new(0),
            last_event_millis: AtomicI64::new(0),
            caught_up: AtomicBool::new(false),
            connected: AtomicBool::new(false),
            pending_since_millis: AtomicI64::new(0),
            lag_bytes: AtomicI64::new(-1),
            received_bytes: AtomicU64::new(0),
            transactions: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            commit_lag_millis: AtomicI64::new(0),
            commit_duration: Histogram::default(),
            last_error: Mutex::default(),
        }
    }

    /// The tables, in the order in which they were found.
    pub fn tables(&self) -> Vec<Arc<TableProgress>> {
        lock(&self.tables).clone()
    }

    /// The budget on which everything draws.
    pub fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    /// The source position that has been read, as text.
    pub fn position(&self) -> String {
        lock(&self.position)
            .as_ref()
            .map_or_else(String::new, ToString::to_string)
    }

    /// File and offset of the position.
    pub(crate) fn place(&self) -> Option<(String, u64)> {
        lock(&self.position)
            .as_ref()
            .map(|position| (position.file.clone(), position.pos))
    }

    /// Milliseconds between a change at the source and its being read, as of the last change; while the source is out of
    /// reach, since the last change.
    pub fn lag_millis(&self) -> i64 {
        let last = self.last_event_millis.load(Relaxed);
        if !self.is_connected() && last > 0 {
            return (self.now_millis() - last).max(0);
        }
        self.lag_millis.load(Relaxed)
    }

    /// Bytes of the source's log that are still to be read; `None` when not known.
    pub fn lag_bytes(&self) -> Option<u64> {
        u64::try_from(self.lag_bytes.load(Relaxed)).ok()
    }

    /// Milliseconds between the newest source transaction of the last commit and its becoming visible; the source's times
    /// are whole seconds.
    pub fn commit_lag_millis(&self) -> i64 {
        self.commit_lag_millis.load(Relaxed)
    }

    /// Whether the log has been read to its end at least once.
    pub fn caught_up(&self) -> bool {
        self.caught_up.load(Relaxed)
    }

    /// Whether source and lake answer: false before the first start and while a failure is waited out.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    /// How long the oldest change that is read waits for its commit, in milliseconds; 0 when none waits.
    pub fn pending_millis(&self) -> i64 {
        match self.pending_since_millis.load(Relaxed) {
            0 => 0,
            since => (self.now_millis() - since).max(0),
        }
    }

    /// The last failure that the pipeline waited out, if it has not come to run again since.
    pub fn last_error(&self) -> Option<(ErrorKind, String)> {
        lock(&self.last_error).clone()
    }

    pub(crate) fn now_millis(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    /// The counters of a table; those of an earlier start go on.
    pub(crate) fn table(&self, name: &str) -> Arc<TableProgress> {
        let mut tables = lock(&self.tables);
        if let Some(known) = tables.iter().find(|table| table.name == name) {
            return Arc::clone(known);
        }
        let table = Arc::new(TableProgress::new(name.to_owned()));
        tables.push(Arc::clone(&table));
        table
    }

    /// Forgets the tables that are not among `names`.
    pub(crate) fn keep_tables(&self, names: &std::collections::BTreeSet<String>) {
        lock(&self.tables).retain(|table| names.contains(&table.name));
    }

    pub(crate) fn set_position(&self, position: BinlogPosition) {
        *lock(&self.position) = Some(position);
    }

    /// Notes an event that the source wrote at `millis`.
    pub(crate) fn set_event(&self, millis: i64) {
        self.last_event_millis.store(millis, Relaxed);
        self.lag_millis
            .store((self.now_millis() - millis).max(0), Relaxed);
    }

    pub(crate) fn set_caught_up(&self) {
        self.caught_up.store(true, Relaxed);
        self.lag_millis.store(0, Relaxed);
    }

    pub(crate) fn set_lag_bytes(&self, bytes: Option<u64>) {
        let bytes = bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        self.lag_bytes.store(bytes, Relaxed);
    }

    pub(crate) fn set_connected(&self) {
        self.connected.store(true, Relaxed);
        *lock(&self.last_error) = None;
    }

    pub(crate) fn set_failed(&self, kind: ErrorKind, message: String) {
        self.connected.store(false, Relaxed);
        self.retries.fetch_add(1, Relaxed);
        self.set_pending(false);
        *lock(&self.last_error) = Some((kind, message));
    }

    /// Notes whether changes wait for a commit.
    pub(crate) fn set_pending(&self, is_pending: bool) {
        let now = self.now_millis();
        let (old, new) = if is_pending {
            (0, now)
        } else {
            (self.pending_since_millis.load(Relaxed), 0)
        };
        // A change that waits already keeps its time.
        self.pending_since_millis
            .compare_exchange(old, new, Relaxed, Relaxed)
            .ok();
    }

    /// Notes that what was read has become visible.
    pub(crate) fn set_committed(&self) {
        let last = self.last_event_millis.load(Relaxed);
        if last > 0 {
            self.commit_lag_millis
                .store((self.now_millis() - last).max(0), Relaxed);
        }
        self.set_pending(false);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
