//! A lease: an object that says who may work, and until when; renewed while its owner lives.
//!
//! The object is Hudi's storage-based lock: `{"expired":…,"validUntil":…,"owner":…}`, replaced only if it is unchanged. A
//! field of ours stands beside, which Hudi ignores: a description of the owner, whose id also names its [`Witness`]. What is in nobody's
//! hands: a request that was sent while the lease was valid and arrives after it has expired.
//! Spec: Hudi 1.2.0, "Locks and concurrency control"; Java: StorageBasedLockProvider, StorageLockData.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;

use super::provider::Holder;
use super::witness::{Testimony, Witness};
use crate::env::{Clock, Env};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::{Storage, Version};

/// How far clocks of two machines may differ. Java: StorageBasedLockProvider#CLOCK_DRIFT_BUFFER_MS.
pub(crate) const CLOCK_DRIFT: Duration = Duration::from_millis(500);

/// Where a lease lies and how long it lasts.
#[derive(Debug, Clone)]
pub(crate) struct LeaseFile {
    pub(crate) storage: Storage,
    pub(crate) path: String,
    pub(crate) validity: Duration,
    pub(crate) renewal: Duration,
    pub(crate) env: Env,
}

/// What the object says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LeaseRecord {
    /// Given back by its owner.
    pub(crate) expired: bool,
    /// Milliseconds since 1970.
    pub(crate) valid_until: i64,
    pub(crate) owner: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) holder: Option<String>,
}

/// The outcome of an attempt to get a lease.
#[derive(Debug)]
pub(crate) enum Claim {
    /// It is ours.
    Ours(Lease),
    /// It is another's, who lives as far as is known.
    Theirs(LeaseRecord, Testimony),
}

/// A lease that is ours, and is renewed until it is released or dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    inner: Arc<Inner>,
    renewer: JoinHandle<()>,
    witness: Mutex<Option<Witness>>,
}

#[derive(Debug)]
struct Inner {
    file: LeaseFile,
    state: Mutex<LeaseState>,
    is_lost: Notify,
}

#[derive(Debug)]
struct LeaseState {
    record: LeaseRecord,
    version: Version,
    /// Who took it, once it is lost or given back.
    lost_to: Option<String>,
}

impl LeaseRecord {
    fn decode(bytes: &[u8], path: &str) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| {
            let what = format!(
                "no lock of Hudi's storage-based kind: {error}; delete it when nobody writes"
            );
            Error::corrupt(path, what)
        })
    }

    fn encode(&self) -> Result<bytes::Bytes> {
        let text = serde_json::to_vec(self);
        let text = text.map_err(|error| Error::internal(format!("lease: {error}")))?;
        Ok(text.into())
    }

    /// How long it is valid yet; nothing when it is over.
    pub(crate) fn remaining(&self, clock: &dyn Clock) -> Option<Duration> {
        let until = self
            .valid_until
            .saturating_sub(clock.now().timestamp_millis());
        let until = TimeDelta::try_milliseconds(until)?;
        let remaining = (until + TimeDelta::from_std(CLOCK_DRIFT).ok()?)
            .to_std()
            .ok()?;
        (!self.expired && !remaining.is_zero()).then_some(remaining)
    }

    /// Its owner, described.
    pub(crate) fn holder(&self, clock: &dyn Clock) -> Holder {
        let owner = self.holder.clone();
        Holder {
            owner: owner.unwrap_or_else(|| format!("owner {}", self.owner)),
            remaining: self.remaining(clock),
        }
    }
}

impl LeaseFile {
    /// What the object says now.
    pub(crate) async fn read(&self) -> Result<Option<LeaseRecord>> {
        let found = self.storage.read_if_exists(&self.path).await?;
        found
            .map(|bytes| LeaseRecord::decode(&bytes, &self.path))
            .transpose()
    }

    /// The lease, if somebody has it who is not proven dead.
    pub(crate) async fn taken(&self) -> Result<Option<LeaseRecord>> {
        match self.read().await? {
            Some(record) if self.is_taken(&record).await?.is_some() => Ok(Some(record)),
            _ => Ok(None),
        }
    }

    /// Takes the lease for `holder` if it is free: absent, given back, expired, or its owner is proven dead.
    pub(crate) async fn claim(&self, holder: &str) -> Result<Claim> {
        let found = self.storage.read_version(&self.path).await?;
        let mut expected = None;
        if let Some((bytes, version)) = found {
            let record = LeaseRecord::decode(&bytes, &self.path)?;
            if let Some(testimony) = self.is_taken(&record).await? {
                return Ok(Claim::Theirs(record, testimony));
            }
            expected = Some((record, version));
        }
        let owner = self.env.ids.next_uuid();
        let witness = Witness::create(&self.storage, &owner).await;
        let record = LeaseRecord {
            expired: false,
            valid_until: self.valid_until(),
            owner,
            holder: Some(holder.to_owned()),
        };
        let version = expected.as_ref().map(|(_, version)| version);
        let error = match self
            .storage
            .write_if(&self.path, version, record.encode()?)
            .await
        {
            Ok(version) => {
                if let Some((record, _)) = expected {
                    Witness::forget(&self.storage, &record.owner).await;
                }
                return Ok(Claim::Ours(self.begin(record, version, witness)));
            }
            Err(error) => error,
        };
        if let Some(witness) = witness {
            witness.remove().await;
        }
        match self.read().await? {
            Some(winner) if error.kind() == ErrorKind::Conflict => {
                Ok(Claim::Theirs(winner, Testimony::Unknown))
            }
            _ => Err(error),
        }
    }

    /// What is known of the owner of a lease that is valid; nothing when it is free.
    async fn is_taken(&self, record: &LeaseRecord) -> Result<Option<Testimony>> {
        if record.remaining(self.env.clock.as_ref()).is_none() {
            return Ok(None);
        }
        let testimony = Witness::ask(&self.storage, &record.owner).await?;
        Ok((testimony != Testimony::Dead).then_some(testimony))
    }

    fn begin(&self, record: LeaseRecord, version: Version, witness: Option<Witness>) -> Lease {
        let inner = Arc::new(Inner {
            file: self.clone(),
            state: Mutex::new(LeaseState {
                record,
                version,
                lost_to: None,
            }),
            is_lost: Notify::new(),
        });
        let renewed = Arc::clone(&inner);
        let renewer = tokio::spawn(async move { renewed.keep_renewing().await });
        Lease {
            inner,
            renewer,
            witness: Mutex::new(witness),
        }
    }

    fn valid_until(&self) -> i64 {
        let validity = i64::try_from(self.validity.as_millis()).unwrap_or(i64::MAX);
        self.env
            .clock
            .now()
            .timestamp_millis()
            .saturating_add(validity)
    }
}

impl Lease {
    /// Makes sure that the lease is ours, and stays so long enough for a request; renews it if not much is left.
    ///
    /// # Errors
    /// `Fenced` when another has taken it; `Unavailable` when the store does not answer and it may be over.
    pub(crate) async fn check(&self) -> Result<()> {
        self.inner.check().await
    }

    /// Ends once another has taken the lease.
    pub(crate) async fn lost(&self) -> Error {
        loop {
            let notified = self.inner.is_lost.notified();
            if let Err(error) = self.inner.state.lock().await.require_ours(&self.inner.file) {
                return error;
            }
            notified.await;
        }
    }

    /// Gives the lease back; nothing passes [`Lease::check`] afterwards. Java: StorageBasedLockProvider#unlock.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer; then it expires.
    pub(crate) async fn release(&self) -> Result<()> {
        self.renewer.abort();
        let mut state = self.inner.state.lock().await;
        if state.lost_to.is_none() {
            let record = LeaseRecord {
                expired: true,
                ..state.record.clone()
            };
            state.lost_to = Some("whoever comes next".to_owned());
            let file = &self.inner.file;
            let expected = Some(&state.version);
            match file
                .storage
                .write_if(&file.path, expected, record.encode()?)
                .await
            {
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    let path = &file.path;
                    tracing::warn!(
                        path,
                        "the lease was another's already when it was given back"
                    );
                }
                written => drop(written?),
            }
        }
        drop(state);
        if let Some(witness) = self.witness.lock().await.take() {
            witness.remove().await;
        }
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewer.abort();
    }
}

impl LeaseState {
    fn require_ours(&self, file: &LeaseFile) -> Result<()> {
        match &self.lost_to {
            None => Ok(()),
            Some(owner) => Err(Error::new(
                ErrorKind::Fenced,
                format!(
                    "{}: {owner} has taken over; this process has lost its lease and writes no more",
                    file.storage.location_of(&file.path)
                ),
            )),
        }
    }
}

impl Inner {
    async fn check(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        state.require_ours(&self.file)?;
        let remaining = state.record.remaining(self.file.env.clock.as_ref());
        if remaining.is_some_and(|remaining| remaining > self.file.validity / 4 + CLOCK_DRIFT) {
            return Ok(());
        }
        self.renew(&mut state).await
    }

    async fn keep_renewing(&self) {
        loop {
            tokio::time::sleep(self.file.renewal).await;
            let mut state = self.state.lock().await;
            match self.renew(&mut state).await {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Fenced => {
                    tracing::error!(%error, "fenced");
                    return;
                }
                Err(error) => {
                    tracing::warn!(path = self.file.path, %error, "the lease could not be renewed")
                }
            }
        }
    }

    /// A lease that has run out without anybody taking it comes to life again.
    async fn renew(&self, state: &mut LeaseState) -> Result<()> {
        let record = LeaseRecord {
            valid_until: self.file.valid_until(),
            ..state.record.clone()
        };
        let (storage, path) = (&self.file.storage, &self.file.path);
        match storage
            .write_if(path, Some(&state.version), record.encode()?)
            .await
        {
            Ok(version) => {
                (state.record, state.version) = (record, version);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Conflict => {
                let now = self.file.read().await?;
                let owner = now.map(|now| now.holder(self.file.env.clock.as_ref()).owner);
                state.lost_to =
                    Some(owner.unwrap_or_else(|| "somebody who deleted the lease".to_owned()));
                self.is_lost.notify_waiters();
                state.require_ours(&self.file)
            }
            Err(error) => Err(error),
        }
    }
}
