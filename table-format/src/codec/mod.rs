//! Bytes to values and back: no IO, no async, no trust in what comes from outside.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

pub mod avro;
pub mod bloom;
pub mod container_rows;
pub mod delete_record;
pub mod log_block;
pub mod object_container;
pub mod properties;
