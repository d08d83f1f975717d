//! MariaDB's UUID, INET4 and INET6: raw bytes in row images, text in result rows.

use std::fmt::Write as _;

/// Appends a UUID as text.
pub(super) fn push_uuid(bytes: [u8; 16], out: &mut String) {
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
}

/// Appends an IPv6 address as MariaDB prints it: unlike RFC 5952 it shortens a single zero too, and shows the
/// addresses that hold an IPv4 one in its form.
///
/// Source: MariaDB, `Inet6::to_string`.
pub(super) fn push_inet6(bytes: [u8; 16], out: &mut String) {
    let words = std::net::Ipv6Addr::from(bytes).segments();
    let gap = longest_zeros(&words);
    let [.., e, f, g, h] = bytes;
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if gap.length > 0 && gap.start == at {
            out.push_str(if at == 0 { "::" } else { ":" });
            at += gap.length;
            continue;
        }
        let is_mapped = gap.length == 5 && words.get(5) == Some(&0xffff);
        if at == 6 && gap.start == 0 && (gap.length == 6 || is_mapped) {
            out.push_str(&std::net::Ipv4Addr::new(e, f, g, h).to_string());
            return;
        }
        // Writing to a String does not fail.
        let _ = write!(out, "{word:x}");
        if at < 7 {
            out.push(':');
        }
        at += 1;
    }
}

struct Gap {
    start: usize,
    length: usize,
}

/// The first of the longest runs of zeros.
fn longest_zeros(words: &[u16; 8]) -> Gap {
    let mut longest = Gap {
        start: 0,
        length: 0,
    };
    let mut current = Gap {
        start: 0,
        length: 0,
    };
    for (at, word) in words.iter().enumerate() {
        if *word != 0 {
            current = Gap {
                start: at + 1,
                length: 0,
            };
            continue;
        }
        current.length += 1;
        if current.length > longest.length {
            longest = Gap { ..current };
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("::", "::")]
    #[case("::1", "::1")]
    #[case("1::", "1::")]
    #[case("2001:db8::ff00:42:8329", "2001:db8::ff00:42:8329")]
    #[case("1:0:2:3:4:5:6:7", "1::2:3:4:5:6:7")]
    #[case("::ffff:192.0.2.128", "::ffff:192.0.2.128")]
    #[case("::192.0.2.128", "::192.0.2.128")]
    #[case("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8")]
    fn prints_addresses(#[case] address: std::net::Ipv6Addr, #[case] text: &str) {
        let mut out = String::new();
        push_inet6(address.octets(), &mut out);
        assert_eq!(out, text);
    }
}
