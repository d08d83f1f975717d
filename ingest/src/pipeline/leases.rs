//! The leases of a pipeline's lake tables: taken when a table is first opened, kept across restarts of the stream, given back
//! at the end of the run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use table_format::env::Env;
use table_format::storage::Storage;
use table_format::writer::WriterLease;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};

/// The leases that this run holds.
#[derive(Debug)]
pub(crate) struct Leases {
    purpose: String,
    validity: Duration,
    shutdown: CancellationToken,
    held: Mutex<Held>,
    lost: Mutex<mpsc::UnboundedReceiver<Error>>,
    losses: mpsc::UnboundedSender<Error>,
}

#[derive(Debug, Default)]
struct Held {
    by_location: BTreeMap<String, Arc<WriterLease>>,
    watchers: JoinSet<()>,
}

impl Leases {
    /// No leases yet; those of pipeline `name` will be valid for `validity` after each renewal.
    pub(crate) fn new(name: &str, validity: Duration, shutdown: CancellationToken) -> Self {
        // One message a lease at most, as each is lost but once.
        let (losses, lost) = mpsc::unbounded_channel();
        Self {
            purpose: format!("pipeline `{name}`"),
            validity,
            shutdown,
            held: Mutex::default(),
            lost: Mutex::new(lost),
            losses,
        }
    }

    /// The lease of a table, taken if it is not held yet.
    pub(crate) async fn of(&self, storage: &Storage, env: &Env) -> Result<Arc<WriterLease>> {
        let mut held = self.held.lock().await;
        if let Some(lease) = held.by_location.get(storage.location()) {
            return Ok(Arc::clone(lease));
        }
        let acquired = tokio::select! {
            acquired = WriterLease::acquire(storage, env, &self.purpose, self.validity) => acquired?,
            () = self.shutdown.cancelled() => {
                let message = format!("stopped while waiting for {}", storage.location());
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
        };
        let lease = Arc::new(acquired);
        let (watched, losses) = (Arc::clone(&lease), self.losses.clone());
        held.watchers.spawn(async move {
            // Nobody listens any more once the run has ended.
            losses.send(watched.lost().await.into()).ok();
        });
        held.by_location
            .insert(lease.location().to_owned(), Arc::clone(&lease));
        Ok(lease)
    }

    /// Ends once another process has taken one of the tables, with the error that says so.
    pub(crate) async fn lost(&self) -> Error {
        let lost = self.lost.lock().await.recv().await;
        lost.unwrap_or_else(|| Error::internal("the watch over the leases has ended"))
    }

    /// Gives all of them back.
    pub(crate) async fn release(&self) {
        let mut held = self.held.lock().await;
        held.watchers.abort_all();
        for (location, lease) in std::mem::take(&mut held.by_location) {
            if let Err(error) = lease.release().await {
                tracing::warn!(table = location, %error, "the lease was not given back; it will expire");
            }
        }
    }
}
