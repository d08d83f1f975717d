//! The scalars of MySQL's binary JSON, printed as the server prints them.

use std::fmt::Write as _;

use base64::Engine as _;

use super::table_map::type_code;
use crate::batch::{ByteReader, DecodeError, PackedDecimal, TimeOfDay, TimeText};

/// Decimal exponents within which a double prints without one.
///
/// Source: MySQL, `my_gcvt`, `MAX_DECPT_FOR_F_FORMAT`.
const PLAIN_EXPONENT_MAX: i32 = 15;

/// A length of seven bits a byte, the lowest first.
pub(super) fn variable_length(reader: &mut ByteReader<'_>) -> Result<usize, DecodeError> {
    let mut length = 0;
    for shift in [0, 7, 14, 21, 28] {
        let byte = reader.u8()?;
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(usize::try_from(length).unwrap_or(usize::MAX));
        }
    }
    Err(DecodeError::Invalid(
        "a JSON document holds a length past 32 bits",
    ))
}

/// Appends a text in quotes, with the escapes of the server.
///
/// Source: MySQL, `double_quote`.
pub(super) fn push_string(bytes: &[u8], out: &mut String) -> Result<(), DecodeError> {
    let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::InvalidText)?;
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
        let (plain, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(plain);
        let mut chars = from.chars();
        match chars.next() {
            Some('\u{8}') => out.push_str("\\b"),
            Some('\t') => out.push_str("\\t"),
            Some('\n') => out.push_str("\\n"),
            Some('\u{c}') => out.push_str("\\f"),
            Some('\r') => out.push_str("\\r"),
            Some(c @ ('"' | '\\')) => out.extend(['\\', c]),
            Some(c) => print(out, format_args!("\\u{:04x}", u32::from(c)))?,
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
    Ok(())
}

fn print(out: &mut String, text: std::fmt::Arguments<'_>) -> Result<(), DecodeError> {
    out.write_fmt(text)
        .map_err(|_| DecodeError::Invalid("a value does not print"))
}

/// Appends a double: the shortest digits that read back the same, always with a point or an exponent.
///
/// Source: MySQL, `my_gcvt` and `Json_wrapper::to_string`.
pub(super) fn push_double(number: f64, out: &mut String) {
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let (sign, mantissa) = mantissa
        .strip_prefix('-')
        .map_or(("", mantissa), |rest| ("-", rest));
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // The number is 0.DIGITS * 10^point.
    let point = exponent + 1;
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    out.push_str(sign);
    if number == 0.0 {
        out.push_str("0.0");
    } else if point > 1 - PLAIN_EXPONENT_MAX - 1 && (point <= PLAIN_EXPONENT_MAX || count > point) {
        push_plain(&digits, point, out);
    } else {
        let (first, rest) = digits.split_at_checked(1).unwrap_or((&digits, ""));
        out.push_str(first);
        if !rest.is_empty() {
            out.push('.');
            out.push_str(rest);
        }
        out.push_str(&format!("e{exponent}"));
    }
}

/// Appends `0.DIGITS * 10^point` without an exponent.
fn push_plain(digits: &str, point: i32, out: &mut String) {
    let zeros = |count: usize| std::iter::repeat_n('0', count);
    match usize::try_from(point) {
        Ok(point) if point >= digits.len() => {
            out.push_str(digits);
            out.extend(zeros(point - digits.len()));
            out.push_str(".0");
        }
        Ok(point) if point > 0 => {
            let (integer, fraction) = digits.split_at_checked(point).unwrap_or((digits, ""));
            out.push_str(integer);
            out.push('.');
            out.push_str(fraction);
        }
        _ => {
            out.push_str("0.");
            out.extend(zeros(usize::try_from(-point).unwrap_or(0)));
            out.push_str(digits);
        }
    }
}

/// Appends a value of a type that JSON does not have: decimals as numbers, times as texts, the rest in base64.
///
/// Source: MySQL, `Json_wrapper::to_string`, `Json_opaque`.
pub(super) fn push_opaque(
    reader: &mut ByteReader<'_>,
    out: &mut String,
) -> Result<(), DecodeError> {
    let field_type = reader.u8()?;
    let length = variable_length(reader)?;
    let data = reader.take(length)?;
    let mut value = ByteReader::new(data);
    match field_type {
        type_code::NEWDECIMAL => {
            let (precision, scale) = (value.u8()?, value.u8()?);
            if precision == 0 || precision > 81 || scale > precision {
                return Err(DecodeError::Invalid(
                    "a decimal in a JSON document has no valid precision",
                ));
            }
            PackedDecimal::new(precision, scale).read_text(&mut value, out)
        }
        type_code::DATE | type_code::OLD_DATETIME | type_code::OLD_TIMESTAMP => {
            let packed = i64::from_le_bytes(value.array()?).unsigned_abs();
            push_date_time(packed, field_type == type_code::DATE, out)
        }
        type_code::OLD_TIME => {
            let packed = i64::from_le_bytes(value.array()?);
            let (time, _) = unpack(packed.unsigned_abs());
            out.push('"');
            out.push_str(TimeText::new(packed < 0, time, 6).as_str());
            out.push('"');
            Ok(())
        }
        _ => {
            print(out, format_args!("\"base64:type{field_type}:"))?;
            base64::engine::general_purpose::STANDARD.encode_string(data, out);
            out.push('"');
            Ok(())
        }
    }
}

/// The time of day of a packed temporal value, and what lies above it.
///
/// Source: MySQL, `TIME_from_longlong_datetime_packed`.
fn unpack(packed: u64) -> (TimeOfDay, u32) {
    let low = |number: u64, bits: u32| u32::try_from(number & ((1 << bits) - 1)).unwrap_or(0);
    let whole = packed >> 24;
    let time = TimeOfDay {
        hours: low(whole >> 12, 10),
        minutes: low(whole >> 6, 6),
        seconds: low(whole, 6),
        micros: low(packed, 24),
    };
    (time, low(whole >> 17, 22))
}

fn push_date_time(packed: u64, date_only: bool, out: &mut String) -> Result<(), DecodeError> {
    let (time, date) = unpack(packed);
    let (year_month, day) = (date >> 5, date & 31);
    let (year, month) = (year_month / 13, year_month % 13);
    print(out, format_args!("\"{year:04}-{month:02}-{day:02}"))?;
    if !date_only {
        // Only five bits are hours here: the bits above them are the date's.
        let time = TimeOfDay {
            hours: time.hours & 31,
            ..time
        };
        out.push(' ');
        out.push_str(TimeText::new(false, time, 6).as_str());
    }
    out.push('"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(1.0, "1.0")]
    #[case(0.1, "0.1")]
    #[case(-0.0, "-0.0")]
    #[case(1e100, "1e100")]
    #[case(1e14, "100000000000000.0")]
    #[case(1e15, "1e15")]
    #[case(123_456_789_012_345_680.0, "1.2345678901234568e17")]
    #[case(1e-14, "0.00000000000001")]
    #[case(1.5e-20, "1.5e-20")]
    #[case(-2.5, "-2.5")]
    fn prints_doubles(#[case] number: f64, #[case] text: &str) {
        let mut out = String::new();
        push_double(number, &mut out);
        assert_eq!(out, text);
    }

    #[test]
    fn escapes_what_the_server_escapes() {
        let mut out = String::new();
        push_string("a\"\\\n\u{1f}\u{8}é".as_bytes(), &mut out).unwrap();
        assert_eq!(out, r#""a\"\\\n\u001f\bé""#);
    }
}
