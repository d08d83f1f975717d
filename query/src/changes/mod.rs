//! Change data capture: what every commit of a window inserted, updated and deleted, with the rows before and after.

mod diff;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray, StructArray, new_null_array};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use table_format::env::MemoryBudget;
use table_format::schema::meta::is_meta_column;
use table_format::table::{ChangeWindow, CommitChange};

use crate::error::external;
use diff::{Changed, GroupDiff};

/// `i`, `u` or `d`.
const OPERATION: &str = "_change_operation";
/// Begin time of the commit.
const INSTANT: &str = "_change_instant";
/// The row before; null for an insert.
const BEFORE: &str = "before";
/// The row after; null for a delete.
const AFTER: &str = "after";

/// The changes of a window as a table: operation, instant, and the rows before and after without their meta columns.
///
/// Commits come in the order in which they became visible. At most the changed rows of one file group are held, with a
/// digest of each of its keys.
#[derive(Debug)]
pub(crate) struct ChangesProvider {
    window: Arc<ChangeWindow>,
    schema: SchemaRef,
    memory: MemoryBudget,
}

impl ChangesProvider {
    pub(crate) fn new(window: ChangeWindow, memory: MemoryBudget) -> Self {
        let image = image_type(window.schema());
        let schema = Schema::new(vec![
            Field::new(OPERATION, DataType::Utf8, false),
            Field::new(INSTANT, DataType::Utf8, false),
            Field::new(BEFORE, image.clone(), true),
            Field::new(AFTER, image, true),
        ]);
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
        let (window, memory) = (Arc::clone(&self.window), self.memory.clone());
        let schema = Arc::clone(&self.schema);
        let batches = futures::stream::iter(0..window.commits())
            .then(move |position| {
                let (window, memory) = (Arc::clone(&window), memory.clone());
                async move {
                    let commit = window.commit(position).await.map_err(external)?;
                    Ok::<_, DataFusionError>(computed_changes(Arc::new(commit), memory))
                }
            })
            .try_flatten()
            .and_then(move |changed| futures::future::ready(to_batch(&schema, &changed)));
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            batches,
        ))
    }
}

/// The changes of one commit, from the slices before and after it.
fn computed_changes(
    commit: Arc<CommitChange>,
    memory: MemoryBudget,
) -> BoxStream<'static, Result<Changed>> {
    let groups = 0..commit.groups.len();
    futures::stream::iter(groups)
        .then(move |position| GroupDiff::open(Arc::clone(&commit), position, memory.clone()))
        .map_ok(GroupDiff::into_stream)
        .try_flatten()
        .map_err(external)
        .boxed()
}

/// Images have the table's columns; all may be null, as an image itself may be.
fn image_type(schema: &Schema) -> DataType {
    let columns = schema.fields().iter();
    let columns = columns.filter(|field| !is_meta_column(field.name()));
    DataType::Struct(
        columns
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect::<Fields>(),
    )
}

fn to_batch(schema: &SchemaRef, changed: &Changed) -> Result<RecordBatch> {
    let image = |name: &str, rows: Option<&RecordBatch>| -> Result<ArrayRef> {
        let data_type = schema.field_with_name(name)?.data_type();
        let (Some(rows), DataType::Struct(fields)) = (rows, data_type) else {
            return Ok(new_null_array(data_type, changed.rows()));
        };
        let columns: Option<Vec<ArrayRef>> = fields
            .iter()
            .map(|field| rows.column_by_name(field.name()).cloned())
            .collect();
        let columns = columns
            .ok_or_else(|| DataFusionError::Internal("an image lacks a column".to_owned()))?;
        let nulls: Option<NullBuffer> = None;
        let length = rows.num_rows();
        let image = StructArray::try_new_with_length(fields.clone(), columns, nulls, length)?;
        Ok(Arc::new(image))
    };
    let repeated = |text: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            text,
            changed.rows(),
        )))
    };
    let columns = vec![
        repeated(changed.operation()),
        repeated(changed.instant.as_str()),
        image(BEFORE, changed.before.as_ref())?,
        image(AFTER, changed.after.as_ref())?,
    ];
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
