//! Filters to fewer files: partitions by their paths, row groups by footers.
//!
//! What is left out is proven not to hold a wanted row; the engine filters what is left. A value whose order in files is not
//! certain (floating point, where NaN has none; columns that have changed their type) proves nothing.

mod footer;
mod partition;

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::common::pruning::PruningStatistics;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use table_format::config::TableConfig;
use table_format::file_group::FileSlice;
use table_format::reader::BaseFileFilter;

use footer::RowGroupPruner;

/// The filters of one scan, as what can be asked of statistics.
#[derive(Debug)]
pub(crate) struct ScanPruner {
    predicate: Arc<PruningPredicate>,
    config: TableConfig,
}

impl ScanPruner {
    /// `None` when nothing can be proven by these filters.
    ///
    /// # Errors
    /// When a filter does not fit the schema.
    pub(crate) fn try_new(
        filters: &[Expr],
        schema: &SchemaRef,
        config: &TableConfig,
        session: &dyn Session,
    ) -> Result<Option<Self>> {
        let Some(filter) = conjunction(filters.iter().cloned()) else {
            return Ok(None);
        };
        let columns = DFSchema::try_from(Arc::clone(schema))?;
        let expression = session.create_physical_expr(filter, &columns)?;
        let predicate = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(schema))
            .build(expression);
        Ok(predicate.map(|predicate| Self {
            predicate,
            config: config.clone(),
        }))
    }

    /// The slices whose partitions may hold wanted rows.
    pub(crate) fn slices(&self, slices: &[FileSlice]) -> Vec<FileSlice> {
        let statistics =
            partition::PartitionStatistics::new(&self.config, self.predicate.schema(), slices);
        let keep = prune(&self.predicate, &statistics);
        let kept = slices.iter().zip(keep).filter(|(_, keep)| *keep);
        kept.map(|(slice, _)| slice.clone()).collect()
    }

    /// What picks row groups of base files.
    pub(crate) fn row_groups(&self) -> Arc<dyn BaseFileFilter> {
        Arc::new(RowGroupPruner::new(
            Arc::clone(&self.predicate),
            &self.config,
        ))
    }
}

/// Whether each container may hold a wanted row. What the engine cannot evaluate proves nothing.
fn prune(predicate: &PruningPredicate, statistics: &dyn PruningStatistics) -> Vec<bool> {
    predicate.prune(statistics).unwrap_or_else(|error| {
        tracing::debug!(%error, "statistics are not used");
        vec![true; statistics.num_containers()]
    })
}

/// Whether values of this type compare in files as they do in the engine.
fn is_ordered(data_type: &DataType) -> bool {
    !matches!(
        data_type,
        DataType::Float16 | DataType::Float32 | DataType::Float64
    )
}

#[cfg(test)]
mod tests;
