//! Instant times: later than everything on the timeline, and not ahead of the clock.
//!
//! Hudi orders by these strings and checks nothing: an instant from a clock ahead makes later updates of others vanish.
//! Spec: Hudi 1.2.0, "Instant time".

use std::time::Duration;

use chrono::{DateTime, Local, NaiveDateTime, TimeDelta, Utc};

use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::timeline::InstantTime;

/// A timeline may be this far ahead of our clock and we wait; further, and we refuse.
const SKEW_MAX: TimeDelta = TimeDelta::seconds(10);
/// Steps ahead of the clock that need no wait: several instants within one millisecond.
const SKEW_IGNORED: TimeDelta = TimeDelta::milliseconds(20);
const FORMAT: &str = "%Y%m%d%H%M%S%3f";

/// A time that is later than `newest`, waiting until the clock has come that far.
///
/// # Errors
/// `Conflict` when the timeline is far ahead of the clock.
pub(crate) async fn next_instant_time(
    env: &Env,
    is_utc: bool,
    newest: Option<&InstantTime>,
) -> Result<InstantTime> {
    let floor = newest
        .and_then(parse)
        .map(|newest| newest + TimeDelta::milliseconds(1));
    let now = wall_clock(env.clock.now(), is_utc);
    let time = floor.map_or(now, |floor| floor.max(now));
    let ahead = time - now;
    if ahead > SKEW_MAX {
        let newest = newest.map_or("", InstantTime::as_str);
        return Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "the timeline's newest instant {newest} is {} s ahead of this machine's clock; \
                 set the clocks of all writers right, or wait",
                ahead.num_seconds()
            ),
        ));
    }
    if ahead > SKEW_IGNORED {
        tokio::time::sleep(ahead.to_std().unwrap_or(Duration::ZERO)).await;
    }
    time.format(FORMAT).to_string().parse()
}

/// The instant time of a moment in the zone of a table's timeline.
pub(crate) fn instant_time_at(moment: DateTime<Utc>, is_utc: bool) -> Result<InstantTime> {
    wall_clock(moment, is_utc)
        .format(FORMAT)
        .to_string()
        .parse()
}

/// The instant time `millis` later, or earlier; a time that is no date stays what it is.
pub(crate) fn shifted(time: &InstantTime, millis: i64) -> Result<InstantTime> {
    match parse(time) {
        Some(date) => (date + TimeDelta::milliseconds(millis))
            .format(FORMAT)
            .to_string()
            .parse(),
        None => Ok(time.clone()),
    }
}

/// Seconds from one instant to another; `None` when one of them is no date.
pub(crate) fn seconds_between(from: &InstantTime, to: &InstantTime) -> Option<i64> {
    Some((parse(to)? - parse(from)?).num_seconds())
}

/// Times on the timeline carry no zone: that of the table, or the local one.
fn wall_clock(now: DateTime<Utc>, is_utc: bool) -> NaiveDateTime {
    let now = if is_utc {
        now.naive_utc()
    } else {
        now.with_timezone(&Local).naive_local()
    };
    // Below a millisecond nothing is written down.
    let fraction = now.and_utc().timestamp_subsec_nanos() % 1_000_000;
    now - TimeDelta::nanoseconds(i64::from(fraction))
}

/// `None` for times that are no dates, such as the counters of a metadata table's first instants.
fn parse(time: &InstantTime) -> Option<NaiveDateTime> {
    let text = time.as_str();
    let (seconds, millis) = match text.len() {
        14 => (text, 999),
        17 => (text.get(..14)?, text.get(14..)?.parse().ok()?),
        _ => return None,
    };
    let seconds = NaiveDateTime::parse_from_str(seconds, "%Y%m%d%H%M%S").ok()?;
    Some(seconds + TimeDelta::milliseconds(millis))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::env::{Clock, MemoryBudget};

    #[derive(Debug)]
    struct Fixed(DateTime<Utc>);

    impl Clock for Fixed {
        fn now(&self) -> DateTime<Utc> {
            self.0
        }
    }

    fn env() -> Env {
        let now = DateTime::parse_from_rfc3339("2026-11-21T09:30:00.123456Z")
            .unwrap()
            .to_utc();
        Env {
            clock: Arc::new(Fixed(now)),
            ..Env::system(MemoryBudget::new(1))
        }
    }

    #[tokio::test]
    async fn hazard_14_an_instant_is_later_than_all_others() {
        let time = next_instant_time(&env(), true, None).await.unwrap();
        assert_eq!(time.as_str(), "20261121093000123");
        for (newest, expected) in [
            ("20261121093000122", "20261121093000123"),
            ("20261121093000123", "20261121093000124"),
            ("20261121093000", "20261121093001000"),
            ("00000000000000010", "20261121093000123"),
        ] {
            let newest = newest.parse().unwrap();
            let time = next_instant_time(&env(), true, Some(&newest))
                .await
                .unwrap();
            assert_eq!(time.as_str(), expected);
        }
    }

    #[tokio::test]
    async fn hazard_14_a_timeline_from_the_future_is_refused() {
        let newest = "20261121103000000".parse().unwrap();
        let error = next_instant_time(&env(), true, Some(&newest))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
}
