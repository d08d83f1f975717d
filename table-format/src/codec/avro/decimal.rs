//! Decimals as Avro holds them: the unscaled value in two's complement, most significant byte first.
//!
//! Spec: Avro 1.12, "Decimal".

const WIDTH: usize = size_of::<i128>();

/// The unscaled value of any number of bytes; `None` when there are none or it needs more than 128 bits.
pub(crate) fn decimal_from_bytes(bytes: &[u8]) -> Option<i128> {
    let sign = if bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    let (head, tail) = bytes.split_at(bytes.len().saturating_sub(WIDTH));
    let mut wide = [sign; WIDTH];
    wide.get_mut(WIDTH - tail.len()..)?.copy_from_slice(tail);
    let value = i128::from_be_bytes(wide);
    let fits = head.iter().all(|byte| *byte == sign) && (value < 0) == (sign == 0xff);
    fits.then_some(value)
}

/// Appends the value in `size` bytes; false, and nothing appended, when it does not fit.
#[must_use]
pub(crate) fn put_decimal_fixed(value: i128, size: usize, out: &mut Vec<u8>) -> bool {
    if size < length(value) {
        return false;
    }
    let sign = if value < 0 { 0xff } else { 0 };
    let bytes = value.to_be_bytes();
    out.extend(std::iter::repeat_n(sign, size.saturating_sub(WIDTH)));
    out.extend_from_slice(bytes.get(WIDTH.saturating_sub(size)..).unwrap_or(&bytes));
    true
}

/// Appends the value in the fewest bytes (at least one), as Java's `BigInteger#toByteArray` does.
pub(crate) fn put_decimal_shortest(value: i128, out: &mut Vec<u8>) {
    let length = length(value);
    super::cursor::put_length(length, out);
    let bytes = value.to_be_bytes();
    out.extend_from_slice(bytes.get(WIDTH - length..).unwrap_or(&bytes));
}

/// The fewest bytes that hold the value with its sign.
fn length(value: i128) -> usize {
    let magnitude = if value < 0 { !value } else { value };
    let bits = i128::BITS - magnitude.leading_zeros() + 1;
    bits.div_ceil(8) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn values_round_trip(value in any::<i128>(), shift in 0_u32..127, extra in 0_usize..4) {
            let value = value >> shift;
            let mut fixed = Vec::new();
            assert!(put_decimal_fixed(value, length(value) + extra, &mut fixed));
            assert_eq!(fixed.len(), length(value) + extra);
            assert_eq!(decimal_from_bytes(&fixed), Some(value));
            assert!(!put_decimal_fixed(value, length(value) - 1, &mut fixed));
        }
    }

    #[test]
    fn the_shortest_form_is_that_of_java() {
        for (value, bytes) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0, 0x80]),
            (-128, &[0x80]),
            (-129, &[0xff, 0x7f]),
            (10_i128.pow(15), &[0x03, 0x8d, 0x7e, 0xa4, 0xc6, 0x80, 0]),
        ] {
            let mut out = Vec::new();
            put_decimal_shortest(value, &mut out);
            assert_eq!(&out[1..], bytes, "{value}");
        }
    }

    #[test]
    fn values_beyond_128_bits_are_refused() {
        let mut bytes = vec![0x01];
        bytes.extend([0; 16]);
        assert_eq!(decimal_from_bytes(&bytes), None);
        let mut bytes = vec![0x00, 0x80];
        bytes.extend([0; 15]);
        assert_eq!(decimal_from_bytes(&bytes), None);
        assert_eq!(decimal_from_bytes(&[]), None);
    }
}
