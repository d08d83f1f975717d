//! What the outside world supplies, injected so that a test can replay it: clock, ids, memory, locks.

mod cpu;
mod memory;

use std::fmt::Debug;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::config::LockSettings;

pub use cpu::run_on_cpu;
pub(crate) use memory::batch_bytes;
pub use memory::{MemoryBudget, Reservation};

/// The wall clock.
pub trait Clock: Debug + Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> DateTime<Utc>;
}

/// Makes ids of file groups and pipelines.
pub trait IdGenerator: Debug + Send + Sync {
    /// A new UUID in its hyphenated form.
    fn next_uuid(&self) -> String;
}

/// Everything that the table format takes from outside.
#[derive(Debug, Clone)]
pub struct Env {
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Source of new ids.
    pub ids: Arc<dyn IdGenerator>,
    /// The one budget of bytes that everything on the path draws on.
    pub memory: MemoryBudget,
    /// How to keep out of the way of other writers.
    pub locks: Arc<LockSettings>,
}

impl Env {
    /// The real clock and random ids under a ceiling of `memory` bytes.
    pub fn system(memory: MemoryBudget) -> Self {
        Self {
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            memory,
            locks: Arc::default(),
        }
    }

    /// The same with other locks.
    #[must_use]
    pub fn with_locks(mut self, locks: LockSettings) -> Self {
        self.locks = Arc::new(locks);
        self
    }
}

#[derive(Debug)]
struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

#[derive(Debug)]
struct RandomIds;

impl IdGenerator for RandomIds {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that draws random ids"
    )]
    fn next_uuid(&self) -> String {
        uuid::Uuid::new_v4().to_string()
    }
}
