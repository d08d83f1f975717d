//! Partition values made from times: the timestamp key generator.
//!
//! Java: TimestampBasedAvroKeyGenerator, HoodieDateTimeParser. Where Hudi takes the zone of its JVM, UTC is taken here.

use std::collections::BTreeMap;

use arrow::array::timezone::Tz;
use arrow::array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType,
};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, FixedOffset, TimeZone, Utc};

use crate::config::TableConfig;
use crate::error::{Error, Result};
use crate::record::time_pattern::TimePattern;

/// What settings of the generator begin with; the second spelling is older.
const PREFIXES: [&str; 2] = [
    "hoodie.keygen.timebased.",
    "hoodie.deltastreamer.keygen.timebased.",
];

/// Turns the values of one column into partition values.
#[derive(Debug, Clone)]
pub(super) struct TimePartition {
    input: Input,
    output: TimePattern,
    output_zone: Option<Tz>,
}

/// How values tell a time.
#[derive(Debug, Clone)]
enum Input {
    /// Numbers; this many make `per` milliseconds.
    Number { per: i64, milliseconds: i64 },
    /// Texts of one of these patterns.
    Text {
        patterns: Vec<TimePattern>,
        zone: Option<Tz>,
    },
}

/// The values of a batch's column.
#[derive(Debug)]
pub(super) struct TimeColumn<'a> {
    name: &'a str,
    column: &'a ArrayRef,
    partition: &'a TimePartition,
}

impl TimePartition {
    /// Reads the settings that the table keeps, and those of a writer where it keeps none.
    ///
    /// # Errors
    /// `Invalid` for settings that are missing or make no sense; `Unsupported` for pattern letters and zones that are not
    /// known.
    pub(super) fn try_new(
        config: &TableConfig,
        properties: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let setting = |name: &str| {
            PREFIXES.iter().find_map(|prefix| {
                let name = format!("{prefix}{name}");
                let kept = config.properties().get_non_blank(&name);
                kept.or_else(|| properties.get(&name).map(String::as_str))
            })
        };
        let required = |name: &str| {
            setting(name).ok_or_else(|| {
                Error::invalid(format!(
                    "table {}: the TIMESTAMP key generator needs {}{name}",
                    config.name(),
                    PREFIXES[0]
                ))
            })
        };
        let zone = |name: &str| {
            let text = setting("timezone").or_else(|| setting(name));
            text.map(parse_zone).transpose()
        };
        let number = |per, milliseconds| Input::Number { per, milliseconds };
        let kind = required("timestamp.type")?;
        let input = match kind.to_ascii_uppercase().as_str() {
            "UNIX_TIMESTAMP" => number(1, 1_000),
            "EPOCHMILLISECONDS" => number(1, 1),
            "EPOCHMICROSECONDS" => number(1_000, 1),
            "SCALAR" => {
                let unit = setting("timestamp.scalar.time.unit").unwrap_or("SECONDS");
                scalar(unit)?
            }
            "DATE_STRING" | "MIXED" => {
                let delimiter = setting("input.dateformat.list.delimiter.regex").unwrap_or(",");
                let formats = required("input.dateformat")?;
                let patterns = formats
                    .split(delimiter)
                    .map(|format| TimePattern::try_new(format.trim()));
                Input::Text {
                    patterns: patterns.collect::<Result<Vec<_>>>()?,
                    zone: zone("input.timezone")?,
                }
            }
            _ => {
                return Err(Error::invalid(format!(
                    "{}timestamp.type={kind}: expected UNIX_TIMESTAMP, DATE_STRING, MIXED, EPOCHMILLISECONDS, \
                     EPOCHMICROSECONDS or SCALAR",
                    PREFIXES[0]
                )));
            }
        };
        Ok(Self {
            input,
            output: TimePattern::try_new(required("output.dateformat")?)?,
            output_zone: zone("output.timezone")?,
        })
    }

    /// The values of a column.
    ///
    /// # Errors
    /// `Invalid` for a column whose type does not go with the settings.
    pub(super) fn of<'a>(&'a self, name: &'a str, column: &'a ArrayRef) -> Result<TimeColumn<'a>> {
        let is_text = *column.data_type() == DataType::Utf8;
        let is_number = matches!(
            column.data_type(),
            DataType::Int32
                | DataType::Int64
                | DataType::Float32
                | DataType::Float64
                | DataType::Date32
                | DataType::Decimal128(_, _)
                | DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond, _)
        );
        let fits = match self.input {
            Input::Number { .. } => is_number,
            Input::Text { .. } => is_text,
        };
        if !fits {
            return Err(Error::invalid(format!(
                "partition column `{name}` of type {} does not go with {}timestamp.type",
                column.data_type(),
                PREFIXES[0]
            )));
        }
        Ok(TimeColumn {
            name,
            column,
            partition: self,
        })
    }

    fn push(&self, millis: i64, zone: Option<Zone>, out: &mut String) -> Option<()> {
        let time = DateTime::from_timestamp_millis(millis)?;
        match (self.output_zone, zone) {
            (Some(zone), _) | (None, Some(Zone::Named(zone))) => {
                self.output.format(&time.with_timezone(&zone), out);
            }
            (None, Some(Zone::Offset(offset))) => {
                self.output.format(&time.with_timezone(&offset), out);
            }
            (None, None) => self.output.format::<Utc>(&time, out),
        }
        Some(())
    }
}

/// The zone that came with a text.
#[derive(Debug, Clone, Copy)]
enum Zone {
    Named(Tz),
    Offset(FixedOffset),
}

impl TimeColumn<'_> {
    /// Appends the partition value of a row.
    ///
    /// # Errors
    /// `Invalid` for a text of another pattern, or a time out of range.
    pub(super) fn append(&self, row: usize, out: &mut String) -> Result<()> {
        let partition = self.partition;
        let pushed = match &partition.input {
            Input::Number { per, milliseconds } => {
                // Null is 1 of whatever unit. Java: TimestampBasedAvroKeyGenerator#getDefaultPartitionVal.
                let value = if self.column.is_null(row) {
                    Some(1)
                } else {
                    number_of(self.column, row)
                };
                value
                    .map(|value| (value / per).saturating_mul(*milliseconds))
                    .and_then(|millis| partition.push(millis, None, out))
            }
            Input::Text { patterns, zone } => {
                let default;
                let text = if self.column.is_null(row) {
                    default = default_text(patterns, zone.or(partition.output_zone));
                    default.as_str()
                } else {
                    self.column.as_string::<i32>().value(row)
                };
                read_text(text, patterns, *zone)
                    .and_then(|(millis, zone)| partition.push(millis, zone, out))
            }
        };
        pushed.ok_or_else(|| {
            let expected = match &partition.input {
                Input::Number { .. } => "a time within range".to_owned(),
                Input::Text { patterns, .. } => patterns
                    .iter()
                    .map(TimePattern::text)
                    .collect::<Vec<_>>()
                    .join(" or "),
            };
            Error::invalid(format!(
                "partition column `{}`: `{}` in row {row} of the batch is not {expected}",
                self.name,
                arrow::util::display::array_value_to_string(self.column, row)
                    .unwrap_or_else(|_| "a value".to_owned())
            ))
        })
    }
}

/// One millisecond after the epoch in the first pattern.
fn default_text(patterns: &[TimePattern], zone: Option<Tz>) -> String {
    let mut text = String::new();
    let epoch = DateTime::<Utc>::UNIX_EPOCH + chrono::TimeDelta::milliseconds(1);
    if let Some(pattern) = patterns.first() {
        match zone {
            Some(zone) => pattern.format(&epoch.with_timezone(&zone), &mut text),
            None => pattern.format(&epoch, &mut text),
        }
    }
    text
}

fn read_text(
    text: &str,
    patterns: &[TimePattern],
    zone: Option<Tz>,
) -> Option<(i64, Option<Zone>)> {
    let parsed = patterns.iter().find_map(|pattern| pattern.parse(text))?;
    let utc = parsed.local.and_utc();
    match (parsed.offset, zone) {
        (Some(seconds), zone) => {
            let offset = FixedOffset::east_opt(seconds)?;
            let millis = utc.timestamp_millis() - i64::from(seconds) * 1_000;
            Some((millis, Some(zone.map_or(Zone::Offset(offset), Zone::Named))))
        }
        (None, Some(zone)) => {
            let time = zone.from_local_datetime(&parsed.local).earliest()?;
            Some((time.timestamp_millis(), Some(Zone::Named(zone))))
        }
        (None, None) => Some((utc.timestamp_millis(), None)),
    }
}

/// Java: the number's `longValue`.
fn number_of(column: &ArrayRef, row: usize) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "Java cuts numbers to whole ones here"
    )]
    Some(match column.data_type() {
        DataType::Int32 => i64::from(column.as_primitive::<Int32Type>().value(row)),
        DataType::Date32 => i64::from(column.as_primitive::<Date32Type>().value(row)),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row),
        DataType::Float32 => column.as_primitive::<Float32Type>().value(row) as i64,
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row) as i64,
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            column.as_primitive::<TimestampMillisecondType>().value(row)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            column.as_primitive::<TimestampMicrosecondType>().value(row)
        }
        DataType::Decimal128(_, scale) => {
            let factor = 10_i128.checked_pow(u32::from(scale.unsigned_abs()))?;
            let unscaled = column.as_primitive::<Decimal128Type>().value(row);
            i64::try_from(unscaled / factor).ok()?
        }
        _ => return None,
    })
}

fn scalar(unit: &str) -> Result<Input> {
    let (per, milliseconds) = match unit.to_ascii_uppercase().as_str() {
        "NANOSECONDS" => (1_000_000, 1),
        "MICROSECONDS" => (1_000, 1),
        "MILLISECONDS" => (1, 1),
        "SECONDS" => (1, 1_000),
        "MINUTES" => (1, 60_000),
        "HOURS" => (1, 3_600_000),
        "DAYS" => (1, 86_400_000),
        _ => {
            return Err(Error::invalid(format!(
                "{}timestamp.scalar.time.unit={unit}: expected a java.util.concurrent.TimeUnit such as SECONDS or DAYS",
                PREFIXES[0]
            )));
        }
    };
    Ok(Input::Number { per, milliseconds })
}

/// `UTC`, `GMT+8:00`, `+08:00` or a name such as `Asia/Tokyo`. Java takes a name that it does not know for GMT; here it is an
/// error.
fn parse_zone(text: &str) -> Result<Tz> {
    let text = text.trim();
    let bare = text
        .strip_prefix("GMT")
        .or_else(|| text.strip_prefix("UTC"))
        .unwrap_or(text);
    let spelled = match bare {
        "" | "Z" => "+00:00".to_owned(),
        _ => normal_offset(bare).unwrap_or_else(|| bare.to_owned()),
    };
    spelled
        .parse()
        .map_err(|error| Error::unsupported(format!("time zone `{text}` is not known: {error}")))
}

/// `+8`, `+08`, `+8:00` and `+0800` as `+08:00`.
fn normal_offset(text: &str) -> Option<String> {
    let sign = text
        .chars()
        .next()
        .filter(|sign| matches!(sign, '+' | '-'))?;
    let digits = text.get(1..)?;
    let (hours, minutes) = match (digits.split_once(':'), digits.len()) {
        (Some(parts), _) => parts,
        (None, 4) => digits.split_at(2),
        (None, _) => (digits, "00"),
    };
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    Some(format!("{sign}{hours:02}:{minutes:02}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use rstest::rstest;

    use super::*;

    fn partition(settings: &[(&str, &str)]) -> Result<TimePartition> {
        let mut text =
            "hoodie.table.name=t\nhoodie.table.version=9\nhoodie.timeline.layout.version=2\n"
                .to_owned();
        for (name, value) in settings {
            text.push_str(&format!("hoodie.keygen.timebased.{name}={value}\n"));
        }
        TimePartition::try_new(
            &TableConfig::parse(text.as_bytes()).unwrap(),
            &BTreeMap::new(),
        )
    }

    fn value(settings: &[(&str, &str)], column: &ArrayRef) -> Result<String> {
        let partition = partition(settings)?;
        let mut out = String::new();
        partition.of("ts", column)?.append(0, &mut out)?;
        Ok(out)
    }

    #[rstest]
    #[case("UNIX_TIMESTAMP", "", 1_700_050_000, "2023/11/15/12")]
    #[case("EPOCHMILLISECONDS", "", 1_700_050_000_000, "2023/11/15/12")]
    #[case("EPOCHMICROSECONDS", "", 1_700_050_000_000_000, "2023/11/15/12")]
    #[case("SCALAR", "DAYS", 19_676, "2023/11/15/00")]
    #[case("SCALAR", "HOURS", 472_236, "2023/11/15/12")]
    fn numbers_become_dates(
        #[case] kind: &str,
        #[case] unit: &str,
        #[case] number: i64,
        #[case] expected: &str,
    ) {
        let mut settings = vec![
            ("timestamp.type", kind),
            ("output.dateformat", "yyyy/MM/dd/HH"),
            ("timezone", "UTC"),
        ];
        if !unit.is_empty() {
            settings.push(("timestamp.scalar.time.unit", unit));
        }
        let column: ArrayRef = Arc::new(Int64Array::from(vec![number]));
        assert_eq!(value(&settings, &column).unwrap(), expected);
    }

    #[rstest]
    #[case("2024-02-09T23:30:00", "+00:00", "+02:00", "2024/02/10")]
    #[case("2024-02-09T23:30:00", "GMT+2", "GMT", "2024/02/09")]
    #[case("20240209", "", "", "2024/02/09")]
    fn texts_become_dates(
        #[case] text: &str,
        #[case] input_zone: &str,
        #[case] output_zone: &str,
        #[case] expected: &str,
    ) {
        let settings = [
            ("timestamp.type", "DATE_STRING"),
            ("input.dateformat", "yyyy-MM-dd'T'HH:mm:ss,yyyyMMdd"),
            ("input.timezone", input_zone),
            ("output.timezone", output_zone),
            ("output.dateformat", "yyyy/MM/dd"),
        ];
        let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
        assert_eq!(value(&settings, &column).unwrap(), expected);
    }

    #[test]
    fn an_offset_in_the_text_is_kept_when_no_zone_is_set() {
        let settings = [
            ("timestamp.type", "MIXED"),
            ("input.dateformat", "yyyy-MM-dd HH:mmZ"),
            ("output.dateformat", "yyyy-MM-dd-HH"),
        ];
        let column: ArrayRef = Arc::new(StringArray::from(vec!["2024-02-09 23:30+0200"]));
        assert_eq!(value(&settings, &column).unwrap(), "2024-02-09-23");
    }

    #[test]
    fn null_is_the_epoch() {
        let settings = [
            ("timestamp.type", "UNIX_TIMESTAMP"),
            ("output.dateformat", "yyyy-MM-dd"),
        ];
        let nulls: ArrayRef = Arc::new(Int64Array::from(vec![None]));
        assert_eq!(value(&settings, &nulls).unwrap(), "1970-01-01");
        let settings = [
            ("timestamp.type", "DATE_STRING"),
            ("input.dateformat", "yyyy/MM/dd"),
            ("output.dateformat", "yyyy-MM-dd"),
        ];
        let nulls: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
        assert_eq!(value(&settings, &nulls).unwrap(), "1970-01-01");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let settings = [
            ("timestamp.type", "DATE_STRING"),
            ("input.dateformat", "yyyy/MM/dd"),
            ("output.dateformat", "yyyy-MM-dd"),
        ];
        let column: ArrayRef = Arc::new(StringArray::from(vec!["yesterday"]));
        let error = value(&settings, &column).unwrap_err().to_string();
        assert!(
            error.contains("`ts`") && error.contains("yesterday"),
            "{error}"
        );
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        assert!(value(&settings, &numbers).is_err());
        assert!(partition(&[("timestamp.type", "SCALAR")]).is_err());
        assert!(partition(&[("timestamp.type", "X"), ("output.dateformat", "yyyy")]).is_err());
        assert!(parse_zone("Mars/Olympus").is_err());
    }
}
