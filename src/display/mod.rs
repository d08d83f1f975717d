//! What a person sees of a running pipeline: bars on a terminal, plain log lines otherwise.

mod bars;
mod lines;
mod text;

pub(crate) use text::{bytes, duration, grouped, lag};

use std::io::IsTerminal;
use std::sync::Arc;

use indicatif::MultiProgress;
use ingest::pipeline::Progress;
use tokio::task::JoinHandle;

/// Shows `progress` until it is dropped.
#[derive(Debug)]
pub(crate) struct Display {
    task: JoinHandle<()>,
    bars: Option<MultiProgress>,
}

impl Display {
    /// Starts to show `progress` on standard error: bars in `area` on a terminal, a line every ten seconds otherwise.
    pub(crate) fn start(progress: Arc<Progress>, area: &MultiProgress) -> Self {
        if std::io::stderr().is_terminal() {
            let task = tokio::spawn(bars::show(progress, area.clone()));
            Self {
                task,
                bars: Some(area.clone()),
            }
        } else {
            Self {
                task: tokio::spawn(lines::show(progress)),
                bars: None,
            }
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(bars) = &self.bars {
            // The screen is the only thing at stake here.
            if let Err(error) = bars.clear() {
                tracing::debug!(%error, "bars could not be cleared");
            }
        }
    }
}
