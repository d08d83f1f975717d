//! Numbers as people read them.

use std::time::Duration;

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes in MiB.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", grouped(bytes >> 20))
}

/// Bytes in the largest unit of which there is one: `900 B`, `1.5 KiB`, `12.0 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = (bytes.ilog2() / 10).min(6);
    let tenths = u128::from(bytes) * 10 / (1 << (10 * power));
    let unit = units.get(power as usize - 1).copied().unwrap_or_default();
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// Milliseconds as `432 ms`, `4.3 s`, `85 s` or `3 min 5 s`.
pub(crate) fn duration(millis: i64) -> String {
    match millis.max(0) {
        millis @ 0..1_000 => format!("{millis} ms"),
        millis => lag(millis),
    }
}

/// Milliseconds as `0.4 s`, `12 s` or `3 min 5 s`.
pub(crate) fn lag(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    match seconds {
        0..10 => format!("{seconds}.{} s", millis.max(0) % 1000 / 100),
        10..120 => format!("{seconds} s"),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// How long the rest takes at the rate so far; empty when nothing can be said.
pub(crate) fn eta(done: u64, total: u64, elapsed: Duration) -> String {
    if done == 0 || total <= done {
        return String::new();
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "an estimate"
    )]
    let millis = (elapsed.as_secs_f64() * 1000.0 * (total - done) as f64 / done as f64) as i64;
    format!("ETA {}", lag(millis))
}

/// Counts per second.
pub(crate) fn rate(count: u64, elapsed: Duration) -> u64 {
    let millis = u64::try_from(elapsed.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    count.saturating_mul(1000) / millis
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(999), "999");
        assert_eq!(
            (lag(432), lag(12_900), lag(185_000)),
            ("0.4 s".into(), "12 s".into(), "3 min 5 s".into())
        );
        assert_eq!(
            (bytes(1023), bytes(1536)),
            ("1023 B".into(), "1.5 KiB".into())
        );
        assert_eq!(
            (bytes(12 << 20), bytes(u64::MAX)),
            ("12.0 MiB".into(), "15.9 EiB".into())
        );
        assert_eq!(
            (duration(432), duration(4_321)),
            ("432 ms".into(), "4.3 s".into())
        );
        assert_eq!(eta(25, 100, Duration::from_secs(10)), "ETA 30 s");
        assert_eq!(rate(500, Duration::from_millis(250)), 2000);
    }
}
