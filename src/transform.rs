//! The expressions of a pipeline's transforms, compiled by the query engine.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use ingest::transform::{HIDDEN_KEY, RowTransform, TransformCompiler};
use ingest::{Error, ErrorKind, Result};
use query::RowExpressions;

/// Compiles SQL on DataFusion.
#[derive(Debug)]
pub(crate) struct SqlTransforms;

#[derive(Debug)]
struct SqlTransform(RowExpressions);

impl TransformCompiler for SqlTransforms {
    fn compile(
        &self,
        projection: Option<&str>,
        filter: Option<&str>,
        input: &SchemaRef,
    ) -> Result<Arc<dyn RowTransform>> {
        let compiled = RowExpressions::compile(projection, filter, input, HIDDEN_KEY);
        Ok(Arc::new(SqlTransform(compiled.map_err(invalid)?)))
    }
}

impl RowTransform for SqlTransform {
    fn schema(&self) -> &SchemaRef {
        self.0.schema()
    }

    fn apply(&self, rows: &RecordBatch) -> Result<(RecordBatch, Option<BooleanArray>)> {
        self.0.apply(rows).map_err(invalid)
    }
}

fn invalid(error: query::Error) -> Error {
    Error::new(ErrorKind::Invalid, error.to_string()).with_source(error)
}
