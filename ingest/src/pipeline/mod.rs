//! A pipeline: a server's tables into lake tables, snapshot first, then the log for ever.
//!
//! What a table holds stands in its newest commit; a start reads that, loads what a snapshot has left, and follows the
//! log from the lowest position of all tables. Every failure that may pass is answered by starting over from there.

mod lag;
pub(crate) mod leases;
pub(crate) mod memory;
mod poll;
pub(crate) mod progress;
mod retry;
mod schema_change;
pub(crate) mod services;
mod signal;
mod start;
mod status;
mod stream;
mod stream_lake;
mod stream_table;
mod table_map;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use table_format::config::LockSettings;
use table_format::env::Env;
use table_format::storage::Storage;
use tokio_util::sync::CancellationToken;

use crate::config::{PipelineConfig, ScanMode, StartupMode};
use crate::error::{Error, ErrorKind, Result};
use crate::source::mysql::connection::{Connection, MySqlOptions};
use crate::source::mysql::dump::BinlogStream;
use crate::source::mysql::hosts::Hosts;
use crate::source::mysql::safe_position::current_position;
use crate::source::mysql::server::ServerInfo;
use crate::transform::TransformCompiler;
use leases::Leases;
use memory::MemoryPlan;
pub use progress::{Histogram, HistogramSnapshot, Phase, Progress, TableProgress};
use retry::Backoff;
pub use signal::Resnapshot;
use start::Start;
pub use status::{PipelineStatus, TableStatus, status};
use stream::{StreamEnd, StreamSource, Streamer};

/// When a run of a pipeline ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// Never.
    Continuous,
    /// Once everything that the source held at the start is committed.
    UntilCurrent,
}

/// A configured pipeline.
#[derive(Debug)]
pub struct Pipeline {
    config: PipelineConfig,
    env: Env,
    lake: Storage,
    hosts: Hosts,
    /// Servers in a row that did not know where to go on.
    refusals: AtomicUsize,
    leases: Leases,
    plan: MemoryPlan,
    progress: Arc<Progress>,
    transforms: Option<Arc<dyn TransformCompiler>>,
    shutdown: CancellationToken,
}

impl Pipeline {
    /// A pipeline that works within `env.memory` and ends in an orderly way when `shutdown` is cancelled.
    ///
    /// # Errors
    /// `Invalid` when the lake's location or the source's address is not one, or for settings that do not go together.
    pub fn try_new(config: PipelineConfig, env: Env, shutdown: CancellationToken) -> Result<Self> {
        let lake = Storage::open(&config.sink.path)?;
        let hosts = Hosts::from_config(&config.source)?;
        let env = env.with_locks(LockSettings::from_properties(&config.sink.hoodie)?);
        let leases = Leases::new(&config.name, config.sink.lease_timeout, shutdown.clone());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let plan = MemoryPlan::new(env.memory.ceiling_bytes(), cores);
        let progress = Arc::new(Progress::new(env.memory.clone(), Arc::clone(&env.clock)));
        Ok(Self {
            config,
            env,
            lake,
            hosts,
            refusals: AtomicUsize::new(0),
            leases,
            plan,
            progress,
            transforms: None,
            shutdown,
        })
    }

    /// The same, with what compiles the expressions of its transforms.
    #[must_use]
    pub fn with_transforms(mut self, compiler: Arc<dyn TransformCompiler>) -> Self {
        self.transforms = Some(compiler);
        self
    }

    /// Counters of what the pipeline does.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Runs until the mode's end, a shutdown, or an error that trying again does not mend. Everything that was read up
    /// to the last source transaction boundary is committed when it returns without an error.
    ///
    /// # Errors
    /// `Invalid` for what the user has to change at the source, in the pipeline file or in the lake; `Unavailable` when
    /// the server or store cannot be reached at the start, or (until current) not for a while; `Fenced` when another process
    /// feeds one of the tables, or has taken it over.
    pub async fn run(&self, mode: RunMode) -> Result<()> {
        let outcome = tokio::select! {
            outcome = self.run_to_the_end(mode) => outcome,
            error = self.leases.lost() => Err(error),
        };
        self.leases.release().await;
        outcome
    }

    async fn run_to_the_end(&self, mode: RunMode) -> Result<()> {
        let mut backoff = Backoff::new(mode);
        loop {
            match self.run_once(mode, &mut backoff).await {
                Ok(StreamEnd::TablesChanged) => {
                    tracing::info!("tables changed at the source; looking again")
                }
                Ok(StreamEnd::CaughtUp | StreamEnd::ShutDown) => return Ok(()),
                Err(error)
                    if self.shutdown.is_cancelled() && error.kind() == ErrorKind::Unavailable =>
                {
                    tracing::info!(%error, "stopping");
                    return Ok(());
                }
                Err(error) => {
                    self.progress.set_failed(error.kind(), error.to_string());
                    let wait = backoff.after(error)?;
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.shutdown.cancelled() => return Ok(()),
                    }
                }
            }
        }
    }

    /// Connects to the source; what its connections buffer is booked.
    async fn connect(&self) -> Result<(MySqlOptions, Connection)> {
        let (options, control) = self.hosts.connect().await?;
        let memory = self.env.memory.clone();
        Ok((MySqlOptions { memory, ..options }, control))
    }

    async fn run_once(&self, mode: RunMode, backoff: &mut Backoff) -> Result<StreamEnd> {
        if let ScanMode::Query(scan) = &self.config.source.scan_mode {
            return self.poll(scan, mode, backoff).await;
        }
        let mut start = Start::prepare(self).await?;
        backoff.reset();
        self.progress.set_connected();
        let options = start.options.clone();
        self.load_snapshots(&options, &mut start.lakes).await?;
        if self.shutdown.is_cancelled() {
            return Ok(StreamEnd::ShutDown);
        }
        if matches!(self.config.source.startup_mode, StartupMode::Snapshot) {
            return Ok(StreamEnd::CaughtUp);
        }
        let until = match mode {
            RunMode::Continuous => None,
            RunMode::UntilCurrent => Some(current_position(&mut start.control).await?),
        };
        let is_mariadb = ServerInfo::read(&mut start.control).await?.is_mariadb();
        let position = start.position().await?;
        let origins = start.origins();
        let tables = start.into_stream_tables()?;
        tracing::info!(%position, tables = tables.1.len(), "following the binary log");
        let source = StreamSource {
            options: options.clone(),
            is_mariadb,
        };
        let (by_gtid, server) = (position.is_by_gtid(), position.server.clone());
        let server_id = self.config.source.server_id;
        let mut streamer = Streamer::new(self, source, until, tables, position.clone())?;
        let following = async {
            let stream = BinlogStream::open(&options, server_id, &position).await?;
            streamer.run(stream).await
        };
        let end = tokio::select! {
            end = following => end,
            () = lag::watch(&options, &self.progress) => Err(Error::internal("the watch over the lag has ended")),
        };
        match end {
            Err(error) if by_gtid && error.kind() == ErrorKind::NotFound => {
                Err(self.not_continued(error, &origins, &options, &server))
            }
            end => {
                self.refusals.store(0, Relaxed);
                end
            }
        }
    }

    /// What to do when a server does not continue the log that the tables were read from: another one may.
    fn not_continued(
        &self,
        error: Error,
        origins: &str,
        options: &MySqlOptions,
        server: &str,
    ) -> Error {
        let endpoint = options.endpoint();
        let message =
            format!("{origins}; {endpoint} ({server}) does not continue that log: {error}");
        let refusals = self.refusals.fetch_add(1, Relaxed) + 1;
        if refusals < self.hosts.all().len() {
            self.hosts.turn_away();
            return Error::new(ErrorKind::Unavailable, message).with_source(error);
        }
        Error::invalid(format!(
            "{message}; point source.hostname at a server that does, or remove the lake table to load it anew"
        ))
        .with_source(error)
    }
}
