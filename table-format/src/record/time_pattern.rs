//! Date patterns of the timestamp key generator: the usual letters of Java's, compiled once.
//!
//! Java: org.joda.time.format.DateTimeFormat#forPattern, which Hudi formats and parses partition values with. A letter that
//! is not known here is an error when the table is opened, not a wrong folder.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Timelike};

use crate::error::{Error, Result};
use crate::record::text::push_padded;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
/// Letters of a name that is cut short.
const SHORT: usize = 3;
/// Digits of a number that has no fixed length.
const DIGITS_MAX: usize = 9;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimePattern {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Number(Field, usize),
    MonthName {
        is_short: bool,
    },
    DayName {
        is_short: bool,
    },
    HalfOfDay,
    /// `+0100`, or `+01:00`.
    Offset {
        has_colon: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    /// Its last two digits.
    ShortYear,
    Month,
    Day,
    DayOfYear,
    /// From 0 to 23.
    Hour,
    /// From 1 to 12.
    ClockHour,
    Minute,
    Second,
    Fraction,
}

/// What a text says of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) local: NaiveDateTime,
    /// Seconds east of UTC, if the text tells.
    pub(super) offset: Option<i32>,
}

impl TimePattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// `Unsupported` for a letter that is not known, `Invalid` for a quote without its end.
    pub(super) fn try_new(text: &str) -> Result<Self> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            if letter == '\'' {
                let (literal, behind) = quoted(text, rest)?;
                pieces.push(Piece::Literal(literal));
                rest = behind;
                continue;
            }
            let end = rest.find(|other| other != letter).unwrap_or(rest.len());
            let (run, behind) = rest.split_at(end);
            pieces.push(if letter.is_ascii_alphabetic() {
                piece_of(letter, run.len(), text)?
            } else {
                Piece::Literal(run.to_owned())
            });
            rest = behind;
        }
        Ok(Self {
            text: text.to_owned(),
            pieces,
        })
    }

    /// The pattern as it was given.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Appends a moment.
    pub(super) fn format<Z: TimeZone>(&self, time: &DateTime<Z>, out: &mut String) {
        let local = time.naive_local();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Number(Field::Fraction, width) => push_fraction(&local, *width, out),
                Piece::Number(field, width) => {
                    if *field == Field::Year && local.year() < 0 {
                        out.push('-');
                    }
                    push_padded(out, number(&local, *field), *width);
                }
                Piece::MonthName { is_short } => {
                    out.push_str(name(&MONTHS, local.month0(), *is_short));
                }
                Piece::DayName { is_short } => {
                    let day = local.weekday().num_days_from_monday();
                    out.push_str(name(&DAYS, day, *is_short));
                }
                Piece::HalfOfDay => out.push_str(if local.hour() < 12 { "AM" } else { "PM" }),
                Piece::Offset { has_colon } => {
                    let seconds = (local - time.naive_utc()).num_seconds();
                    out.push(if seconds < 0 { '-' } else { '+' });
                    push_padded(out, seconds.unsigned_abs() / 3_600, 2);
                    if *has_colon {
                        out.push(':');
                    }
                    push_padded(out, seconds.unsigned_abs() / 60 % 60, 2);
                }
            }
        }
    }

    /// Reads a text; `None` when it does not fit the pattern, or is no date. What the pattern leaves out is that of
    /// 1970-01-01T00:00.
    pub(super) fn parse(&self, text: &str) -> Option<Parsed> {
        let mut rest = text;
        let mut parts = Parts::default();
        for (position, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Piece::Number(field, width) => {
                    let is_adjacent =
                        matches!(self.pieces.get(position + 1), Some(Piece::Number(..)));
                    let (value, behind) = take_number(rest, *field, *width, is_adjacent)?;
                    parts.set(*field, value);
                    rest = behind;
                }
                Piece::MonthName { .. } => {
                    let (month, behind) = take_name(&MONTHS, rest)?;
                    parts.month = month + 1;
                    rest = behind;
                }
                Piece::DayName { .. } => rest = take_name(&DAYS, rest)?.1,
                Piece::HalfOfDay => {
                    let half = rest.get(..2)?;
                    parts.is_afternoon = Some(match half.to_ascii_uppercase().as_str() {
                        "AM" => false,
                        "PM" => true,
                        _ => return None,
                    });
                    rest = rest.get(2..)?;
                }
                Piece::Offset { .. } => {
                    let (offset, behind) = take_offset(rest)?;
                    parts.offset = Some(offset);
                    rest = behind;
                }
            }
        }
        if rest.is_empty() {
            parts.moment()
        } else {
            None
        }
    }
}

/// The text of a quoted part, and what follows; two quotes are one.
fn quoted<'a>(pattern: &str, from: &'a str) -> Result<(String, &'a str)> {
    let body = from.get(1..).unwrap_or_default();
    if let Some(behind) = body.strip_prefix('\'') {
        return Ok(("'".to_owned(), behind));
    }
    let mut literal = String::new();
    let mut rest = body;
    loop {
        let Some((part, behind)) = rest.split_once('\'') else {
            return Err(Error::invalid(format!(
                "date pattern `{pattern}`: a quote without its end"
            )));
        };
        literal.push_str(part);
        match behind.strip_prefix('\'') {
            Some(more) => {
                literal.push('\'');
                rest = more;
            }
            None => return Ok((literal, behind)),
        }
    }
}

fn piece_of(letter: char, count: usize, pattern: &str) -> Result<Piece> {
    let is_short = count <= SHORT;
    Ok(match (letter, count) {
        ('y' | 'Y', 2) => Piece::Number(Field::ShortYear, 2),
        ('y' | 'Y', _) => Piece::Number(Field::Year, count),
        ('M', 1 | 2) => Piece::Number(Field::Month, count),
        ('M', _) => Piece::MonthName { is_short },
        ('d', _) => Piece::Number(Field::Day, count),
        ('D', _) => Piece::Number(Field::DayOfYear, count),
        ('H', _) => Piece::Number(Field::Hour, count),
        ('h', _) => Piece::Number(Field::ClockHour, count),
        ('m', _) => Piece::Number(Field::Minute, count),
        ('s', _) => Piece::Number(Field::Second, count),
        ('S', _) => Piece::Number(Field::Fraction, count),
        ('E', _) => Piece::DayName { is_short },
        ('a', _) => Piece::HalfOfDay,
        ('Z', 1 | 2) => Piece::Offset {
            has_colon: count == 2,
        },
        _ => {
            return Err(Error::unsupported(format!(
                "date pattern `{pattern}`: letters `{}` are not known; use y, M, d, D, H, h, m, s, S, E, a, Z",
                letter.to_string().repeat(count)
            )));
        }
    })
}

fn number(local: &NaiveDateTime, field: Field) -> u64 {
    let year = u64::from(local.year().unsigned_abs());
    match field {
        Field::Year => year,
        Field::ShortYear => year % 100,
        Field::Month => u64::from(local.month()),
        Field::Day => u64::from(local.day()),
        Field::DayOfYear => u64::from(local.ordinal()),
        Field::Hour => u64::from(local.hour()),
        Field::ClockHour => u64::from(local.hour12().1),
        Field::Minute => u64::from(local.minute()),
        Field::Second => u64::from(local.second()),
        Field::Fraction => u64::from(local.nanosecond()),
    }
}

/// The first `width` digits of the fraction, of which milliseconds are known.
fn push_fraction(local: &NaiveDateTime, width: usize, out: &mut String) {
    let mut digits = String::new();
    push_padded(&mut digits, u64::from(local.nanosecond() / 1_000_000), 3);
    out.extend(digits.chars().chain(std::iter::repeat('0')).take(width));
}

fn name(names: &[&'static str], position: u32, is_short: bool) -> &'static str {
    let name = names.get(position as usize).copied().unwrap_or_default();
    if is_short {
        name.get(..SHORT).unwrap_or(name)
    } else {
        name
    }
}

/// A number at the start of a text. One that another follows without a blank has a fixed length.
fn take_number(text: &str, field: Field, width: usize, is_adjacent: bool) -> Option<(u32, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let length = if field == Field::Fraction || is_adjacent {
        digits.min(width)
    } else {
        digits.min(DIGITS_MAX)
    };
    let (number, rest) = text.split_at_checked(length)?;
    let value: u32 = number.parse().ok()?;
    let value = if field == Field::Fraction {
        let places = u32::try_from(length).ok()?;
        match 9_u32.checked_sub(places) {
            Some(missing) => value.checked_mul(10_u32.pow(missing))?,
            None => return None,
        }
    } else {
        value
    };
    Some((value, rest))
}

/// A name or its first three letters, whatever the case.
fn take_name<'a>(names: &[&str], text: &'a str) -> Option<(u32, &'a str)> {
    let begins = |name: &str| {
        text.get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    (0_u32..).zip(names).find_map(|(position, name)| {
        let found = [*name, name.get(..SHORT)?]
            .into_iter()
            .find(|name| begins(name))?;
        Some((position, text.get(found.len()..)?))
    })
}

/// `Z`, `+0100` or `+01:00`, in seconds.
fn take_offset(text: &str) -> Option<(i32, &str)> {
    if let Some(rest) = text.strip_prefix('Z') {
        return Some((0, rest));
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+')?),
    };
    let two = |text: &'_ str| -> Option<i32> { text.get(..2)?.parse().ok() };
    let hours = two(rest)?;
    let rest = rest.get(2..)?;
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    let minutes = two(rest)?;
    Some((sign * (hours * 3_600 + minutes * 60), rest.get(2..)?))
}

/// The fields of a moment while it is read.
#[derive(Debug, Clone, Copy)]
struct Parts {
    year: u32,
    month: u32,
    day: u32,
    day_of_year: Option<u32>,
    hour: u32,
    minute: u32,
    second: u32,
    nanosecond: u32,
    is_afternoon: Option<bool>,
    offset: Option<i32>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            year: 1970,
            month: 1,
            day: 1,
            day_of_year: None,
            hour: 0,
            minute: 0,
            second: 0,
            nanosecond: 0,
            is_afternoon: None,
            offset: None,
        }
    }
}

impl Parts {
    fn set(&mut self, field: Field, value: u32) {
        match field {
            Field::Year => self.year = value,
            // Joda takes the century in which the year lies nearest to now; the next 20 years count as ahead.
            Field::ShortYear => self.year = if value < 50 { 2000 } else { 1900 } + value % 100,
            Field::Month => self.month = value,
            Field::Day => self.day = value,
            Field::DayOfYear => self.day_of_year = Some(value),
            Field::Hour => self.hour = value,
            Field::ClockHour => {
                self.hour = value % 12;
                self.is_afternoon.get_or_insert(false);
            }
            Field::Minute => self.minute = value,
            Field::Second => self.second = value,
            Field::Fraction => self.nanosecond = value,
        }
    }

    fn moment(&self) -> Option<Parsed> {
        let year = i32::try_from(self.year).ok()?;
        let date = match self.day_of_year {
            Some(day) => NaiveDate::from_yo_opt(year, day)?,
            None => NaiveDate::from_ymd_opt(year, self.month, self.day)?,
        };
        let time = date.and_hms_nano_opt(self.hour, self.minute, self.second, self.nanosecond)?;
        let local = if self.is_afternoon == Some(true) && self.hour < 12 {
            time + TimeDelta::hours(12)
        } else {
            time
        };
        Some(Parsed {
            local,
            offset: self.offset,
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::{FixedOffset, Utc};
    use rstest::rstest;

    use super::*;
    use crate::error::ErrorKind;

    /// 2024-02-09T15:04:05.678, a Friday.
    const MILLIS: i64 = 1_707_491_045_678;

    #[rstest]
    #[case("yyyy/MM/dd", "2024/02/09")]
    #[case("yyyy-MM-dd'T'HH:mm:ss.SSS", "2024-02-09T15:04:05.678")]
    #[case("yyMMddHH", "24020915")]
    #[case("d MMM yyyy h a", "9 Feb 2024 3 PM")]
    #[case("EEEE, EEE, MMMM", "Friday, Fri, February")]
    #[case("yyyy-DDD", "2024-040")]
    #[case("SSSSSS", "678000")]
    #[case("'it''s' yyyy ''", "it's 2024 '")]
    #[case("HHZ HHZZ", "15+0000 15+00:00")]
    fn formats(#[case] pattern: &str, #[case] expected: &str) {
        let time = DateTime::from_timestamp_millis(MILLIS).unwrap();
        let mut out = String::new();
        TimePattern::try_new(pattern)
            .unwrap()
            .format::<Utc>(&time, &mut out);
        assert_eq!(out, expected);
    }

    #[rstest]
    #[case("yyyy/MM/dd", "2024/02/09", "2024-02-09T00:00:00")]
    #[case("yyyyMMddHHmmss", "20240209150405", "2024-02-09T15:04:05")]
    #[case("yyyy-M-d H:m", "2024-2-9 3:4", "2024-02-09T03:04:00")]
    #[case(
        "yyyy-MM-dd'T'HH:mm:ss.SSS",
        "2024-02-09T15:04:05.678",
        "2024-02-09T15:04:05.678"
    )]
    #[case("d MMM yyyy h a", "9 feb 2024 3 PM", "2024-02-09T15:00:00")]
    #[case("yyyy-DDD", "2024-040", "2024-02-09T00:00:00")]
    fn parses(#[case] pattern: &str, #[case] text: &str, #[case] expected: &str) {
        let parsed = TimePattern::try_new(pattern).unwrap().parse(text).unwrap();
        let expected: NaiveDateTime = expected.parse().unwrap();
        assert_eq!((parsed.local, parsed.offset), (expected, None));
    }

    #[test]
    fn offsets_are_read_and_written() {
        let pattern = TimePattern::try_new("yyyy-MM-dd'T'HH:mm:ssZ").unwrap();
        for (text, seconds) in [
            ("2024-02-09T15:04:05Z", 0),
            ("2024-02-09T15:04:05+0130", 5_400),
            ("2024-02-09T15:04:05-08:00", -28_800),
        ] {
            assert_eq!(pattern.parse(text).unwrap().offset, Some(seconds));
        }
        let east = FixedOffset::east_opt(5_400).unwrap();
        let time = DateTime::from_timestamp_millis(MILLIS)
            .unwrap()
            .with_timezone(&east);
        let mut out = String::new();
        pattern.format(&time, &mut out);
        assert_eq!(out, "2024-02-09T16:34:05+0130");
    }

    #[test]
    fn other_texts_do_not_fit() {
        let pattern = TimePattern::try_new("yyyy/MM/dd").unwrap();
        for text in [
            "",
            "2024",
            "2024/13/01",
            "2024/02/30",
            "2024/02/09x",
            "a/b/c",
        ] {
            assert_eq!(pattern.parse(text), None, "{text}");
        }
    }

    #[test]
    fn unknown_letters_and_open_quotes_are_refused() {
        let kind = |pattern: &str| TimePattern::try_new(pattern).unwrap_err().kind();
        assert_eq!(kind("yyyy-ww"), ErrorKind::Unsupported);
        assert_eq!(kind("yyyy'T"), ErrorKind::Invalid);
    }
}
