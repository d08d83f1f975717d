//! Shows Hudi tables to DataFusion.
//!
//! From SQL down to files: a session, its tables (by location, or all of a lake), what a query sees of each, and the scan
//! that streams it. The crate knows nothing about how tables are written.

mod error;
mod lake;
mod pruning;
mod query_type;
mod scan;
mod session;
mod table_provider;

pub use error::{Error, Result};
pub use lake::{LakeTable, tables_of_lake};
pub use query_type::{QueryType, parse_time};
pub use session::{QuerySession, RowStream, ViewOptions};
pub use table_provider::LakebedTableProvider;
