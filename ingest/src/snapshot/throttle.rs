//! Holds snapshot readers back to a number of rows a second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// One allowance that all readers share; clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Throttle {
    rows_per_second: Option<u64>,
    /// When the rows that were taken so far are paid for.
    free_at: Arc<Mutex<Instant>>,
}

impl Throttle {
    /// An allowance of so many rows a second; no limit if `None`.
    pub(crate) fn new(rows_per_second: Option<u64>) -> Self {
        Self {
            rows_per_second: rows_per_second.filter(|rows| *rows > 0),
            free_at: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// Waits until these rows may be taken.
    pub(crate) async fn take(&self, rows: u64) {
        if let Some(until) = self.book(rows) {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Books rows, and says when those before them are paid for.
    fn book(&self, rows: u64) -> Option<Instant> {
        let micros = rows.saturating_mul(1_000_000) / self.rows_per_second?;
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = (*free_at).max(Instant::now());
        *free_at = begin + Duration::from_micros(micros);
        Some(begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_one_allowance() {
        let throttle = Throttle::new(Some(100));
        let began = Instant::now();
        let booked: Vec<Instant> = (0..6).map(|_| throttle.clone().book(50).unwrap()).collect();
        // 300 rows, the last 50 of which need not be waited for.
        let waits = booked[5] - began;
        assert!((2500..2600).contains(&waits.as_millis()), "{waits:?}");
        assert_eq!(Throttle::new(None).book(u64::MAX), None);
    }
}
