//! DECIMAL values: packed as in row images, or as text in result rows; exact in both, never through a float.

use super::{ByteReader, DecodeError};

/// Decimal digits in a packed group of four bytes.
const GROUP_DIGITS: u8 = 9;

/// Bytes that 0 to 9 packed digits take.
const DIGIT_BYTES: [u8; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// The packed form of DECIMAL(precision, scale): groups of nine digits, big endian, the first bit flipped and every
/// bit flipped for negative numbers.
///
/// Source: MySQL, `decimal2bin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PackedDecimal {
    scale: u8,
    /// Digits in front of the first whole group.
    head_digits: u8,
    integer_groups: u8,
    fraction_groups: u8,
    /// Digits behind the last whole group.
    tail_digits: u8,
}

impl PackedDecimal {
    pub(crate) fn new(precision: u8, scale: u8) -> Self {
        let integer = precision.saturating_sub(scale);
        Self {
            scale,
            head_digits: integer % GROUP_DIGITS,
            integer_groups: integer / GROUP_DIGITS,
            fraction_groups: scale / GROUP_DIGITS,
            tail_digits: scale % GROUP_DIGITS,
        }
    }

    /// Bytes of a value.
    pub(crate) fn length(self) -> usize {
        let groups = usize::from(self.integer_groups) + usize::from(self.fraction_groups);
        digit_bytes(self.head_digits) + 4 * groups + digit_bytes(self.tail_digits)
    }

    /// The unscaled value; the precision must be at most 38.
    #[inline]
    pub(crate) fn read(self, reader: &mut ByteReader<'_>) -> Result<i128, DecodeError> {
        let mut groups = Groups::new(reader, self)?;
        let mut number = i128::from(groups.partial(self.head_digits)?);
        for _ in 0..self.integer_groups + self.fraction_groups {
            number = number * 1_000_000_000 + i128::from(groups.whole()?);
        }
        let tail = i128::from(groups.partial(self.tail_digits)?);
        number = number * i128::from(power_of_ten(self.tail_digits)) + tail;
        Ok(if groups.negative { -number } else { number })
    }

    /// The text of the value, as the server prints it.
    pub(crate) fn read_text(
        self,
        reader: &mut ByteReader<'_>,
        out: &mut String,
    ) -> Result<(), DecodeError> {
        let mut groups = Groups::new(reader, self)?;
        let mut digits = String::with_capacity(72);
        push_digits(
            &mut digits,
            groups.partial(self.head_digits)?,
            self.head_digits,
        );
        for _ in 0..self.integer_groups + self.fraction_groups {
            push_digits(&mut digits, groups.whole()?, GROUP_DIGITS);
        }
        push_digits(
            &mut digits,
            groups.partial(self.tail_digits)?,
            self.tail_digits,
        );
        let point = digits.len().saturating_sub(usize::from(self.scale));
        let (integer, fraction) = digits.split_at_checked(point).unwrap_or((&digits, ""));
        write_plain(groups.negative, integer, fraction, out);
        Ok(())
    }
}

fn digit_bytes(digits: u8) -> usize {
    DIGIT_BYTES
        .get(usize::from(digits))
        .map_or(4, |bytes| usize::from(*bytes))
}

fn power_of_ten(digits: u8) -> u32 {
    10_u32.pow(u32::from(digits.min(GROUP_DIGITS)))
}

/// Digit groups of one packed value.
struct Groups<'a> {
    bytes: ByteReader<'a>,
    /// All ones for negative numbers.
    mask: u32,
    negative: bool,
    /// The flipped bit of the first byte is still ahead.
    first: bool,
}

impl<'a> Groups<'a> {
    #[inline]
    fn new(reader: &mut ByteReader<'a>, shape: PackedDecimal) -> Result<Self, DecodeError> {
        let bytes = reader.take(shape.length())?;
        let negative = bytes.first().is_some_and(|byte| byte & 0x80 == 0);
        let mask = if negative { u32::MAX } else { 0 };
        Ok(Self {
            bytes: ByteReader::new(bytes),
            mask,
            negative,
            first: true,
        })
    }

    #[inline]
    fn whole(&mut self) -> Result<u32, DecodeError> {
        let group = u32::from_be_bytes(self.bytes.array()?) ^ self.mask;
        self.check(group, 32, 1_000_000_000)
    }

    #[inline]
    fn partial(&mut self, digits: u8) -> Result<u32, DecodeError> {
        if digits == 0 {
            return Ok(0);
        }
        let width = digit_bytes(digits);
        let bits = 8 * u32::try_from(width).unwrap_or(4);
        let raw = u32::try_from(self.bytes.uint_be(width)?).unwrap_or(u32::MAX);
        self.check(
            (raw ^ self.mask) & (u32::MAX >> (32 - bits)),
            bits,
            power_of_ten(digits),
        )
    }

    /// Takes the flipped bit out of the first group and checks that the group has no more digits than it may.
    #[inline]
    fn check(&mut self, group: u32, bits: u32, limit: u32) -> Result<u32, DecodeError> {
        let group = if self.first {
            group ^ (1 << (bits - 1))
        } else {
            group
        };
        self.first = false;
        if group < limit {
            Ok(group)
        } else {
            Err(DecodeError::Invalid("a packed decimal has too many digits"))
        }
    }
}

fn push_digits(out: &mut String, group: u32, digits: u8) {
    let mut divisor = power_of_ten(digits);
    while divisor > 1 {
        let rest = group % divisor;
        divisor /= 10;
        let digit = u8::try_from(rest / divisor).unwrap_or(9);
        out.push(char::from(b'0' + digit.min(9)));
    }
}

/// Writes a number without superfluous zeros in front and without a sign on zero.
fn write_plain(negative: bool, integer: &str, fraction: &str, out: &mut String) {
    let is_zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    if negative && !(is_zero(integer) && is_zero(fraction)) {
        out.push('-');
    }
    let integer = integer.trim_start_matches('0');
    out.push_str(if integer.is_empty() { "0" } else { integer });
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
}

/// Reads the text of a DECIMAL with `scale` digits behind the point as an unscaled value.
#[inline]
pub(crate) fn parse_decimal(text: &[u8], scale: u8) -> Result<i128, DecodeError> {
    let bad = DecodeError::Invalid("text is not a decimal of the column's precision");
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    let mut number: i128 = 0;
    let mut fraction: Option<u8> = None;
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                let next = number
                    .checked_mul(10)
                    .and_then(|n| n.checked_add(i128::from(byte - b'0')));
                number = next.ok_or(bad)?;
                fraction = fraction.map(|count| count.saturating_add(1));
            }
            b'.' if fraction.is_none() => fraction = Some(0),
            _ => return Err(bad),
        }
    }
    let missing = scale.checked_sub(fraction.unwrap_or(0)).ok_or(bad)?;
    let factor = 10_i128.checked_pow(u32::from(missing)).ok_or(bad)?;
    number = number.checked_mul(factor).ok_or(bad)?;
    if digits.is_empty() {
        Err(bad)
    } else {
        Ok(if negative { -number } else { number })
    }
}

/// Copies the text of a DECIMAL, without the zeros that ZEROFILL puts in front.
pub(crate) fn normalise_decimal(text: &str, out: &mut String) {
    let (negative, digits) = text
        .strip_prefix('-')
        .map_or((false, text), |rest| (true, rest));
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    write_plain(negative, integer, fraction, out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// `decimal2bin`, written down a second time from its description.
    fn pack(negative: bool, integer: &str, fraction: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut push = |digits: &str| {
            let width = usize::from(DIGIT_BYTES[digits.len()]);
            let group: u32 = digits.parse().unwrap_or(0);
            bytes.extend_from_slice(&group.to_be_bytes()[4 - width..]);
        };
        let (head, groups) = integer.split_at(integer.len() % 9);
        push(head);
        groups
            .as_bytes()
            .chunks(9)
            .for_each(|g| push(std::str::from_utf8(g).unwrap()));
        fraction
            .as_bytes()
            .chunks(9)
            .for_each(|g| push(std::str::from_utf8(g).unwrap()));
        bytes[0] ^= 0x80;
        if negative {
            bytes.iter_mut().for_each(|byte| *byte = !*byte);
        }
        bytes
    }

    #[test]
    fn reads_the_example_of_the_manual() {
        // DECIMAL(14,4) 1234567890.1234, and the same negative.
        let bytes = [0x81, 0x0D, 0xFB, 0x38, 0xD2, 0x04, 0xD2];
        let shape = PackedDecimal::new(14, 4);
        assert_eq!(
            shape.read(&mut ByteReader::new(&bytes)),
            Ok(12_345_678_901_234)
        );
        let negative = [0x7E, 0xF2, 0x04, 0xC7, 0x2D, 0xFB, 0x2D];
        assert_eq!(
            shape.read(&mut ByteReader::new(&negative)),
            Ok(-12_345_678_901_234)
        );
    }

    #[rstest]
    #[case("12.30", 2, Ok(1230))]
    #[case("-0.01", 2, Ok(-1))]
    #[case("00012", 2, Ok(1200))]
    #[case("1.234", 2, Err(()))]
    #[case("1e5", 2, Err(()))]
    #[case("", 0, Err(()))]
    #[case("999999999999999999999999999999999999999999", 0, Err(()))]
    fn parses_text(#[case] text: &str, #[case] scale: u8, #[case] expected: Result<i128, ()>) {
        assert_eq!(
            parse_decimal(text.as_bytes(), scale).map_err(|_| ()),
            expected
        );
    }

    proptest! {
        #[test]
        fn packed_and_text_forms_agree(
            negative: bool, integer in "[0-9]{0,37}", fraction in "[0-9]{0,28}",
        ) {
            prop_assume!(!(integer.is_empty() && fraction.is_empty()));
            let (precision, scale) = (integer.len() + fraction.len(), fraction.len());
            let shape = PackedDecimal::new(precision as u8, scale as u8);
            let packed = pack(negative, &integer, &fraction);
            prop_assert_eq!(packed.len(), shape.length());
            let sign = if negative { "-" } else { "" };
            let (mut ours, mut theirs) = (String::new(), String::new());
            normalise_decimal(&format!("{sign}{integer}.{fraction}"), &mut theirs);
            shape.read_text(&mut ByteReader::new(&packed), &mut ours).unwrap();
            prop_assert_eq!(&ours, &theirs);
            if precision <= 38 {
                let number = shape.read(&mut ByteReader::new(&packed)).unwrap();
                prop_assert_eq!(number, parse_decimal(theirs.as_bytes(), scale as u8).unwrap());
            }
        }

        #[test]
        fn random_bytes_do_not_panic(bytes: [u8; 32], precision in 1_u8..=65, scale in 0_u8..=38) {
            let shape = PackedDecimal::new(precision, scale.min(precision));
            let _ = shape.read_text(&mut ByteReader::new(&bytes), &mut String::new());
            if precision <= 38 {
                let _ = shape.read(&mut ByteReader::new(&bytes));
            }
        }
    }
}
