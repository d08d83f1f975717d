//! Durations in buckets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper ends of the buckets, in milliseconds; what is longer counts in the last one only.
const BOUNDS_MILLIS: [u64; 11] = [
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000,
];

/// Counts durations by their length.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_MILLIS.len()],
    count: AtomicU64,
    sum_micros: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Upper end of each bucket in milliseconds, and how many durations are at most as long.
    pub buckets: Vec<(u64, u64)>,
    /// How many there are in all.
    pub count: u64,
    /// How long all of them took together.
    pub sum: Duration,
}

impl Histogram {
    /// Counts a duration.
    pub fn observe(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MILLIS.iter().position(|bound| millis <= *bound);
        if let Some(bucket) = bucket.and_then(|bucket| self.buckets.get(bucket)) {
            bucket.fetch_add(1, Relaxed);
        }
        self.count.fetch_add(1, Relaxed);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros.fetch_add(micros, Relaxed);
    }

    /// What has been counted so far.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let mut below = 0;
        let buckets = BOUNDS_MILLIS
            .iter()
            .zip(&self.buckets)
            .map(|(bound, bucket)| {
                below += bucket.load(Relaxed);
                (*bound, below)
            });
        HistogramSnapshot {
            buckets: buckets.collect(),
            count: self.count.load(Relaxed),
            sum: Duration::from_micros(self.sum_micros.load(Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_all_that_is_at_most_as_long() {
        let histogram = Histogram::default();
        for millis in [1, 50, 51, 70_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let shown = histogram.snapshot();
        assert_eq!(shown.buckets[..3], [(25, 1), (50, 2), (100, 3)]);
        assert_eq!(shown.buckets.last(), Some(&(60_000, 3)));
        assert_eq!((shown.count, shown.sum.as_millis()), (4, 70_102));
    }
}
