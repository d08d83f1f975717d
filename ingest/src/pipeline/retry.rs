//! What to do after an error: one decision by its kind.

use std::time::Duration;

use super::RunMode;
use crate::error::{Error, ErrorKind, Result};

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A run that is to end gives up after this many failures in a row.
const ATTEMPTS_UNTIL_CURRENT: u32 = 5;

/// Counts failures in a row and how long to wait after each.
#[derive(Debug)]
pub(super) struct Backoff {
    attempts_max: Option<u32>,
    failures: u32,
    started: bool,
}

impl Backoff {
    pub(super) fn new(mode: RunMode) -> Self {
        let attempts_max = match mode {
            RunMode::Continuous => None,
            RunMode::UntilCurrent => Some(ATTEMPTS_UNTIL_CURRENT),
        };
        Self {
            attempts_max,
            failures: 0,
            started: false,
        }
    }

    /// The source and the lake answered.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
        self.started = true;
    }

    /// How long to wait before the next attempt; the error itself when another attempt is of no use. A pipeline that
    /// never came to run fails at once if nobody answers: then the address or the account is wrong rather than the network.
    pub(super) fn after(&mut self, error: Error) -> Result<Duration> {
        self.failures += 1;
        let passes = match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Conflict => true,
            ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::Fenced
            | ErrorKind::Corrupt
            | ErrorKind::Unsupported
            | ErrorKind::Invalid
            | ErrorKind::Internal => false,
        };
        let is_wrong_address = !self.started && error.kind() == ErrorKind::Unavailable;
        if !passes || is_wrong_address || self.attempts_max.is_some_and(|max| self.failures >= max)
        {
            return Err(error);
        }
        let wait = FIRST_WAIT
            .saturating_mul(1 << (self.failures - 1).min(10))
            .min(LONGEST_WAIT);
        tracing::warn!(%error, wait_seconds = wait.as_secs(), "starting over from the last commits");
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable() -> Error {
        Error::new(ErrorKind::Unavailable, "gone")
    }

    #[test]
    fn waits_longer_each_time_and_starts_anew_after_a_success() {
        let mut backoff = Backoff::new(RunMode::Continuous);
        assert!(backoff.after(unavailable()).is_err(), "never started");
        backoff.reset();
        let waits: Vec<_> = (0..8)
            .map(|_| backoff.after(unavailable()).unwrap().as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.after(unavailable()).unwrap().as_secs(), 1);
        assert!(backoff.after(Error::invalid("no")).is_err());
    }

    #[test]
    fn a_run_that_is_to_end_gives_up() {
        let mut backoff = Backoff::new(RunMode::UntilCurrent);
        backoff.reset();
        assert!((0..4).all(|_| backoff.after(unavailable()).is_ok()));
        assert!(backoff.after(unavailable()).is_err());
    }
}
