//! Avro records to Arrow columns and back, column by column: no value tree per row, no map per row.
//!
//! The schema that decides is always the writer's: the one in the header of a log block or of a container file.

mod arrow_type;
pub(crate) mod cursor;
mod schema;

pub use arrow_type::arrow_schema;
pub use cursor::DecodeError;
pub use schema::{AvroField, AvroRecord, AvroSchema, AvroType, TimeUnit, decimal_fixed_size};
