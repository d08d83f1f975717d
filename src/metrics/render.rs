//! The counters in Prometheus' text format, version 0.0.4.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ingest::pipeline::{HistogramSnapshot, Phase, Progress, TableProgress};

use super::names::{self, Kind, Metric};

/// The whole page.
pub(super) fn metrics(pipeline: &str, progress: &Progress) -> String {
    let mut page = Text {
        pipeline,
        text: String::with_capacity(8 << 10),
    };
    page.one(names::BUILD, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    of_source(&mut page, progress);
    of_tables(&mut page, &progress.tables());
    of_commits(&mut page, progress);
    page.one(names::RETRIES, &[], progress.retries.load(Relaxed));
    let memory = progress.memory();
    page.one(names::MEMORY_USED, &[], memory.used_bytes());
    page.one(names::MEMORY_PEAK, &[], memory.peak_bytes());
    page.one(names::MEMORY_CEILING, &[], memory.ceiling_bytes());
    page.text
}

fn of_source(page: &mut Text<'_>, progress: &Progress) {
    page.one(names::CONNECTED, &[], u8::from(progress.is_connected()));
    page.one(names::LAG_SECONDS, &[], Millis(progress.lag_millis()));
    if let Some(bytes) = progress.lag_bytes() {
        page.one(names::LAG_BYTES, &[], bytes);
    }
    page.one(names::CAUGHT_UP, &[], u8::from(progress.caught_up()));
    page.one(
        names::RECEIVED_BYTES,
        &[],
        progress.received_bytes.load(Relaxed),
    );
    page.one(
        names::TRANSACTIONS,
        &[],
        progress.transactions.load(Relaxed),
    );
}

fn of_commits(page: &mut Text<'_>, progress: &Progress) {
    page.histogram(names::COMMIT_DURATION, &progress.commit_duration.snapshot());
    page.one(names::COMMIT_LAG, &[], Millis(progress.commit_lag_millis()));
    page.one(
        names::PENDING_SECONDS,
        &[],
        Millis(progress.pending_millis()),
    );
}

fn of_tables(page: &mut Text<'_>, tables: &[Arc<TableProgress>]) {
    page.head(names::ROWS);
    for table in tables {
        let rows = [
            ("snapshot", "read", &table.snapshot_rows),
            ("stream", "insert", &table.inserts),
            ("stream", "update", &table.updates),
            ("stream", "delete", &table.deletes),
        ];
        for (phase, operation, rows) in rows {
            let labels = [
                ("table", table.name.as_str()),
                ("phase", phase),
                ("operation", operation),
            ];
            page.value(names::ROWS.name, &labels, rows.load(Relaxed));
        }
    }
    page.head(names::PHASE);
    for table in tables {
        for (name, phase) in Phase::ALL {
            let labels = [("table", table.name.as_str()), ("phase", name)];
            page.value(names::PHASE.name, &labels, u8::from(table.phase() == phase));
        }
    }
    page.each(names::CHANGE_BYTES, tables, |table| {
        Some(table.change_bytes.load(Relaxed))
    });
    page.each(names::SNAPSHOT_ESTIMATE, tables, |table| {
        Some(table.rows_estimated.load(Relaxed))
    });
    page.each(names::SNAPSHOT_ROWS, tables, |table| {
        Some(table.snapshot_rows.load(Relaxed))
    });
    page.each(names::SNAPSHOT_CHUNKS, tables, |table| {
        Some(table.chunks.load(Relaxed))
    });
    page.each(names::COMMITS, tables, |table| {
        Some(table.commits.load(Relaxed))
    });
    page.each(names::LAST_COMMIT, tables, |table| {
        table.last_commit_millis().map(Millis)
    });
    page.each(names::SCHEMA_CHANGES, tables, |table| {
        Some(table.schema_changes.load(Relaxed))
    });
    page.each(names::PENDING_SERVICES, tables, |table| {
        Some(table.pending_services.load(Relaxed))
    });
    page.each(names::SERVICE_FAILURES, tables, |table| {
        Some(table.service_failures.load(Relaxed))
    });
}

/// Milliseconds, shown as seconds.
#[derive(Debug, Clone, Copy)]
struct Millis(i64);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// The page so far. Writing into a text does not fail.
struct Text<'a> {
    pipeline: &'a str,
    text: String,
}

impl Text<'_> {
    fn head(&mut self, metric: Metric) {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let Metric { name, help, .. } = metric;
        self.text
            .push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.text
            .push_str(&format!("{name}{{pipeline=\"{}\"", escaped(self.pipeline)));
        for (label, text) in labels {
            self.text
                .push_str(&format!(",{label}=\"{}\"", escaped(text)));
        }
        self.text.push_str(&format!("}} {value}\n"));
    }

    fn one(&mut self, metric: Metric, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.head(metric);
        self.value(metric.name, labels, value);
    }

    fn each<T: std::fmt::Display>(
        &mut self,
        metric: Metric,
        tables: &[Arc<TableProgress>],
        value: impl Fn(&TableProgress) -> Option<T>,
    ) {
        self.head(metric);
        for table in tables {
            if let Some(value) = value(table) {
                self.value(metric.name, &[("table", &table.name)], value);
            }
        }
    }

    fn histogram(&mut self, metric: Metric, shown: &HistogramSnapshot) {
        self.head(metric);
        let bucket = format!("{}_bucket", metric.name);
        for (bound, count) in &shown.buckets {
            let bound = Millis(i64::try_from(*bound).unwrap_or(i64::MAX)).to_string();
            self.value(&bucket, &[("le", &bound)], count);
        }
        self.value(&bucket, &[("le", "+Inf")], shown.count);
        let sum = Millis(i64::try_from(shown.sum.as_millis()).unwrap_or(i64::MAX));
        self.value(&format!("{}_sum", metric.name), &[], sum);
        self.value(&format!("{}_count", metric.name), &[], shown.count);
    }
}

/// A label's value: backslashes, quotes and line breaks are escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use table_format::env::{Env, MemoryBudget};

    use super::*;

    fn page() -> String {
        let memory = MemoryBudget::new(1 << 20);
        let clock = Env::system(memory.clone()).clock;
        metrics("sh\"op", &Progress::new(memory, clock))
    }

    #[test]
    fn every_metric_has_help_type_and_its_place() {
        let page = page();
        for metric in names::ALL {
            let head = format!(
                "# HELP {} {}\n# TYPE {} ",
                metric.name, metric.help, metric.name
            );
            // Nothing is known of the source's log yet.
            let count = usize::from(metric.name != names::LAG_BYTES.name);
            assert_eq!(page.matches(&head).count(), count, "{head}");
        }
        assert!(page.ends_with('\n'));
        assert!(page.contains("lakebed_memory_ceiling_bytes{pipeline=\"sh\\\"op\"} 1048576\n"));
        assert!(page.contains(
            "lakebed_commit_duration_seconds_bucket{pipeline=\"sh\\\"op\",le=\"0.025\"} 0\n"
        ));
    }

    #[test]
    fn the_documentation_lists_every_metric_and_no_other() {
        let page = include_str!("../../docs/metrics.md");
        for metric in names::ALL {
            assert!(
                page.contains(&format!("`{}`", metric.name)),
                "{}",
                metric.name
            );
        }
        for word in page.split('`').filter(|word| word.starts_with("lakebed_")) {
            assert!(
                names::ALL.iter().any(|metric| metric.name == word),
                "{word}"
            );
        }
    }
}
