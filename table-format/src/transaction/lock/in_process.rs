//! A lock within this process, by the table's location.
//!
//! Java: InProcessLockProvider.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::provider::{Attempt, HeldLock, Holder, LockProvider};
use crate::error::Result;

type Locks = Mutex<HashMap<String, Weak<AsyncMutex<()>>>>;

/// The locks of this process; those that nobody refers to any more are dropped when a new one is asked for.
static LOCKS: LazyLock<Locks> = LazyLock::new(Locks::default);

#[derive(Debug)]
pub(crate) struct InProcessLock {
    location: String,
    mutex: Arc<AsyncMutex<()>>,
}

impl InProcessLock {
    pub(crate) fn new(location: &str) -> Self {
        let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
        let known = locks.get(location).and_then(Weak::upgrade);
        let mutex = known.unwrap_or_else(|| {
            locks.retain(|_, lock| lock.strong_count() > 0);
            let mutex = Arc::new(AsyncMutex::new(()));
            locks.insert(location.to_owned(), Arc::downgrade(&mutex));
            mutex
        });
        Self {
            location: location.to_owned(),
            mutex,
        }
    }
}

#[async_trait]
impl LockProvider for InProcessLock {
    async fn try_acquire(&self) -> Result<Attempt> {
        Ok(match Arc::clone(&self.mutex).try_lock_owned() {
            Ok(guard) => Attempt::Acquired(Box::new(HeldInProcess { _guard: guard })),
            Err(_) => Attempt::HeldBy(Holder {
                owner: "another task of this process".to_owned(),
                remaining: None,
            }),
        })
    }

    fn name(&self) -> String {
        format!("the lock of {} in this process", self.location)
    }
}

#[derive(Debug)]
struct HeldInProcess {
    _guard: OwnedMutexGuard<()>,
}

#[async_trait]
impl HeldLock for HeldInProcess {
    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn release(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
