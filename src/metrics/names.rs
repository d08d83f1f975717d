//! The metrics, by their names: a contract with dashboards and alerts, told to people in docs/metrics.md.

/// How a metric's values go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Up only, from zero at each start of the process.
    Counter,
    /// Up and down.
    Gauge,
    /// Durations by their length.
    Histogram,
}

/// A metric.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident: $kind:ident $name:literal $help:literal;)*) => {
        $(pub(super) const $constant: Metric = Metric { name: $name, kind: Kind::$kind, help: $help };)*
        /// All of them, in the order of the page.
        #[cfg(test)]
        pub(super) const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    BUILD: Gauge "lakebed_build_info" "1, with the version as a label";
    CONNECTED: Gauge "lakebed_source_connected" "1 while source and lake answer, 0 before the first start and while a failure is waited out";
    LAG_SECONDS: Gauge "lakebed_source_lag_seconds" "Seconds between a change at the source and its being read; 0 at the end of the log";
    LAG_BYTES: Gauge "lakebed_source_lag_bytes" "Bytes of the source's log behind the committed position; missing when not known";
    CAUGHT_UP: Gauge "lakebed_source_caught_up" "1 once the log has been read to its end";
    RECEIVED_BYTES: Counter "lakebed_source_received_bytes_total" "Bytes of the source's log that were received";
    TRANSACTIONS: Counter "lakebed_source_transactions_total" "Source transactions that were read whole";
    ROWS: Counter "lakebed_rows_total" "Rows by table, phase (snapshot, stream) and operation (read, insert, update, delete)";
    CHANGE_BYTES: Counter "lakebed_change_bytes_total" "Bytes of row changes as the log holds them, by table";
    SNAPSHOT_ESTIMATE: Gauge "lakebed_snapshot_rows_estimated" "The server's estimate of a table's rows";
    SNAPSHOT_ROWS: Gauge "lakebed_snapshot_rows" "Rows that the snapshot of a table has read, earlier runs included";
    SNAPSHOT_CHUNKS: Counter "lakebed_snapshot_chunks_total" "Chunks that the snapshot of a table has read";
    PHASE: Gauge "lakebed_table_phase" "1 for the phase that a table is in: waiting, snapshot, stream";
    COMMITS: Counter "lakebed_commits_total" "Commits by table";
    COMMIT_DURATION: Histogram "lakebed_commit_duration_seconds" "Seconds that the commit of one table took";
    COMMIT_LAG: Gauge "lakebed_commit_lag_seconds" "Seconds between the newest source transaction of the last commit and its becoming visible";
    LAST_COMMIT: Gauge "lakebed_last_commit_timestamp_seconds" "When a table's last commit of this process became visible, in seconds since 1970";
    PENDING_SECONDS: Gauge "lakebed_pending_changes_seconds" "How long the oldest change that is read waits for its commit; 0 when none waits";
    SCHEMA_CHANGES: Counter "lakebed_schema_changes_total" "Changes of columns that were followed, by table";
    PENDING_SERVICES: Gauge "lakebed_pending_services" "Plans of compactions and clusterings that are not executed yet, by table";
    SERVICE_FAILURES: Counter "lakebed_service_failures_total" "Table services that failed, by table";
    RETRIES: Counter "lakebed_retries_total" "Times that the pipeline started over after a failure";
    MEMORY_USED: Gauge "lakebed_memory_used_bytes" "Bytes that are booked in the memory budget";
    MEMORY_PEAK: Gauge "lakebed_memory_peak_bytes" "The most that was booked at once";
    MEMORY_CEILING: Gauge "lakebed_memory_ceiling_bytes" "The memory budget: `pipeline.memory`";
}
