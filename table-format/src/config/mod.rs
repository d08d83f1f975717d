//! Typed configuration: string and value meet in one place.

mod index;
pub mod key;
mod kind;
mod lock;
mod new_table;
mod table;
mod version_change;

pub(crate) use index::{BucketConfig, IndexConfig, IndexType, kept_settings};
pub use kind::{ColumnMerge, KeyGeneratorType, MergeMode, TableType, TableVersion, TimelineZone};
pub use lock::LockSettings;
pub(crate) use lock::{LockPatience, LockProviderKind};
pub use new_table::NewTable;
pub use table::TableConfig;
