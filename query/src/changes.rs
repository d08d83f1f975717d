//! Change data capture: what every commit of a window inserted, updated and deleted, with the rows before and after.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use table_format::env::MemoryBudget;
use table_format::reader::ReadOptions;
use table_format::table::{ChangeWindow, CommitChange};

use crate::error::external;

/// `i`, `u` or `d`, and the begin time of the commit, by names that no column of a table has.
const NAMES: [(&str, &str); 2] = [("op", "_change_operation"), ("ts_ms", "_change_instant")];

/// The changes of a window as a table: `_change_operation`, `_change_instant`, and the rows `before` and `after` without their
/// meta columns.
///
/// Commits come in the order in which they became visible. At most the changed rows of one file group are held, with its keys.
#[derive(Debug)]
pub(crate) struct ChangesProvider {
    window: Arc<ChangeWindow>,
    schema: SchemaRef,
    memory: MemoryBudget,
}

impl ChangesProvider {
    pub(crate) fn new(window: ChangeWindow, memory: MemoryBudget) -> Self {
        let changes = window.changes_schema();
        let fields = changes.fields().iter().map(|field| {
            let renamed = NAMES.iter().find(|(name, _)| field.name() == name);
            match renamed {
                Some((_, name)) => Arc::new(field.as_ref().clone().with_name(*name)),
                None => Arc::clone(field),
            }
        });
        let schema = Schema::new(fields.collect::<Vec<_>>());
        Self {
            window: Arc::new(window),
            schema: Arc::new(schema),
            memory,
        }
    }
}

#[async_trait]
impl TableProvider for ChangesProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scan: Arc<dyn PartitionStream> = Arc::new(ChangesScan {
            window: Arc::clone(&self.window),
            schema: Arc::clone(&self.schema),
            memory: self.memory.clone(),
        });
        let schema = Arc::clone(&self.schema);
        let plan = StreamingTableExec::try_new(schema, vec![scan], projection, None, false, limit);
        Ok(Arc::new(plan?))
    }
}

#[derive(Debug)]
struct ChangesScan {
    window: Arc<ChangeWindow>,
    schema: SchemaRef,
    memory: MemoryBudget,
}

impl PartitionStream for ChangesScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (window, options) = (
            Arc::clone(&self.window),
            ReadOptions::new(self.memory.clone()),
        );
        let schema = Arc::clone(&self.schema);
        let batches = futures::stream::iter(0..window.commits())
            .then(move |position| {
                let (window, options) = (Arc::clone(&window), options.clone());
                async move {
                    let commit = window.commit(position).await?;
                    Ok::<_, table_format::Error>(changes_of(Arc::new(commit), options))
                }
            })
            .try_flatten()
            .map_err(external)
            .and_then(move |changes| {
                let columns = changes.columns().to_vec();
                let batch = RecordBatch::try_new(Arc::clone(&schema), columns);
                std::future::ready(batch.map_err(Into::into))
            });
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            batches,
        ))
    }
}

/// The changes of one commit, a file group after the other.
fn changes_of(
    commit: Arc<CommitChange>,
    options: ReadOptions,
) -> BoxStream<'static, table_format::Result<RecordBatch>> {
    futures::stream::iter(commit.groups.clone())
        .then(move |group| {
            let (commit, options) = (Arc::clone(&commit), options.clone());
            async move { commit.read(&group, &options).await }
        })
        .try_flatten()
        .boxed()
}
