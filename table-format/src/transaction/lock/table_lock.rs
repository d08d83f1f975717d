//! `TableLock`: the one lock around critical sections of a table, made of all that apply.
//!
//! In this order: among the tasks of this process; on a local disk among the processes of Lakebed on this machine; and the
//! provider that other engines take as well, if one is set. Sections are not nested: whoever holds the lock and asks for it
//! again waits for itself.

use std::time::Duration;

use super::file_system::FileSystemLock;
use super::in_process::InProcessLock;
use super::on_machine::OnMachineLock;
use super::provider::{Attempt, HeldLock, LockProvider};
use super::storage_based::StorageBasedLock;
use crate::config::{LockPatience, LockProviderKind};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::Storage;

const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// The lock of one table, for one writer.
#[derive(Debug)]
pub(crate) struct TableLock {
    layers: Vec<Box<dyn LockProvider>>,
    patience: LockPatience,
}

/// The lock, held. Dropping it gives it back in the background; [`LockGuard::release`] waits for that.
#[derive(Debug)]
pub(crate) struct LockGuard {
    held: Vec<Box<dyn HeldLock>>,
}

impl TableLock {
    /// The lock of the table in `storage` by the settings of `env`.
    ///
    /// # Errors
    /// `Unsupported` when the provider does not work there.
    pub(crate) fn try_new(storage: &Storage, env: &Env) -> Result<Self> {
        let mut layers: Vec<Box<dyn LockProvider>> =
            vec![Box::new(InProcessLock::new(storage.location()))];
        if storage.is_local() {
            layers.push(Box::new(OnMachineLock::try_new(storage)?));
        }
        match env.locks.provider {
            None | Some(LockProviderKind::InProcess) => {}
            Some(LockProviderKind::FileSystem) => {
                layers.push(Box::new(FileSystemLock::try_new(storage, env)?));
            }
            Some(LockProviderKind::Storage) => {
                layers.push(Box::new(StorageBasedLock::new(storage, env)));
            }
        }
        Ok(Self {
            layers,
            patience: env.locks.patience,
        })
    }

    /// Takes the lock, and waits for it as long as the settings say.
    ///
    /// # Errors
    /// `Unavailable` when another holds it all the time, or the store gives up.
    pub(crate) async fn acquire(&self) -> Result<LockGuard> {
        let mut guard = LockGuard { held: Vec::new() };
        for provider in &self.layers {
            match self.wait_for(provider.as_ref()).await {
                Ok(held) => guard.held.push(held),
                Err(error) => {
                    guard.release().await;
                    return Err(error);
                }
            }
        }
        Ok(guard)
    }

    /// Java: LockManager#lock.
    async fn wait_for(&self, provider: &dyn LockProvider) -> Result<Box<dyn HeldLock>> {
        let mut refusal = String::new();
        for round in 0..self.patience.rounds {
            if round > 0 {
                tracing::info!(lock = provider.name(), refusal, "waiting for a lock");
                tokio::time::sleep(self.patience.pause).await;
            }
            let began = tokio::time::Instant::now();
            let mut pause = FIRST_PAUSE;
            loop {
                match provider.try_acquire().await {
                    Ok(Attempt::Acquired(held)) => return Ok(held),
                    Ok(Attempt::HeldBy(holder)) => refusal = holder.to_string(),
                    // The store may answer next time.
                    Err(error) if error.is_retryable() => refusal = error.to_string(),
                    Err(error) => return Err(error.context(provider.name())),
                }
                if began.elapsed() + pause > self.patience.round {
                    break;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(self.patience.attempt_pause_max);
            }
        }
        let message = format!("{} is not to be had: {refusal}", provider.name());
        Err(Error::new(ErrorKind::Unavailable, message))
    }
}

impl LockGuard {
    /// Makes sure that the lock is still ours: to be called right before the step that it is for.
    ///
    /// # Errors
    /// `Conflict` when another has it now; `Unavailable` when that cannot be found out.
    pub(crate) async fn check(&self) -> Result<()> {
        for held in &self.held {
            held.check().await.map_err(|error| match error.kind() {
                ErrorKind::Fenced => {
                    Error::new(ErrorKind::Conflict, error.to_string()).with_source(error)
                }
                _ => error,
            })?;
        }
        Ok(())
    }

    /// Gives the lock back. What it was for is done: a failure is told, and the lock then expires.
    pub(crate) async fn release(mut self) {
        give_back(std::mem::take(&mut self.held)).await;
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        let held = std::mem::take(&mut self.held);
        if !held.is_empty()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(give_back(held));
        }
    }
}

async fn give_back(mut held: Vec<Box<dyn HeldLock>>) {
    while let Some(lock) = held.pop() {
        if let Err(error) = lock.release().await {
            tracing::warn!(%error, "a lock could not be given back");
        }
    }
}
