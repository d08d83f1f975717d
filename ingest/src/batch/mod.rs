//! Rows of a source to Arrow batches: decoders write straight into typed column builders.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

mod binary_row;
mod builder;
mod byte_reader;
mod column_builder;
mod decimal;
mod decode_error;
mod json_text;
mod origin;
mod temporal;

pub use builder::BatchBuilder;
pub(crate) use builder::column_error;
pub(crate) use byte_reader::ByteReader;
pub(crate) use column_builder::ColumnBuilder;
pub(crate) use decimal::PackedDecimal;
pub use decode_error::DecodeError;
pub use origin::HIDDEN_KEY;
pub(crate) use origin::{OP_TYPE, ORIGIN_COLUMNS, ROW, RowOrigin, with_origin_columns};
pub(crate) use temporal::{TimeOfDay, TimeText, date_days, timestamp_micros};
