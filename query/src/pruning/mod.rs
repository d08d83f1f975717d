//! Filters to fewer files: partitions by their paths, file groups by the buckets of keys, row groups by footers, pages by page
//! indexes.
//!
//! What is left out is proven not to hold a wanted row; the engine filters what is left. A value whose order in files is not
//! certain (floating point, where NaN has none; columns that have changed their type) proves nothing.

mod bucket;
mod footer;
mod page;
mod partition;

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use table_format::config::TableConfig;
use table_format::file_group::FileSlice;
use table_format::reader::{BaseFileFilter, KeyBuckets};
use table_format::schema::meta::RECORD_KEY;

use footer::RowGroupPruner;

/// The filters of one scan, as what can be asked of statistics.
#[derive(Debug)]
pub(crate) struct ScanPruner {
    predicate: Arc<PruningPredicate>,
    /// The columns that the filters look at.
    columns: Vec<String>,
    /// The part of the filters that looks at the record key alone, with its columns.
    by_key: Option<(Arc<PruningPredicate>, Vec<String>)>,
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
        let Some((predicate, columns)) = predicate_of(filters, schema, session)? else {
            return Ok(None);
        };
        let mut keys = config.record_key_fields();
        keys.push(RECORD_KEY.to_owned());
        let looks_at_keys = |filter: &&Expr| {
            let columns = filter.column_refs();
            !columns.is_empty() && columns.iter().all(|column| keys.contains(&column.name))
        };
        let of_keys: Vec<Expr> = filters.iter().filter(looks_at_keys).cloned().collect();
        Ok(Some(Self {
            predicate,
            columns,
            by_key: predicate_of(&of_keys, schema, session)?,
            config: config.clone(),
        }))
    }

    /// The slices whose partitions and buckets may hold wanted rows.
    pub(crate) fn slices(&self, slices: &[FileSlice]) -> Vec<FileSlice> {
        let statistics =
            partition::PartitionStatistics::new(&self.config, self.predicate.schema(), slices);
        let keep = prune(&self.predicate, &statistics);
        let buckets = bucket::wanted_buckets(&self.predicate, &self.config);
        let is_wanted = |slice: &FileSlice| {
            let buckets = buckets.as_ref();
            buckets.is_none_or(|buckets| KeyBuckets::may_hold(slice, buckets))
        };
        let kept = slices.iter().zip(keep).filter(|(_, keep)| *keep);
        let kept = kept.map(|(slice, _)| slice);
        kept.filter(|slice| is_wanted(slice)).cloned().collect()
    }

    /// What picks row groups of base files.
    pub(crate) fn row_groups(&self) -> Arc<dyn BaseFileFilter> {
        let pruner = |predicate: &Arc<PruningPredicate>, columns: &[String]| {
            RowGroupPruner::new(Arc::clone(predicate), columns.to_vec(), &self.config)
        };
        let by_key = self.by_key.as_ref();
        let by_key = by_key.map(|(predicate, columns)| pruner(predicate, columns));
        Arc::new(pruner(&self.predicate, &self.columns).with_keys(by_key))
    }
}

/// What can be asked of statistics for filters that must all hold, and the columns that they look at.
fn predicate_of(
    filters: &[Expr],
    schema: &SchemaRef,
    session: &dyn Session,
) -> Result<Option<(Arc<PruningPredicate>, Vec<String>)>> {
    let Some(filter) = conjunction(filters.iter().cloned()) else {
        return Ok(None);
    };
    let columns: BTreeSet<String> = filter
        .column_refs()
        .into_iter()
        .map(|column| column.name.clone())
        .collect();
    let of_schema = DFSchema::try_from(Arc::clone(schema))?;
    let expression = session.create_physical_expr(filter, &of_schema)?;
    let predicate = PruningPredicateBuilder::new()
        .with_file_schema(Arc::clone(schema))
        .build(expression);
    Ok(predicate.map(|predicate| (predicate, columns.into_iter().collect())))
}

/// Whether each container may hold a wanted row. What the engine cannot evaluate proves nothing.
fn prune(predicate: &PruningPredicate, statistics: &dyn PruningStatistics) -> Vec<bool> {
    predicate.prune(statistics).unwrap_or_else(|error| {
        tracing::debug!(%error, "statistics are not used");
        vec![true; statistics.num_containers()]
    })
}

/// A value of a key column as it stands in record keys; `None` where that is not certain.
fn key_text(value: &ScalarValue) -> Option<String> {
    match value {
        ScalarValue::Int32(Some(value)) => Some(value.to_string()),
        ScalarValue::Int64(Some(value)) => Some(value.to_string()),
        ScalarValue::Utf8(Some(value)) | ScalarValue::Utf8View(Some(value)) => Some(value.clone()),
        _ => None,
    }
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
