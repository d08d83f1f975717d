//! Table schemas: Arrow to Avro and back, the meta columns, and how rows of an older schema are read.

pub mod adapt;
pub mod avro;
pub(crate) mod evolution;
pub mod meta;

pub use evolution::ColumnChange;
