//! Shows Hudi tables to DataFusion.
//!
//! From SQL down to files: a session, its tables (by location, or all of a lake), what a query sees of each, and the scan
//! that streams it. The crate knows nothing about how tables are written.

mod calls;
mod catalog;
mod changes;
mod error;
mod expressions;
pub mod inspect;
mod lake;
mod memory_pool;
mod pruning;
mod query_type;
mod scan;
mod session;
mod snapshot_scan;
mod table_provider;

pub use calls::table_functions;
pub use error::{Error, Result};
pub use expressions::RowExpressions;
pub use lake::{LakeTable, tables_of_lake};
pub use query_type::{QueryType, parse_time};
pub use session::{QuerySession, RowStream, ViewOptions};
pub use table_provider::LakebedTableProvider;
