//! Calendar values of the source: zero and partial dates are null, times are text.

use std::io::Write;

/// Days since 1970-01-01, or `None` for zero and partial dates (`0000-00-00`, `2024-00-15`).
#[inline]
pub(crate) fn date_days(year: u32, month: u32, day: u32) -> Option<i32> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year > 9999 {
        return None;
    }
    // Howard Hinnant's days_from_civil; `year` counts from March. ALLOW_INVALID_DATES lets 30 February in: it is
    // carried over to March, as MySQL's own TO_DAYS does.
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month = i64::from(month);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i32::try_from(era * 146_097 + day_of_era - 719_468).ok()
}

/// A wall clock, as the protocols carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeOfDay {
    /// More than 23 in a TIME.
    pub(crate) hours: u32,
    pub(crate) minutes: u32,
    pub(crate) seconds: u32,
    pub(crate) micros: u32,
}

/// Microseconds since 1970-01-01 of a wall clock read as UTC; `None` for zero and partial dates.
#[inline]
pub(crate) fn timestamp_micros(days: Option<i32>, time: TimeOfDay) -> Option<i64> {
    let seconds =
        i64::from(time.hours) * 3600 + i64::from(time.minutes) * 60 + i64::from(time.seconds);
    Some((i64::from(days?) * 86_400 + seconds) * 1_000_000 + i64::from(time.micros))
}

/// Room for the longest TIME text, `-838:59:59.999999`, and for what broken bytes may claim.
const TIME_TEXT_MAX: usize = 48;

/// The text of a TIME in a buffer on the stack.
#[derive(Debug)]
pub(crate) struct TimeText {
    bytes: [u8; TIME_TEXT_MAX],
    length: usize,
}

impl TimeText {
    /// `[-]HH[H]:MM:SS[.ffffff]` with `fsp` digits of fractional seconds, as the server prints it.
    pub(crate) fn new(negative: bool, time: TimeOfDay, fsp: u8) -> Self {
        let mut bytes = [0; TIME_TEXT_MAX];
        let mut free = bytes.as_mut_slice();
        let sign = if negative { "-" } else { "" };
        let TimeOfDay {
            hours,
            minutes,
            seconds,
            micros,
        } = time;
        let whole = write!(free, "{sign}{hours:02}:{minutes:02}:{seconds:02}");
        let fraction = match fsp {
            0 => Ok(()),
            1..=5 => {
                let width = usize::from(fsp);
                write!(free, ".{:0width$}", micros / 10_u32.pow(6 - u32::from(fsp)))
            }
            _ => write!(free, ".{micros:06}"),
        };
        debug_assert!(whole.is_ok() && fraction.is_ok(), "four u32 and a sign fit");
        let length = TIME_TEXT_MAX - free.len();
        Self { bytes, length }
    }

    pub(crate) fn as_str(&self) -> &str {
        let text = self.bytes.get(..self.length).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(1970, 1, 1, Some(0))]
    #[case(1, 1, 1, Some(-719_162))]
    #[case(9999, 12, 31, Some(2_932_896))]
    #[case(2024, 2, 29, Some(19_782))]
    #[case(1969, 12, 31, Some(-1))]
    #[case(0, 0, 0, None)]
    #[case(2024, 0, 15, None)]
    #[case(2024, 5, 0, None)]
    fn counts_days(#[case] y: u32, #[case] m: u32, #[case] d: u32, #[case] days: Option<i32>) {
        assert_eq!(date_days(y, m, d), days);
    }

    #[test]
    fn agrees_with_chrono_on_every_day_of_eight_centuries() {
        let first = chrono::NaiveDate::from_ymd_opt(1600, 1, 1).unwrap();
        for date in first.iter_days().take(292_194) {
            use chrono::Datelike as _;
            let year = u32::try_from(date.year()).unwrap();
            let expected = date
                .signed_duration_since(chrono::NaiveDate::default())
                .num_days();
            assert_eq!(
                date_days(year, date.month(), date.day()).map(i64::from),
                Some(expected)
            );
        }
    }

    #[rstest]
    #[case(false, 0, 0, "00:00:05")]
    #[case(true, 838, 6, "-838:00:05.001000")]
    #[case(false, 24, 3, "24:00:05.001")]
    fn prints_times(#[case] neg: bool, #[case] hours: u32, #[case] fsp: u8, #[case] text: &str) {
        let time = TimeOfDay {
            hours,
            minutes: 0,
            seconds: 5,
            micros: 1000,
        };
        assert_eq!(TimeText::new(neg, time, fsp).as_str(), text);
    }

    #[test]
    fn the_widest_claim_fits() {
        let time = TimeOfDay {
            hours: u32::MAX,
            minutes: 255,
            seconds: 255,
            micros: u32::MAX,
        };
        assert_eq!(
            TimeText::new(true, time, 6).as_str(),
            "-4294967295:255:255.4294967295"
        );
    }
}
