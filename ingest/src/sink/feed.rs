//! The way of one source table's rows into a lake table: the columns that they have there, and which of them arrive.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use table_format::record::WriteBatch;

use crate::config::PipelineConfig;
use crate::error::Result;
use crate::schema::SourceTable;
use crate::transform::{TableTransform, TransformCompiler};

/// What feeds a lake table with the rows of one source table; several feed it when shards are merged.
#[derive(Debug)]
pub(crate) struct Feed {
    transform: Option<TableTransform>,
}

impl Feed {
    /// The feed of `source`, with the expressions that the pipeline file has for it.
    ///
    /// # Errors
    /// `Internal` when there is nobody to compile them.
    pub(crate) fn of(
        config: &PipelineConfig,
        compiler: Option<&Arc<dyn TransformCompiler>>,
        source: &SourceTable,
    ) -> Result<Self> {
        let transform = TableTransform::of(config, compiler, source)?;
        Ok(Self { transform })
    }

    /// The columns that rows of `source` come with.
    pub(crate) fn schema(&self, source: &SourceTable) -> Result<SchemaRef> {
        match &self.transform {
            Some(transform) => transform.schema(source),
            None => source.arrow_schema(),
        }
    }

    /// Whether the columns are those of a projection.
    pub(crate) fn is_transformed(&self) -> bool {
        self.transform.is_some()
    }

    /// Whether each change becomes a row of its own: then no row may be read twice.
    pub(crate) fn appends(&self) -> bool {
        let transform = self.transform.as_ref();
        transform.is_some_and(TableTransform::appends)
    }

    /// Whether batches are to tell where their rows come from.
    pub(crate) fn needs_origin(&self) -> bool {
        let transform = self.transform.as_ref();
        transform.is_some_and(TableTransform::needs_origin)
    }

    /// The rows of a snapshot of `source` on their way, without those that the lake is not to hold.
    pub(super) fn of_snapshot(
        &self,
        source: &SourceTable,
    ) -> Result<impl Fn(RecordBatch) -> Result<RecordBatch> + Send + use<>> {
        let transform = self.transform.as_ref();
        let transform = transform
            .map(|transform| transform.of_snapshot(source))
            .transpose()?;
        Ok(move |rows| match &transform {
            Some(transform) => transform(&rows),
            None => Ok(rows),
        })
    }

    /// Changes on their way, and which of those that came are left; all if `None`.
    pub(super) fn changes(&mut self, batch: WriteBatch) -> Result<(WriteBatch, Option<Vec<u32>>)> {
        match &mut self.transform {
            Some(transform) => transform.changes(batch),
            None => Ok((batch, None)),
        }
    }
}
