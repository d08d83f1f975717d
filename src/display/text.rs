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
        assert_eq!(eta(25, 100, Duration::from_secs(10)), "ETA 30 s");
        assert_eq!(rate(500, Duration::from_millis(250)), 2000);
    }
}
