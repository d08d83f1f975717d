//! `lakebed run`: the ingestion daemon.

use std::sync::Arc;

use indicatif::MultiProgress;
use ingest::pipeline::{Pipeline, RunMode};
use table_format::env::{Env, MemoryBudget};
use tokio_util::sync::CancellationToken;

use super::{Failure, check};
use crate::config;
use crate::display::Display;
use crate::metrics::{Metrics, Page};
use crate::transform::SqlTransforms;

/// Arguments of `lakebed run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lakebed run shop.yaml                   snapshot, then follow the binary log until SIGTERM
  lakebed run shop.yaml --until-current   exit 0 once the lake holds what the source held at the start

SIGTERM and SIGINT finish the source transaction at hand, commit and exit 0.")]
pub(crate) struct RunArgs {
    /// The pipeline file (YAML)
    pipeline: String,
    /// Exit once everything that the source holds at the start is committed
    #[arg(long)]
    until_current: bool,
}

pub(crate) async fn run(args: RunArgs, area: &MultiProgress) -> Result<(), Failure> {
    let config = config::load(&args.pipeline).map_err(Failure::configuration)?;
    check::before_run(&config).await?;
    let env = Env::system(MemoryBudget::new(config.memory_bytes));
    let shutdown = CancellationToken::new();
    cancel_on_signal(shutdown.clone())?;
    let (name, listen) = (config.name.clone(), config.metrics_listen);
    let commit_interval = config.sink.commit_interval;
    let pipeline =
        Pipeline::try_new(config, env, shutdown.clone())?.with_transforms(Arc::new(SqlTransforms));
    let page = Page::new(&name, pipeline.progress(), commit_interval);
    let _metrics = match listen {
        Some(address) => Some(Metrics::listen(address, page).await.map_err(|error| {
            Failure::configuration(anyhow::anyhow!("metrics.listen {address}: {error}"))
        })?),
        None => None,
    };
    let display = Display::start(pipeline.progress(), area);
    let mode = if args.until_current {
        RunMode::UntilCurrent
    } else {
        RunMode::Continuous
    };
    let outcome = Box::pin(pipeline.run(mode)).await;
    drop(display);
    outcome?;
    let progress = pipeline.progress();
    tracing::info!(
        position = progress.position(),
        memory_peak_bytes = progress.memory().peak_bytes(),
        "{}",
        if shutdown.is_cancelled() {
            "stopped; everything read is committed"
        } else {
            "up to date"
        }
    );
    Ok(())
}

/// Cancels `token` at the first SIGTERM or SIGINT; a second one ends the process at once.
fn cancel_on_signal(token: CancellationToken) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::other)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::other)?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if token.is_cancelled() {
                std::process::exit(130);
            }
            tracing::info!(
                "stopping after the source transaction at hand; once more to stop at once"
            );
            token.cancel();
        }
    });
    Ok(())
}
