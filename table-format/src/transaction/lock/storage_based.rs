//! Hudi's storage-based lock: a lease in `.hoodie/.locks/table_lock.json`, for object stores with conditional writes.
//!
//! Java: StorageBasedLockProvider. Hudi refuses it on local disks; here it works there too, among processes of Lakebed.

use async_trait::async_trait;

use super::lease::{Claim, Lease, LeaseFile};
use super::provider::{Attempt, HeldLock, LockProvider};
use crate::env::Env;
use crate::error::Result;
use crate::storage::Storage;

const LOCK_PATH: &str = ".hoodie/.locks/table_lock.json";

#[derive(Debug)]
pub(crate) struct StorageBasedLock {
    file: LeaseFile,
}

impl StorageBasedLock {
    pub(crate) fn new(storage: &Storage, env: &Env) -> Self {
        Self {
            file: LeaseFile {
                storage: storage.clone(),
                path: LOCK_PATH.to_owned(),
                validity: env.locks.storage_validity,
                renewal: env.locks.storage_renewal,
                env: env.clone(),
            },
        }
    }
}

#[async_trait]
impl LockProvider for StorageBasedLock {
    async fn try_acquire(&self) -> Result<Attempt> {
        Ok(match self.file.claim(&super::this_process()).await? {
            Claim::Ours(lease) => Attempt::Acquired(Box::new(lease)),
            Claim::Theirs(record, _) => {
                Attempt::HeldBy(record.holder(self.file.env.clock.as_ref()))
            }
        })
    }

    fn name(&self) -> String {
        self.file.storage.location_of(LOCK_PATH)
    }
}

#[async_trait]
impl HeldLock for Lease {
    async fn check(&self) -> Result<()> {
        Self::check(self).await
    }

    async fn release(self: Box<Self>) -> Result<()> {
        Self::release(&self).await
    }
}
