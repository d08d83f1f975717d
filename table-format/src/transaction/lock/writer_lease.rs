//! `WriterLease`: makes a process the only one that feeds a table, until it ends or falls silent.
//!
//! It lies in `.hoodie/.locks/lakebed_writer.json` and is renewed every third of its validity. A second process is refused
//! while the first one lives; one that was killed is followed at once where its [`Witness`](super::witness::Witness) can be
//! seen, elsewhere once the lease has expired; one that was paused longer than that is followed too, and finds out before
//! its next commit. Taking the lease and completing an instant exclude one another by the table's lock, so that on a local
//! disk no pause, at whatever instruction, lets two through. See docs/decisions/0004.

use std::time::Duration;

use super::lease::{CLOCK_DRIFT, Claim, Lease, LeaseFile, LeaseRecord};
use super::table_lock::TableLock;
use super::witness::Testimony;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::Storage;

const LEASE_PATH: &str = ".hoodie/.locks/lakebed_writer.json";
/// Longest pause between two looks at another's lease.
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(1);

/// The right to feed a table; see the module. To be given back by [`WriterLease::release`]: dropped, it is free at once for
/// processes of this machine only.
#[derive(Debug)]
pub struct WriterLease {
    lease: Lease,
    location: String,
}

impl WriterLease {
    /// Takes the lease of the table in `storage`. When another has it who may be dead, waits until it has expired, or has
    /// been renewed.
    ///
    /// # Errors
    /// `Fenced` when another process has it, with its name; `Unavailable` when the store gives up.
    pub async fn acquire(
        storage: &Storage,
        env: &Env,
        purpose: &str,
        validity: Duration,
    ) -> Result<Self> {
        let file = lease_file(storage, env, validity);
        let lock = TableLock::try_new(storage, env)?;
        let holder = format!("{purpose} ({})", super::this_process());
        let mut first: Option<LeaseRecord> = None;
        loop {
            let guard = lock.acquire().await?;
            let claim = file.claim(&holder).await;
            guard.release().await;
            let (record, testimony) = match claim? {
                Claim::Ours(lease) => {
                    let location = storage.location().to_owned();
                    return Ok(Self { lease, location });
                }
                Claim::Theirs(record, testimony) => (record, testimony),
            };
            let is_renewed = first.as_ref().is_some_and(|first| *first != record);
            if testimony == Testimony::Alive || is_renewed {
                return Err(refused(storage, env, &record));
            }
            if first.is_none() {
                tracing::warn!(
                    table = storage.location(),
                    owner = %record.holder(env.clock.as_ref()),
                    "the table has another writer; waiting to see whether it lives"
                );
                first = Some(record.clone());
            }
            let remaining = record.remaining(env.clock.as_ref()).unwrap_or_default();
            tokio::time::sleep((remaining + CLOCK_DRIFT).min(LOOK_PAUSE_MAX)).await;
        }
    }

    /// Refuses when a living process has the lease of the table in `storage`: for writers who take none themselves.
    ///
    /// # Errors
    /// `Fenced` when one has it; `Unavailable` when the store gives up.
    pub(crate) async fn require_none(storage: &Storage, env: &Env) -> Result<()> {
        match lease_file(storage, env, Duration::ZERO).taken().await? {
            Some(record) => Err(refused(storage, env, &record)),
            None => Ok(()),
        }
    }

    /// The table that it is for.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Makes sure that the lease is ours yet.
    ///
    /// # Errors
    /// `Fenced` when another process has taken it; `Unavailable` when the store does not answer and it may be over.
    pub async fn check(&self) -> Result<()> {
        self.lease.check().await
    }

    /// Ends once another process has taken the lease, with the error that says so.
    pub async fn lost(&self) -> Error {
        self.lease.lost().await
    }

    /// Gives the lease back; writers that still have it complete nothing more.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer; the next process then has to wait.
    pub async fn release(&self) -> Result<()> {
        self.lease.release().await
    }
}

fn lease_file(storage: &Storage, env: &Env, validity: Duration) -> LeaseFile {
    LeaseFile {
        storage: storage.clone(),
        path: LEASE_PATH.to_owned(),
        validity,
        renewal: validity / 3,
        env: env.clone(),
    }
}

fn refused(storage: &Storage, env: &Env, record: &LeaseRecord) -> Error {
    let holder = record.holder(env.clock.as_ref());
    let remaining = holder.remaining.unwrap_or_default().as_secs();
    let message = format!(
        "{} is being written by {}, whose lease is valid for {remaining} s more; stop that process, \
         or wait until its lease is over",
        storage.location(),
        holder.owner
    );
    Error::new(ErrorKind::Fenced, message)
}
