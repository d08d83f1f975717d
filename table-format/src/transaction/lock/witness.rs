//! Proof that the process which took a lease is dead.
//!
//! A lease outlives its owner until it expires, and a daemon that was killed should be able to start again at once. So the
//! owner holds the operating system's lock of a file that is named by its id: whoever finds the file and gets its lock knows
//! that the owner has ended. Whoever does not find it (another machine, another container) has to wait.

use std::path::{Path, PathBuf};

use crate::error::{ErrorKind, Result};
use crate::storage::{OsLock, Storage};

/// Where witnesses of tables in object stores lie, below the folder for temporary files.
const TEMPORARY: &str = "lakebed-leases";

/// A file that is locked as long as this process lives and this value exists.
#[derive(Debug)]
pub(crate) struct Witness {
    path: PathBuf,
    _lock: OsLock,
}

/// What a witness says of the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Testimony {
    /// The process lives, or is paused.
    Alive,
    /// It has ended.
    Dead,
    /// There is none to be found here.
    Unknown,
}

impl Witness {
    /// Makes the witness of `owner`. `None` when its file cannot be written: then the lease has to expire.
    pub(crate) async fn create(storage: &Storage, owner: &str) -> Option<Self> {
        let path = path_of(storage, owner)?;
        match OsLock::try_exclusive(&path).await {
            Ok(Some(lock)) => Some(Self { path, _lock: lock }),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(%error, "if this process dies, its lease has to expire before another can go on");
                None
            }
        }
    }

    /// What the witness of `owner` says.
    pub(crate) async fn ask(storage: &Storage, owner: &str) -> Result<Testimony> {
        let Some(path) = path_of(storage, owner) else {
            return Ok(Testimony::Unknown);
        };
        match OsLock::try_existing(&path).await {
            Ok(Some(_)) => Ok(Testimony::Dead),
            Ok(None) => Ok(Testimony::Alive),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Testimony::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Removes the file: the owner needs it no more.
    pub(crate) async fn remove(self) {
        remove(&self.path).await;
    }

    /// Removes what an owner left who is no more.
    pub(crate) async fn forget(storage: &Storage, owner: &str) {
        if let Some(path) = path_of(storage, owner) {
            remove(&path).await;
        }
    }
}

/// Beside a local table, where whoever sees the table sees it too; else among the temporary files of this machine. The id may
/// come from a file that anybody wrote: nothing but the form of an id makes a path.
fn path_of(storage: &Storage, owner: &str) -> Option<PathBuf> {
    let is_id = !owner.is_empty()
        && owner.len() <= 64
        && owner
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let name = format!("{owner}.alive");
    let path = match storage.local_path(&format!(".hoodie/.locks/{name}")) {
        Ok(path) => path,
        Err(_) => std::env::temp_dir().join(TEMPORARY).join(name),
    };
    is_id.then_some(path)
}

async fn remove(path: &Path) {
    if let Err(error) = tokio::fs::remove_file(path).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!(path = %path.display(), %error, "a file of a finished lease stays behind");
    }
}
