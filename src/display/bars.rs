//! Bars on a terminal: one for each table that is being loaded, one line for the stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use ingest::pipeline::{Phase, Progress, TableProgress};

use super::text::{eta, grouped, lag, mebibytes, rate};

const INTERVAL: Duration = Duration::from_millis(200);

pub(super) async fn show(progress: Arc<Progress>, area: MultiProgress) {
    let status = area.add(ProgressBar::new_spinner());
    status.enable_steady_tick(INTERVAL);
    let mut loading: HashMap<String, Loading> = HashMap::new();
    let mut rates = Rates::default();
    loop {
        for table in progress.tables() {
            match table.phase() {
                Phase::Snapshot => loading
                    .entry(table.name.clone())
                    .or_insert_with(|| Loading::new(&table, &area, &status))
                    .update(&table),
                Phase::Waiting | Phase::Stream => {
                    if let Some(bar) = loading.remove(&table.name) {
                        bar.finish(&table);
                    }
                }
            }
        }
        status.set_message(status_line(&progress, &mut rates));
        tokio::time::sleep(INTERVAL).await;
    }
}

struct Loading {
    bar: ProgressBar,
    first_rows: u64,
}

impl Loading {
    fn new(table: &TableProgress, area: &MultiProgress, before: &ProgressBar) -> Self {
        let bar = area.insert_before(before, ProgressBar::new(1));
        if let Ok(style) =
            ProgressStyle::with_template("{prefix:<24!} {bar:30.cyan/blue} {percent:>3}%  {msg}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(table.name.clone());
        Self {
            bar,
            first_rows: table.snapshot_rows.load(Relaxed),
        }
    }

    fn update(&self, table: &TableProgress) {
        let (rows, estimate) = (
            table.snapshot_rows.load(Relaxed),
            table.rows_estimated.load(Relaxed),
        );
        let (elapsed, read) = (self.bar.elapsed(), rows.saturating_sub(self.first_rows));
        self.bar.set_length(estimate.max(rows).max(1));
        self.bar.set_position(rows);
        self.bar.set_message(format!(
            "{} rows  {} rows/s  {} chunks  {}",
            grouped(rows),
            grouped(rate(read, elapsed)),
            grouped(table.chunks.load(Relaxed)),
            eta(read, estimate.saturating_sub(self.first_rows), elapsed),
        ));
    }

    fn finish(&self, table: &TableProgress) {
        let rows = table.snapshot_rows.load(Relaxed);
        self.bar.set_length(rows.max(1));
        self.bar.set_position(rows.max(1));
        self.bar
            .finish_with_message(format!("{} rows loaded", grouped(rows)));
    }
}

/// Changes per second over the last few updates.
#[derive(Debug, Default)]
struct Rates {
    seen: std::collections::VecDeque<u64>,
}

impl Rates {
    const WINDOW: usize = 25;

    fn per_second(&mut self, total: u64) -> u64 {
        self.seen.push_back(total);
        if self.seen.len() > Self::WINDOW {
            self.seen.pop_front();
        }
        let first = self.seen.front().copied().unwrap_or(total);
        let steps = u32::try_from(self.seen.len().saturating_sub(1))
            .unwrap_or(1)
            .max(1);
        rate(total.saturating_sub(first), INTERVAL * steps)
    }
}

fn status_line(progress: &Progress, rates: &mut Rates) -> String {
    let tables = progress.tables();
    let changes = tables
        .iter()
        .map(|table| table.changes.load(Relaxed))
        .sum::<u64>();
    let commits = tables
        .iter()
        .map(|table| table.commits.load(Relaxed))
        .sum::<u64>();
    let memory = progress.memory();
    format!(
        "{} changes  {}/s  {} commits  lag {}  memory {} of {}  {}",
        grouped(changes),
        grouped(rates.per_second(changes)),
        grouped(commits),
        lag(progress.lag_millis()),
        mebibytes(memory.used_bytes()),
        mebibytes(memory.ceiling_bytes()),
        progress.position(),
    )
}
