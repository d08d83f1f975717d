//! The daemon's page for Prometheus and for probes: `/metrics`, `/livez`, `/readyz` on one address.

mod names;
mod render;
mod server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ingest::pipeline::Progress;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Changes that are read become visible within so many commit intervals, or the daemon does not count as ready.
const INTERVALS_MAX: u32 = 10;
/// A commit may take this long whatever the interval.
const COMMIT_MAX: Duration = Duration::from_secs(120);

/// The listening page; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Metrics {
    task: JoinHandle<()>,
}

/// What the page tells about.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pipeline: String,
    progress: Arc<Progress>,
    wait_max: Duration,
}

impl Page {
    pub(crate) fn new(pipeline: &str, progress: Arc<Progress>, commit_interval: Duration) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            progress,
            wait_max: (commit_interval * INTERVALS_MAX).max(COMMIT_MAX),
        }
    }

    /// `Err` says why the daemon is not ready.
    fn readiness(&self) -> Result<(), String> {
        if !self.progress.is_connected() {
            let why = self.progress.last_error().map(|(_, message)| message);
            return Err(why.unwrap_or_else(|| "starting".to_owned()));
        }
        let waiting = self.progress.pending_millis();
        if u128::try_from(waiting).unwrap_or(0) > self.wait_max.as_millis() {
            return Err(format!(
                "changes wait for a commit since {} s",
                waiting / 1000
            ));
        }
        Ok(())
    }
}

impl Metrics {
    /// Listens on `address`.
    ///
    /// # Errors
    /// When the address is taken or is none of this machine's.
    pub(crate) async fn listen(address: SocketAddr, page: Page) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        tracing::info!(address = %listener.local_addr()?, "metrics: /metrics, /livez, /readyz");
        let task = tokio::spawn(server::serve(listener, page));
        Ok(Self { task })
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.task.abort();
    }
}
