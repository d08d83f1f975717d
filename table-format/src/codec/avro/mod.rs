//! Avro records to Arrow columns and back, column by column: no value tree per row, no map per row.
//!
//! The schema that decides is always the writer's: the one in the header of a log block or of a container file.

mod arrow_type;
mod column_decoder;
mod column_encoder;
pub(crate) mod cursor;
pub(crate) mod decimal;
mod decoder;
mod encoder;
mod schema;
mod schema_parser;
mod skip;

pub use arrow_type::arrow_schema;
pub use cursor::DecodeError;
pub use decoder::RecordDecoder;
pub use encoder::{BoundEncoder, RecordEncoder};
pub use schema::{AvroField, AvroRecord, AvroSchema, AvroType, TimeUnit, decimal_fixed_size};

#[cfg(test)]
mod tests;
