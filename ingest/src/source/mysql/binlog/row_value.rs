//! Values of row images that need more than a cast: packed dates and times.

use crate::batch::{ByteReader, DecodeError, TimeOfDay, date_days, timestamp_micros};

/// Bytes that fractional seconds take.
#[inline]
pub(super) fn fraction_bytes(fsp: u8) -> usize {
    usize::from(fsp.div_ceil(2))
}

/// Microseconds of a fraction that was stored in `bytes` bytes: hundredths, ten-thousandths or millionths.
#[inline]
fn fraction_micros(fraction: u64, bytes: usize) -> u32 {
    let unit = match bytes {
        1 => 10_000,
        2 => 100,
        _ => 1,
    };
    u32::try_from(fraction)
        .unwrap_or(u32::MAX)
        .saturating_mul(unit)
}

#[inline]
fn low_bits(number: u64, bits: u32) -> u32 {
    u32::try_from(number & ((1 << bits) - 1)).unwrap_or(u32::MAX)
}

/// A DATE: day, month and year from the lowest bit; `None` for zero and partial dates.
#[inline]
pub(super) fn date(reader: &mut ByteReader<'_>) -> Result<Option<i32>, DecodeError> {
    let packed = reader.u24()?;
    Ok(date_days(packed >> 9, packed >> 5 & 15, packed & 31))
}

/// A DATETIME: 40 bits of date and time with an offset, then the fraction.
///
/// Source: MySQL, `my_datetime_packed_from_binary`.
#[inline]
pub(super) fn date_time(reader: &mut ByteReader<'_>, fsp: u8) -> Result<Option<i64>, DecodeError> {
    let packed = reader.uint_be(5)?.saturating_sub(1 << 39);
    let width = fraction_bytes(fsp);
    let micros = fraction_micros(reader.uint_be(width)?, width);
    let date = low_bits(packed >> 17, 22);
    let days = date_days((date >> 5) / 13, (date >> 5) % 13, date & 31);
    let (hours, minutes) = (low_bits(packed >> 12, 5), low_bits(packed >> 6, 6));
    let time = TimeOfDay {
        hours,
        minutes,
        seconds: low_bits(packed, 6),
        micros,
    };
    Ok(timestamp_micros(days, time))
}

/// A TIMESTAMP: seconds since 1970 and the fraction; `None` for the zero date.
#[inline]
pub(super) fn timestamp(reader: &mut ByteReader<'_>, fsp: u8) -> Result<Option<i64>, DecodeError> {
    let seconds = i64::from(u32::from_be_bytes(reader.array()?));
    let width = fraction_bytes(fsp);
    let micros = i64::from(fraction_micros(reader.uint_be(width)?, width));
    let is_zero = seconds == 0 && micros == 0;
    Ok((!is_zero).then_some(seconds * 1_000_000 + micros))
}

/// A TIME: whether it is negative, and its amount. 24 bits with an offset and the fraction form one number.
///
/// Source: MySQL, `my_time_packed_from_binary`.
#[inline]
pub(super) fn time(reader: &mut ByteReader<'_>, fsp: u8) -> Result<(bool, TimeOfDay), DecodeError> {
    let width = fraction_bytes(fsp);
    let stored = reader.uint_be(3 + width)?;
    let offset = 0x80_0000_u64 << (8 * width);
    let packed = stored.abs_diff(offset);
    let whole = packed >> (8 * width);
    let fraction = packed & ((1 << (8 * width)) - 1);
    let time = TimeOfDay {
        hours: low_bits(whole >> 12, 10),
        minutes: low_bits(whole >> 6, 6),
        seconds: low_bits(whole, 6),
        micros: fraction_micros(fraction, width),
    };
    Ok((stored < offset, time))
}
