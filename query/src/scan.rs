//! One partition of a scan: slices read one after the other, as a stream.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::{StreamExt, TryStreamExt};
use table_format::file_group::FileSlice;
use table_format::reader::ReadOptions;
use table_format::table::Snapshot;

use crate::error::external;

/// Reads its slices when the engine executes the partition.
#[derive(Debug)]
pub(crate) struct SliceScan {
    snapshot: Arc<Snapshot>,
    slices: Vec<FileSlice>,
    options: ReadOptions,
    schema: SchemaRef,
}

impl SliceScan {
    /// `schema` is that of the snapshot with the projection of `options`.
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        slices: Vec<FileSlice>,
        options: ReadOptions,
        schema: SchemaRef,
    ) -> Self {
        Self {
            snapshot,
            slices,
            options,
            schema,
        }
    }
}

impl PartitionStream for SliceScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (snapshot, options) = (Arc::clone(&self.snapshot), self.options.clone());
        let batches = futures::stream::iter(self.slices.clone())
            .then(move |slice| {
                let (snapshot, options) = (Arc::clone(&snapshot), options.clone());
                async move { snapshot.read_slice(&slice, &options).await }
            })
            .try_flatten()
            .map_err(external);
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            batches,
        ))
    }
}
