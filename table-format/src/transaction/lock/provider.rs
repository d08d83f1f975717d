//! `LockProvider`: the seam between critical sections and what keeps others out of them.

use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;

/// Something that one holder at a time can have. A provider stands for one lock of one table; each of several writers has a
/// provider of its own.
#[async_trait]
pub(crate) trait LockProvider: Debug + Send + Sync {
    /// One attempt, which does not wait for another holder.
    ///
    /// # Errors
    /// `Unavailable` when the store gives up.
    async fn try_acquire(&self) -> Result<Attempt>;

    /// What is locked, as messages name it.
    fn name(&self) -> String;
}

/// The outcome of an attempt.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// The lock is ours.
    Acquired(Box<dyn HeldLock>),
    /// It is somebody else's.
    HeldBy(Holder),
}

/// A lock that is ours.
#[async_trait]
pub(crate) trait HeldLock: Debug + Send + Sync {
    /// Makes sure that it still is: to be asked right before what must not happen twice.
    ///
    /// # Errors
    /// `Fenced` when another has taken it; `Unavailable` when that cannot be found out.
    async fn check(&self) -> Result<()>;

    /// Gives it back. A lock that another has taken meanwhile is left alone.
    ///
    /// # Errors
    /// `Unavailable` when the store gives up; the lock then stays until it expires.
    async fn release(self: Box<Self>) -> Result<()>;
}

/// Who has a lock, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// A description.
    pub(crate) owner: String,
    /// How long the lock is valid if the holder does nothing; `None`: for ever, or nobody knows.
    pub(crate) remaining: Option<Duration>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.owner)?;
        match self.remaining {
            Some(remaining) => write!(f, " (valid for {} s more)", remaining.as_secs()),
            None => Ok(()),
        }
    }
}
