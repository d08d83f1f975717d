//! The scan of a snapshot in a plan: the engine's streaming scan, with an estimate of its size for the planner.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::streaming::StreamingTableExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
    SendableRecordBatchStream,
};

/// What a scan reads, as far as it is known before.
#[derive(Debug, Clone)]
pub(crate) struct ScanSize {
    /// The table's name.
    pub(crate) table: String,
    /// File slices.
    pub(crate) slices: usize,
    /// Bytes of their files, in the share of the columns that are read.
    pub(crate) bytes: u64,
}

/// Joins build on the smaller side, which the estimate tells.
#[derive(Debug)]
pub(crate) struct SnapshotScan {
    stream: Arc<StreamingTableExec>,
    size: ScanSize,
}

impl SnapshotScan {
    pub(crate) fn new(stream: StreamingTableExec, size: ScanSize) -> Self {
        Self {
            stream: Arc::new(stream),
            size,
        }
    }
}

impl DisplayAs for SnapshotScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScanSize {
            table,
            slices,
            bytes,
        } = &self.size;
        write!(f, "HudiScan: table={table}, slices={slices}, bytes={bytes}")?;
        match self.stream.fetch() {
            Some(rows) => write!(f, ", fetch={rows}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for SnapshotScan {
    fn name(&self) -> &'static str {
        "HudiScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.stream.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.stream.execute(partition, context)
    }

    fn fetch(&self) -> Option<usize> {
        self.stream.fetch()
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let stream = self.stream.with_fetch(limit)?;
        let stream = stream.downcast_ref::<StreamingTableExec>()?.clone();
        Some(Arc::new(Self::new(stream, self.size.clone())))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if partition.is_none() {
            let bytes = usize::try_from(self.size.bytes).unwrap_or(usize::MAX);
            statistics.total_byte_size = Precision::Inexact(bytes);
        }
        Ok(Arc::new(statistics))
    }
}
