//! Typed configuration: string and value meet in one place.

pub mod key;
mod kind;
mod new_table;
mod table;

pub use kind::{KeyGeneratorType, MergeMode, TableType, TableVersion, TimelineZone};
pub use new_table::NewTable;
pub use table::TableConfig;
