//! Positions on a Z-order curve: the bits of the columns' values, taken in turn.
//!
//! Each value becomes eight bytes that compare as the values do; then comes the first bit of the first column, the first of
//! the second, and so on. Java: ZOrderingUtil, SpaceCurveSortingHelper. Short texts are filled up at their end, so that they
//! keep their order; Hudi fills them up at the front.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};

use crate::error::{Error, Result};

const IMAGE_BYTES: usize = 8;
const IMAGE_BITS: usize = 8 * IMAGE_BYTES;
/// Nulls come last.
const NULL_IMAGE: u64 = u64::MAX;

/// How the values of a column become images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    Float,
    Bytes,
}

/// Columns that span a curve.
#[derive(Debug)]
pub(super) struct ZOrder(Vec<Kind>);

/// The type of positions among so many columns.
pub(super) fn data_type(columns: usize) -> DataType {
    DataType::FixedSizeBinary(i32::try_from(columns * IMAGE_BYTES).unwrap_or(i32::MAX))
}

impl ZOrder {
    /// # Errors
    /// `Unsupported` for a column whose values have no image.
    pub(super) fn try_new<'a>(fields: impl Iterator<Item = &'a Field>) -> Result<Self> {
        let kinds = fields.map(|field| {
            kind_of(field.data_type()).ok_or_else(|| {
                Error::unsupported(format!(
                    "column `{}` of type {} cannot be laid out in Z-order",
                    field.name(),
                    field.data_type()
                ))
            })
        });
        kinds.collect::<Result<_>>().map(Self)
    }

    /// The positions of rows on the curve.
    pub(super) fn interleave(&self, columns: &[ArrayRef]) -> Result<ArrayRef> {
        let images = self
            .0
            .iter()
            .zip(columns)
            .map(|(kind, column)| images(*kind, column));
        let images: Vec<Vec<u64>> = images.collect::<Result<_>>()?;
        let rows = columns.first().map_or(0, |column| column.len());
        let mut positions = vec![0; rows * columns.len() * IMAGE_BYTES];
        for (row, position) in positions
            .chunks_exact_mut(columns.len() * IMAGE_BYTES)
            .enumerate()
        {
            interleave_row(images.iter().map(|column| column[row]), position);
        }
        let size = i32::try_from(columns.len() * IMAGE_BYTES)
            .map_err(|_| Error::invalid("too many sort columns"))?;
        let array = FixedSizeBinaryArray::try_new(size, positions.into(), None)?;
        Ok(Arc::new(array))
    }
}

/// Sets the bits of `position`, which is all zeros, in turn from each image.
fn interleave_row(images: impl ExactSizeIterator<Item = u64>, position: &mut [u8]) {
    let columns = images.len();
    for (column, image) in images.enumerate() {
        for bit in 0..IMAGE_BITS {
            if image >> (IMAGE_BITS - 1 - bit) & 1 == 1 {
                let place = bit * columns + column;
                position[place / 8] |= 1 << (7 - place % 8);
            }
        }
    }
}

fn kind_of(data_type: &DataType) -> Option<Kind> {
    Some(match data_type {
        DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) => Kind::Float,
        DataType::Utf8 | DataType::Binary => Kind::Bytes,
        DataType::Boolean
        | DataType::Date32
        | DataType::Timestamp(..)
        | DataType::Time32(_)
        | DataType::Time64(_) => Kind::Integer,
        other if other.is_integer() => Kind::Integer,
        _ => return None,
    })
}

/// Numbers that compare as the values do.
fn images(kind: Kind, column: &ArrayRef) -> Result<Vec<u64>> {
    let images: Vec<u64> = match kind {
        Kind::Integer => {
            let column = cast(&integers(column)?, &DataType::Int64)?;
            let values = column.as_primitive::<Int64Type>().iter();
            values
                .map(|value| value.map_or(NULL_IMAGE, of_integer))
                .collect()
        }
        Kind::Float => {
            let column = cast(column, &DataType::Float64)?;
            let values = column.as_primitive::<Float64Type>().iter();
            values
                .map(|value| value.map_or(NULL_IMAGE, of_float))
                .collect()
        }
        Kind::Bytes => {
            let column = cast(column, &DataType::Binary)?;
            let values = column.as_binary::<i32>().iter();
            values
                .map(|value| value.map_or(NULL_IMAGE, of_bytes))
                .collect()
        }
    };
    Ok(images)
}

/// Days and times of day become 64-bit numbers by way of their own width only.
fn integers(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::Date32 | DataType::Time32(_) => cast(column, &DataType::Int32)?,
        _ => Arc::clone(column),
    })
}

fn of_integer(value: i64) -> u64 {
    value.cast_unsigned() ^ (1 << 63)
}

/// Negative numbers have all bits turned, the others the sign.
fn of_float(value: f64) -> u64 {
    let bits = value.to_bits();
    if value.is_sign_negative() {
        !bits
    } else {
        bits ^ (1 << 63)
    }
}

fn of_bytes(value: &[u8]) -> u64 {
    let mut image = [0; IMAGE_BYTES];
    for (to, from) in image.iter_mut().zip(value) {
        *to = *from;
    }
    u64::from_be_bytes(image)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Decimal128Array, Float32Array, Int32Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn position(images: &[u64]) -> Vec<u8> {
        let mut position = vec![0; images.len() * IMAGE_BYTES];
        interleave_row(images.iter().copied(), &mut position);
        position
    }

    #[test]
    fn bits_come_in_turn() {
        let first = position(&[0xFF00_0000_0000_0000, 0]);
        assert_eq!(first[..3], [0b1010_1010, 0b1010_1010, 0]);
        let second = position(&[0, 0x8000_0000_0000_0001]);
        assert_eq!((second[0], second[15]), (0b0100_0000, 1));
        let three = position(&[0, 0, u64::MAX]);
        assert_eq!(three[..3], [0b0010_0100, 0b1001_0010, 0b0100_1001]);
        assert_eq!(
            position(&[0x0123_4567_89AB_CDEF]),
            [1, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF]
        );
    }

    /// The images of a column must ascend.
    #[allow(clippy::needless_pass_by_value, reason = "columns made for the call")]
    fn assert_ascends(column: ArrayRef) {
        let kind = kind_of(column.data_type()).unwrap();
        let images = images(kind, &column).unwrap();
        assert!(images.is_sorted(), "{} {images:x?}", column.data_type());
        let distinct: std::collections::BTreeSet<_> = images.iter().collect();
        assert_eq!(distinct.len(), images.len(), "{}", column.data_type());
    }

    #[test]
    fn images_compare_as_the_values_do() {
        assert_ascends(Arc::new(Int32Array::from(vec![
            Some(i32::MIN),
            Some(-1),
            Some(0),
            Some(7),
            None,
        ])));
        assert_ascends(Arc::new(Date32Array::from(vec![-1, 0, 20_000])));
        assert_ascends(Arc::new(Float32Array::from(vec![
            f32::NEG_INFINITY,
            -2.5,
            -0.1,
            0.0,
            1e-9,
            3.0,
        ])));
        assert_ascends(Arc::new(StringArray::from(vec![
            "", "a", "aa", "ab", "b", "ü",
        ])));
        let decimals = Decimal128Array::from(vec![-500, -1, 0, 250]);
        assert_ascends(Arc::new(decimals.with_precision_and_scale(10, 2).unwrap()));
    }

    proptest! {
        #[test]
        fn a_row_that_is_less_in_all_columns_comes_first(a in any::<[i64; 3]>(), b in any::<[i64; 3]>()) {
            let low: Vec<u64> = (0..3).map(|column| of_integer(a[column].min(b[column]))).collect();
            let high: Vec<u64> = (0..3).map(|column| of_integer(a[column].max(b[column]))).collect();
            prop_assert!(position(&low) <= position(&high));
        }
    }
}
