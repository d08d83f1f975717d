//! A lock among the processes of Lakebed that have a local table at hand, kept by the operating system.
//!
//! It ends with the process that holds it, so nothing is ever left behind. Other engines do not know it.

use std::path::PathBuf;

use async_trait::async_trait;

use super::provider::{Attempt, HeldLock, Holder, LockProvider};
use crate::error::Result;
use crate::storage::{OsLock, Storage};

/// Table-relative path of the file whose lock is taken.
const LOCK_PATH: &str = ".hoodie/.locks/lakebed.lock";

#[derive(Debug)]
pub(crate) struct OnMachineLock {
    path: PathBuf,
}

impl OnMachineLock {
    /// The lock of a local table.
    pub(crate) fn try_new(storage: &Storage) -> Result<Self> {
        Ok(Self {
            path: storage.local_path(LOCK_PATH)?,
        })
    }
}

#[async_trait]
impl LockProvider for OnMachineLock {
    async fn try_acquire(&self) -> Result<Attempt> {
        Ok(match OsLock::try_exclusive(&self.path).await? {
            Some(lock) => Attempt::Acquired(Box::new(HeldOnMachine { _lock: lock })),
            None => Attempt::HeldBy(Holder {
                owner: "another process of lakebed".to_owned(),
                remaining: None,
            }),
        })
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

#[derive(Debug)]
struct HeldOnMachine {
    _lock: OsLock,
}

#[async_trait]
impl HeldLock for HeldOnMachine {
    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn release(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
