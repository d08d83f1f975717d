//! Hudi's file lock: `.hoodie/lock` is there while somebody has it.
//!
//! Java: FileSystemBasedLockProvider. It needs a file system that creates a file only if it is absent. A crashed owner's file
//! stays for ever unless an expiry is set; one of ours names its [`Witness`], by which our next process knows better.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::provider::{Attempt, HeldLock, Holder, LockProvider};
use super::witness::{Testimony, Witness};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::Storage;

const LOCK_NAME: &str = "lock";

#[derive(Debug)]
pub(crate) struct FileSystemLock {
    /// The folder of the lock file.
    folder: Storage,
    expiry: Option<Duration>,
    /// The table, beside which the witness lies.
    table: Storage,
    env: Env,
}

/// What the file says; the first three fields are Hudi's. Java: LockInfo.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LockInfo {
    lock_create_time: String,
    lock_thread_name: String,
    lock_stacks_info: Vec<String>,
    #[serde(default)]
    owner: String,
}

/// A look at the lock file.
enum Found {
    Nothing,
    /// Its owner is gone.
    LeftBehind,
    Held(Holder),
}

impl FileSystemLock {
    /// # Errors
    /// `Unsupported` on object stores, where Hudi's other writers refuse it too.
    pub(crate) fn try_new(table: &Storage, env: &Env) -> Result<Self> {
        let folder = match &env.locks.filesystem_path {
            Some(path) => Storage::open(path)?,
            None => table.at(".hoodie")?,
        };
        if folder.location().contains("://") {
            return Err(Error::unsupported(format!(
                "{}: FileSystemBasedLockProvider needs a file system; take StorageBasedLockProvider on object stores",
                folder.location()
            )));
        }
        Ok(Self {
            folder,
            expiry: env.locks.filesystem_expiry,
            table: table.clone(),
            env: env.clone(),
        })
    }

    async fn create(&self) -> Result<Attempt> {
        let owner = self.env.ids.next_uuid();
        let witness = Witness::create(&self.table, &owner).await;
        let info = LockInfo {
            lock_create_time: self
                .env
                .clock
                .now()
                .format("%Y-%m-%d %H:%M:%S%.3f")
                .to_string(),
            lock_thread_name: super::this_process(),
            lock_stacks_info: Vec::new(),
            owner,
        };
        let text = serde_json::to_vec(&info);
        let text = text.map_err(|error| Error::internal(format!("lock: {error}")))?;
        let content = Bytes::from(text);
        match self.folder.create(LOCK_NAME, content.clone()).await {
            Ok(()) => Ok(Attempt::Acquired(Box::new(HeldFile {
                folder: self.folder.clone(),
                content,
                witness,
            }))),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if let Some(witness) = witness {
                    witness.remove().await;
                }
                Ok(Attempt::HeldBy(self.holder(None, None)))
            }
            Err(error) => Err(error),
        }
    }

    /// What the lock file is, if there is one.
    async fn found(&self) -> Result<Found> {
        let Some(modified) = self.folder.modified(LOCK_NAME).await? else {
            return Ok(Found::Nothing);
        };
        let age = (self.env.clock.now() - modified)
            .to_std()
            .unwrap_or_default();
        let remaining = self.expiry.map(|expiry| expiry.saturating_sub(age));
        if self.expiry.is_some_and(|expiry| age > expiry) {
            return Ok(Found::LeftBehind);
        }
        let Some(content) = self.folder.read_if_exists(LOCK_NAME).await? else {
            return Ok(Found::Nothing);
        };
        // Spark's is empty while it is held.
        let info: Option<LockInfo> = serde_json::from_slice(&content).ok();
        if let Some(info) = &info
            && Witness::ask(&self.table, &info.owner).await? == Testimony::Dead
        {
            Witness::forget(&self.table, &info.owner).await;
            return Ok(Found::LeftBehind);
        }
        Ok(Found::Held(self.holder(info.as_ref(), remaining)))
    }

    fn holder(&self, info: Option<&LockInfo>, remaining: Option<Duration>) -> Holder {
        let owner = match info {
            Some(info) => format!("{}, since {}", info.lock_thread_name, info.lock_create_time),
            None => "another engine".to_owned(),
        };
        Holder { owner, remaining }
    }
}

#[async_trait]
impl LockProvider for FileSystemLock {
    async fn try_acquire(&self) -> Result<Attempt> {
        match self.found().await? {
            Found::Nothing => {}
            Found::Held(holder) => return Ok(Attempt::HeldBy(holder)),
            Found::LeftBehind => {
                // Processes of ours come here one at a time (`OnMachineLock`); another engine that does the same at this very
                // moment could lose its new lock, as it could among its own kind.
                tracing::warn!(lock = self.name(), "removing a lock that was left behind");
                self.folder.delete(LOCK_NAME).await?;
                self.folder.delete(".lock.crc").await?;
            }
        }
        self.create().await
    }

    fn name(&self) -> String {
        self.folder.location_of(LOCK_NAME)
    }
}

#[derive(Debug)]
struct HeldFile {
    folder: Storage,
    content: Bytes,
    witness: Option<Witness>,
}

#[async_trait]
impl HeldLock for HeldFile {
    async fn check(&self) -> Result<()> {
        if self.folder.read_if_exists(LOCK_NAME).await?.as_ref() == Some(&self.content) {
            return Ok(());
        }
        let path = self.folder.location_of(LOCK_NAME);
        let message =
            format!("{path}: another writer took the lock for left behind and removed it");
        Err(Error::new(ErrorKind::Fenced, message))
    }

    async fn release(self: Box<Self>) -> Result<()> {
        if self.check().await.is_ok() {
            self.folder.delete(LOCK_NAME).await?;
        }
        if let Some(witness) = self.witness {
            witness.remove().await;
        }
        Ok(())
    }
}
