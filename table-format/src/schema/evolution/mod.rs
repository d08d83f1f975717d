//! Columns that were renamed, dropped or changed without a rewrite of the files: Hudi's schema on read.
//!
//! Every column has an id that never changes, and the history of the table's schemas says how each id was called when a file
//! was written. A file or log block goes by the schema that was in force at its instant.

mod alter;
mod column;
mod convert;
mod history;
mod plain;
mod reconcile;
mod renames;
#[cfg(test)]
mod tests;
mod written;

pub use alter::ColumnChange;
pub(crate) use history::{Evolution, SchemaHistory};
pub(crate) use renames::Renames;
pub(crate) use written::WrittenSchema;
