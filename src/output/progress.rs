//! A sign of life on standard error while a query runs: a spinner with the rows so far, on a terminal only.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::display::grouped;

const INTERVAL: Duration = Duration::from_millis(200);

/// Shows that something is going on until it is dropped.
pub(super) struct Progress {
    spinner: Option<ProgressBar>,
    rows: u64,
}

impl Progress {
    pub(super) fn start() -> Self {
        let spinner = io::stderr().is_terminal().then(|| {
            let spinner = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                spinner.set_style(style);
            }
            spinner.set_message("reading");
            spinner.enable_steady_tick(INTERVAL);
            spinner
        });
        Self { spinner, rows: 0 }
    }

    /// Counts rows that were read.
    pub(super) fn add(&mut self, rows: usize) {
        self.rows += rows as u64;
        if let Some(spinner) = &self.spinner {
            spinner.set_message(format!("{} rows", grouped(self.rows)));
        }
    }

    /// How many were counted.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Leaves the terminal to the rows.
    pub(super) fn hide(&mut self) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.hide();
    }
}
