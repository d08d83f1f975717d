//! Bytes to values and back: no IO, no async, no trust in what comes from outside.

pub mod avro;
pub mod bloom;
pub mod delete_record;
pub mod log_block;
pub mod object_container;
pub mod properties;
