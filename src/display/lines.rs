//! A log line every ten seconds for those who read logs.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ingest::pipeline::{Phase, Progress};

const INTERVAL: Duration = Duration::from_secs(10);

pub(super) async fn show(progress: Arc<Progress>) {
    let mut last = 0;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let tables = progress.tables();
        let rows = tables
            .iter()
            .map(|table| table.snapshot_rows.load(Relaxed))
            .sum::<u64>();
        let changes = tables
            .iter()
            .map(|table| table.changes.load(Relaxed))
            .sum::<u64>();
        let seen = rows + changes;
        tracing::info!(
            snapshot_rows = rows,
            changes,
            rows_per_second = super::text::rate(seen.saturating_sub(last), INTERVAL),
            chunks = tables
                .iter()
                .map(|table| table.chunks.load(Relaxed))
                .sum::<u64>(),
            loading = tables
                .iter()
                .filter(|table| table.phase() == Phase::Snapshot)
                .count(),
            commits = tables
                .iter()
                .map(|table| table.commits.load(Relaxed))
                .sum::<u64>(),
            lag_ms = progress.lag_millis(),
            position = progress.position(),
            memory_bytes = progress.memory().used_bytes(),
            memory_ceiling_bytes = progress.memory().ceiling_bytes(),
            "progress"
        );
        last = seen;
    }
}
