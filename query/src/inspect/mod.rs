//! What can be known of a table without reading its rows, and the versions of one row.

mod files;
mod history;
mod statistics;
mod timeline;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use table_format::table::Table;

use crate::error::Result;

pub use files::{FileFacts, FileKind, files};
pub use history::{RowVersion, history};
pub use statistics::{Sizes, TableStatistics, statistics};
pub use timeline::{InstantFacts, timeline};

/// `hudi_timeline`.
pub(crate) async fn timeline_provider(table: &Table) -> Result<Arc<dyn TableProvider>> {
    in_memory(timeline::to_batch(&timeline(table, true).await?)?)
}

/// `hudi_files`.
pub(crate) async fn files_provider(table: &Table) -> Result<Arc<dyn TableProvider>> {
    in_memory(files::to_batch(&files(table).await?)?)
}

fn in_memory(rows: RecordBatch) -> Result<Arc<dyn TableProvider>> {
    Ok(Arc::new(MemTable::try_new(
        rows.schema(),
        vec![vec![rows]],
    )?))
}
