//! Locks of the operating system on files of a local disk: they end with the process that holds them, however it ends.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};

/// Pauses between two looks at a lock that somebody else holds.
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// These locks are held for the time of a file's change. Whoever holds one for longer is suspended.
const PATIENCE: Duration = Duration::from_secs(60);

/// An exclusive lock on a file; given back when dropped. The file stays: deleting it would let two processes hold locks of
/// the same name.
#[derive(Debug)]
pub struct OsLock {
    /// `None` on file systems that know no locks: there it keeps nobody out.
    _file: Option<File>,
}

impl OsLock {
    /// Takes the lock of `path`, creating the file if need be, and waits while another process or task holds it.
    ///
    /// # Errors
    /// `Unavailable` when the file cannot be opened, or another process does not give it back within a minute.
    pub async fn exclusive(path: &Path) -> Result<Self> {
        let mut pause = FIRST_PAUSE;
        let began = Instant::now();
        loop {
            if let Some(lock) = Self::try_exclusive(path).await? {
                return Ok(lock);
            }
            if began.elapsed() > PATIENCE {
                let message = format!(
                    "{}: another process has held its lock for {} s; continue or kill the one that is suspended",
                    path.display(),
                    PATIENCE.as_secs()
                );
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Takes the lock of `path`, creating the file if need be; nothing when somebody else holds it.
    ///
    /// # Errors
    /// `Unavailable` when the file cannot be opened.
    pub async fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        Self::try_open(path, true).await
    }

    /// Takes the lock of a file that must be there.
    ///
    /// # Errors
    /// `NotFound` when there is no such file; `Unavailable` when it cannot be opened.
    pub async fn try_existing(path: &Path) -> Result<Option<Self>> {
        Self::try_open(path, false).await
    }

    async fn try_open(path: &Path, create: bool) -> Result<Option<Self>> {
        let path = path.to_owned();
        let shown = path.display().to_string();
        let opened = tokio::task::spawn_blocking(move || open_and_lock(&path, create)).await;
        let locked = opened.map_err(|error| Error::internal(format!("{shown}: {error}")))?;
        locked.map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Unavailable,
            };
            Error::new(kind, format!("locking {shown}: {error}")).with_source(error)
        })
    }
}

fn open_and_lock(path: &Path, create: bool) -> io::Result<Option<OsLock>> {
    let open = || {
        File::options()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .open(path)
    };
    let mut opened = open();
    if create
        && opened
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        opened = open();
    }
    let file = opened?;
    match file.try_lock() {
        Ok(()) => Ok(Some(OsLock { _file: Some(file) })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
            tracing::warn!(path = %path.display(), "this file system has no locks: other processes are not kept out");
            Ok(Some(OsLock { _file: None }))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_holder_at_a_time_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/lock");
        assert_eq!(
            OsLock::try_existing(&path).await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        let held = OsLock::exclusive(&path).await.unwrap();
        assert!(OsLock::try_existing(&path).await.unwrap().is_none());
        drop(held);
        assert!(OsLock::try_existing(&path).await.unwrap().is_some());
    }
}
