//! Records on their way into a table: keys, partitions and what happened to them.

pub(crate) mod delete_mark;
pub mod key_generator;
pub mod partition_path;
mod text;
mod time_partition;
mod time_pattern;

use arrow::array::RecordBatch;

pub use key_generator::KeyGenerator;
pub use partition_path::PartitionPathGenerator;
pub(crate) use text::text_of;

/// What happened to a row, in the order of change streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowKind {
    /// A new row, or a row of a snapshot.
    Insert,
    /// The image before an update.
    UpdateBefore,
    /// The image after an update.
    UpdateAfter,
    /// The row is gone; only key, partition and ordering columns need to hold values.
    Delete,
}

/// Rows for one table in the order in which they happened, with what happened to each.
#[derive(Debug, Clone)]
pub struct WriteBatch {
    /// Columns of the table without the meta columns, in the table's order.
    pub records: RecordBatch,
    /// One per row.
    pub kinds: Vec<RowKind>,
}
