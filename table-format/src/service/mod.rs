//! Table services: what keeps a table fit beside its writers.
//!
//! Each service is a plan, which stands on the timeline as a requested instant that any Hudi engine may execute, and its
//! execution. A crash between the two leaves the plan; whoever comes next takes it up. Every service has a file or folder of
//! its own, with an `impl Services` that holds its entry points.

mod archival;
mod cleaning;
pub mod clustering;
pub mod compaction;
mod fsck;
mod log_compaction;
mod planned_groups;
mod restore;
mod rewriting;
mod rollback;
mod savepoint;
mod version_change;

use std::collections::BTreeMap;

use crate::config::TableConfig;
use crate::env::Env;
use crate::error::Result;
use crate::storage::Storage;
use crate::table::Table;
use crate::timeline::ActiveTimeline;

pub use archival::{ArchivalPlan, ArchivalReport, Limit, Reason};
pub use cleaning::CleanSummary;
pub use fsck::{Check, Finding};
pub use restore::{RestoreReport, UndoneInstant};
pub use rollback::RollbackReport;
pub use savepoint::Savepoint;
pub use version_change::VersionChange;

/// The services of one table. Clones are cheap.
#[derive(Debug, Clone)]
pub struct Services {
    storage: Storage,
    env: Env,
    properties: BTreeMap<String, String>,
    clean_memory: cleaning::Memory,
}

impl Table {
    /// The services of this table, set by `hoodie.*` properties; keys that mean nothing to a service are left to others.
    pub fn services(&self, env: Env, properties: BTreeMap<String, String>) -> Services {
        Services::unopened(self.storage().clone(), env, properties)
    }
}

impl Services {
    /// The services of a table whose properties may be broken, so that it cannot be opened; [`Services::fsck`] can mend
    /// that.
    pub fn unopened(storage: Storage, env: Env, properties: BTreeMap<String, String>) -> Self {
        Self {
            storage,
            env,
            properties,
            clean_memory: cleaning::Memory::default(),
        }
    }

    /// Settings and timeline as they are now: another engine may have upgraded the table meanwhile (hazard 26).
    async fn load(&self) -> Result<(TableConfig, ActiveTimeline)> {
        let table = Table::open_storage(self.storage.clone()).await?;
        let timeline = table.timeline().await?;
        Ok((table.config().clone(), timeline))
    }
}
