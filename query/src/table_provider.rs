//! A snapshot of a table as a table of DataFusion's.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use table_format::env::MemoryBudget;
use table_format::file_group::FileSlice;
use table_format::reader::ReadOptions;
use table_format::table::Snapshot;

use crate::pruning::ScanPruner;
use crate::scan::SliceScan;
use crate::snapshot_scan::{ScanSize, SnapshotScan};

/// The rows that one query sees of a table; what others write meanwhile does not change them.
///
/// Columns are the table's after the five meta columns. Only the columns that a query needs are read; a limit ends the
/// scan early; filters leave out partitions, files, row groups and pages that cannot hold a wanted row.
#[derive(Debug)]
pub struct LakebedTableProvider {
    snapshot: Arc<Snapshot>,
    memory: MemoryBudget,
}

impl LakebedTableProvider {
    /// Shows a snapshot; merging draws on `memory`.
    pub fn new(snapshot: Snapshot, memory: MemoryBudget) -> Self {
        Self {
            snapshot: Arc::new(snapshot),
            memory,
        }
    }
}

#[async_trait]
impl TableProvider for LakebedTableProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.snapshot.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters leave files and row groups out; the engine applies them to what is left.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(projection) => Arc::new(self.snapshot.schema().project(projection)?),
            None => self.schema(),
        };
        let config = self.snapshot.config();
        let pruner = ScanPruner::try_new(filters, self.snapshot.schema(), config, state)?;
        let slices = match &pruner {
            Some(pruner) => pruner.slices(self.snapshot.slices()),
            None => self.snapshot.slices().to_vec(),
        };
        let options = ReadOptions {
            projection: projection.cloned(),
            batch_rows_max: state.config().batch_size(),
            filter: pruner.map(|pruner| pruner.row_groups()),
            ..ReadOptions::new(self.memory.clone())
        };
        let groups = balance(&slices, state.config().target_partitions());
        let partitions = groups
            .into_iter()
            .map(|slices| {
                let scan = SliceScan::new(
                    Arc::clone(&self.snapshot),
                    slices,
                    options.clone(),
                    Arc::clone(&schema),
                );
                Arc::new(scan) as Arc<dyn PartitionStream>
            })
            .collect();
        let columns = self.snapshot.schema().fields().len().max(1) as u64;
        let size = ScanSize {
            table: config.name().to_owned(),
            slices: slices.len(),
            bytes: slices.iter().map(size_bytes).sum::<u64>() / columns
                * schema.fields().len() as u64,
        };
        let stream = StreamingTableExec::try_new(schema, partitions, None, None, false, limit)?;
        Ok(Arc::new(SnapshotScan::new(stream, size)))
    }
}

/// Deals slices out to at most `groups_max` groups of about the same number of bytes; at least one group, maybe empty.
fn balance(slices: &[FileSlice], groups_max: usize) -> Vec<Vec<FileSlice>> {
    let count = slices.len().clamp(1, groups_max.max(1));
    let mut groups: Vec<(u64, Vec<FileSlice>)> = vec![(0, Vec::new()); count];
    let mut by_size: Vec<(u64, &FileSlice)> = slices
        .iter()
        .map(|slice| (size_bytes(slice), slice))
        .collect();
    by_size.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    for (bytes, slice) in by_size {
        if let Some((total, group)) = groups.iter_mut().min_by_key(|(total, _)| *total) {
            *total += bytes.max(1);
            group.push(slice.clone());
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn size_bytes(slice: &FileSlice) -> u64 {
    let base = slice.base_file.as_ref().map_or(0, |file| file.size_bytes);
    base + slice
        .log_files
        .iter()
        .map(|file| file.size_bytes)
        .sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_dealt_out_by_size() {
        let slice = |bytes: u64| {
            let name = format!("f{bytes}_0_1.parquet");
            let base_file = table_format::file_group::BaseFile::parse(&name, bytes).unwrap();
            FileSlice {
                partition_path: String::new(),
                file_id: base_file.file_id.clone(),
                base_instant: base_file.instant.clone(),
                base_file: Some(base_file),
                log_files: Vec::new(),
            }
        };
        let slices: Vec<_> = [1, 10, 5, 6].into_iter().map(slice).collect();
        let sizes = |groups: Vec<Vec<FileSlice>>| -> Vec<Vec<u64>> {
            groups
                .iter()
                .map(|group| group.iter().map(size_bytes).collect())
                .collect()
        };
        assert_eq!(sizes(balance(&slices, 2)), [vec![10, 1], vec![6, 5]]);
        assert_eq!(sizes(balance(&slices, 9)).len(), 4);
        assert_eq!(sizes(balance(&[], 4)), [Vec::<u64>::new()]);
    }
}
