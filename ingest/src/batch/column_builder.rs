//! Typed builders for lake columns: decoders append to them without a value type in between.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
    Float64Builder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, TimeUnit};

use super::DecodeError;
use crate::error::{Error, Result};

/// Longest text or binary column of a batch: offsets are 32 bits wide.
const VARIABLE_BYTES_MAX: usize = i32::MAX as usize;

/// The values of one lake column so far.
#[derive(Debug)]
pub(crate) enum ColumnBuilder {
    Boolean(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Binary(BinaryBuilder),
}

impl ColumnBuilder {
    pub(crate) fn try_new(data_type: &DataType) -> Result<Self> {
        let builder = match data_type {
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Int32 => Self::Int32(Int32Builder::new()),
            DataType::Int64 => Self::Int64(Int64Builder::new()),
            DataType::Float32 => Self::Float32(Float32Builder::new()),
            DataType::Float64 => Self::Float64(Float64Builder::new()),
            DataType::Decimal128(_, _) => {
                Self::Decimal(Decimal128Builder::new().with_data_type(data_type.clone()))
            }
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Self::Timestamp(
                TimestampMicrosecondBuilder::new().with_data_type(data_type.clone()),
            ),
            DataType::Utf8 => Self::Text(StringBuilder::new()),
            DataType::Binary => Self::Binary(BinaryBuilder::new()),
            other => return Err(Error::internal(format!("no column builder for {other}"))),
        };
        Ok(builder)
    }

    /// Bytes that a row takes at least, whatever its value.
    pub(crate) fn fixed_bytes(&self) -> u64 {
        match self {
            Self::Boolean(_) => 1,
            Self::Int32(_) | Self::Float32(_) | Self::Date(_) | Self::Text(_) | Self::Binary(_) => {
                4
            }
            Self::Int64(_) | Self::Float64(_) | Self::Timestamp(_) => 8,
            Self::Decimal(_) => 16,
        }
    }

    pub(crate) fn append_null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::Int32(builder) => builder.append_null(),
            Self::Int64(builder) => builder.append_null(),
            Self::Float32(builder) => builder.append_null(),
            Self::Float64(builder) => builder.append_null(),
            Self::Decimal(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
            Self::Binary(builder) => builder.append_null(),
        }
    }

    #[inline]
    pub(crate) fn append_bool(&mut self, value: bool) -> Result<(), DecodeError> {
        let Self::Boolean(builder) = self else {
            return Err(DecodeError::WrongColumn);
        };
        builder.append_value(value);
        Ok(())
    }

    #[inline]
    pub(crate) fn append_i32(&mut self, value: i32) -> Result<(), DecodeError> {
        let Self::Int32(builder) = self else {
            return Err(DecodeError::WrongColumn);
        };
        builder.append_value(value);
        Ok(())
    }

    #[inline]
    pub(crate) fn append_i64(&mut self, value: i64) -> Result<(), DecodeError> {
        let Self::Int64(builder) = self else {
            return Err(DecodeError::WrongColumn);
        };
        builder.append_value(value);
        Ok(())
    }

    #[inline]
    pub(crate) fn append_f32(&mut self, value: f32) -> Result<(), DecodeError> {
        let Self::Float32(builder) = self else {
            return Err(DecodeError::WrongColumn);
        };
        builder.append_value(value);
        Ok(())
    }

    #[inline]
    pub(crate) fn append_f64(&mut self, value: f64) -> Result<(), DecodeError> {
        let Self::Float64(builder) = self else {
            return Err(DecodeError::WrongColumn);
        };
        builder.append_value(value);
        Ok(())
    }

    #[inline]
    pub(crate) fn append_decimal(&mut self, unscaled: i128) -> Result<(), DecodeError> {
        let Self::Decimal(builder) = self else {
            return Err(DecodeError::WrongColumn);
        };
        builder.append_value(unscaled);
        Ok(())
    }

    /// `None`, a zero or partial date, becomes null.
    #[inline]
    pub(crate) fn append_date(&mut self, days: Option<i32>) -> Result<(), DecodeError> {
        let Self::Date(builder) = self else {
            return Err(DecodeError::WrongColumn);
        };
        builder.append_option(days);
        Ok(())
    }

    /// `None`, a zero or partial date, becomes null.
    #[inline]
    pub(crate) fn append_timestamp(&mut self, micros: Option<i64>) -> Result<(), DecodeError> {
        let Self::Timestamp(builder) = self else {
            return Err(DecodeError::WrongColumn);
        };
        builder.append_option(micros);
        Ok(())
    }

    #[inline]
    pub(crate) fn append_text(&mut self, text: &str) -> Result<(), DecodeError> {
        let Self::Text(builder) = self else {
            return Err(DecodeError::WrongColumn);
        };
        if text.len() > VARIABLE_BYTES_MAX - builder.values_slice().len() {
            return Err(DecodeError::ColumnFull);
        }
        builder.append_value(text);
        Ok(())
    }

    #[inline]
    pub(crate) fn append_bytes(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let Self::Binary(builder) = self else {
            return Err(DecodeError::WrongColumn);
        };
        if bytes.len() > VARIABLE_BYTES_MAX - builder.values_slice().len() {
            return Err(DecodeError::ColumnFull);
        }
        builder.append_value(bytes);
        Ok(())
    }

    /// Hands the values over and starts anew.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Int32(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::Float32(builder) => Arc::new(builder.finish()),
            Self::Float64(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Binary(builder) => Arc::new(builder.finish()),
        }
    }
}
