//! Rows of the lake from rows of the source: the projections and filters of the pipeline file.
//!
//! Expressions are SQL, which this crate does not speak: whoever assembles a pipeline brings a [`TransformCompiler`]. It is asked
//! anew when the columns of the source change.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;
use table_format::record::{RowKind, WriteBatch};

pub use crate::batch::HIDDEN_KEY;
use crate::batch::with_origin_columns;
use crate::config::{PipelineConfig, Transform};
use crate::error::{Error, Result};
use crate::schema::SourceTable;

/// Makes transforms of SQL expressions.
pub trait TransformCompiler: Debug + Send + Sync {
    /// The transform of rows with the columns `input`: the columns of `projection` (all of them when `None`) of the rows that
    /// `filter` is true of. `*` does not stand for columns with [`HIDDEN_KEY`] in their metadata.
    ///
    /// # Errors
    /// `Invalid`, saying which expression does not fit the columns, or what is not allowed in it.
    fn compile(
        &self,
        projection: Option<&str>,
        filter: Option<&str>,
        input: &SchemaRef,
    ) -> Result<Arc<dyn RowTransform>>;
}

/// A transform of rows with certain columns. The same rows give the same result whenever they come.
pub trait RowTransform: Debug + Send + Sync {
    /// The columns that come out.
    fn schema(&self) -> &SchemaRef;

    /// The rows that come out, as many as go in, and which of them pass the filter; all of them if `None`.
    ///
    /// # Errors
    /// `Invalid` for a row on which an expression fails.
    fn apply(&self, rows: &RecordBatch) -> Result<(RecordBatch, Option<BooleanArray>)>;
}

/// Whether the expressions of a transform fit a table.
///
/// # Errors
/// `Invalid`, as [`TransformCompiler::compile`].
pub(crate) fn check_expressions(
    transform: &Transform,
    compiler: &dyn TransformCompiler,
    table: &SourceTable,
) -> Result<()> {
    let (projection, filter) = (transform.select_list(), transform.filter.as_deref());
    let input = with_origin_columns(&table.arrow_schema()?);
    let compiled = compiler.compile(projection.as_deref(), filter, &input);
    compiled.map(drop)
}

/// The expressions for one source table, and what they were last compiled to.
#[derive(Debug)]
pub(crate) struct TableTransform {
    compiler: Arc<dyn TransformCompiler>,
    table: String,
    projection: Option<String>,
    filter: Option<String>,
    needs_origin: bool,
    /// Whether each change becomes a row of its own.
    appends: bool,
    tells_operations: bool,
    compiled: Option<(SchemaRef, Arc<dyn RowTransform>)>,
}

impl TableTransform {
    /// The transform of a table, if the pipeline file has expressions for it.
    ///
    /// # Errors
    /// `Internal` when there is nobody to compile them.
    pub(crate) fn of(
        config: &PipelineConfig,
        compiler: Option<&Arc<dyn TransformCompiler>>,
        source: &SourceTable,
    ) -> Result<Option<Self>> {
        let transform = config.transform(&source.database, &source.name);
        let Some(transform) = transform.filter(|transform| transform.has_expressions()) else {
            return Ok(None);
        };
        let compiler = compiler.ok_or_else(|| {
            Error::internal("this pipeline was built without a transform compiler")
        })?;
        Ok(Some(Self {
            compiler: Arc::clone(compiler),
            table: source.to_string(),
            projection: transform.select_list(),
            filter: transform.filter.clone(),
            needs_origin: transform.needs_origin(),
            appends: transform.appends,
            tells_operations: transform.tells_operations(),
            compiled: None,
        }))
    }

    /// Whether each change becomes a row of its own.
    pub(crate) fn appends(&self) -> bool {
        self.appends
    }

    /// Whether an expression looks at where rows come from.
    pub(crate) fn needs_origin(&self) -> bool {
        self.needs_origin
    }

    /// The lake's columns for rows of `source`.
    ///
    /// # Errors
    /// `Invalid` for expressions that do not fit, or leave out a column of the primary key.
    pub(crate) fn schema(&self, source: &SourceTable) -> Result<SchemaRef> {
        Ok(Arc::clone(self.compile(&self.input(source)?)?.schema()))
    }

    /// The rows of a snapshot that pass, in the lake's columns.
    ///
    /// # Errors
    /// As [`Self::schema`].
    pub(crate) fn of_snapshot(
        &self,
        source: &SourceTable,
    ) -> Result<impl Fn(&RecordBatch) -> Result<RecordBatch> + Send + use<>> {
        let compiled = self.compile(&self.input(source)?)?;
        Ok(move |rows: &RecordBatch| {
            let (rows, passes) = compiled.apply(rows)?;
            Ok(match passes {
                Some(passes) => filter_record_batch(&rows, &passes)?,
                None => rows,
            })
        })
    }

    /// Changes in the lake's columns, and which of those that came are left, all if `None`. A row that does not pass any more
    /// is deleted; a new one that does not is left out.
    ///
    /// # Errors
    /// As [`Self::schema`].
    pub(crate) fn changes(
        &mut self,
        mut batch: WriteBatch,
    ) -> Result<(WriteBatch, Option<Vec<u32>>)> {
        if self.appends {
            self.require_appendable(&batch.kinds)?;
            batch.kinds.fill(RowKind::Insert);
        }
        let input = batch.records.schema();
        let known = self.compiled.as_ref();
        let compiled = match known.filter(|(known, _)| *known == input) {
            Some((_, compiled)) => Arc::clone(compiled),
            None => {
                let compiled = self.compile(&input)?;
                self.compiled = Some((input, Arc::clone(&compiled)));
                compiled
            }
        };
        let (records, passes) = compiled.apply(&batch.records)?;
        let Some(passes) = passes else {
            let kinds = batch.kinds;
            return Ok((WriteBatch { records, kinds }, None));
        };
        let (mut rows, mut kinds) = (Vec::new(), Vec::new());
        for (row, kind) in (0_u32..).zip(batch.kinds) {
            let place = row as usize;
            let kind = match (passes.is_valid(place) && passes.value(place), kind) {
                (true, kind) | (false, kind @ (RowKind::Delete | RowKind::UpdateBefore)) => kind,
                (false, RowKind::UpdateAfter) => RowKind::Delete,
                (false, RowKind::Insert) => continue,
            };
            rows.push(row);
            kinds.push(kind);
        }
        let records = take_record_batch(&records, &UInt32Array::from(rows.clone()))?;
        Ok((WriteBatch { records, kinds }, Some(rows)))
    }

    /// A change or delete of a row that is to be appended has to be told from a new row.
    fn require_appendable(&self, kinds: &[RowKind]) -> Result<()> {
        let is_new = |kind: &RowKind| *kind == RowKind::Insert;
        if self.tells_operations || kinds.iter().all(is_new) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "a row of {} was changed or deleted, and its rows are appended: add `__op_type__ AS op` to the projection, to append \
             what happens to rows as well, or let primary-keys say how a row is found",
            self.table
        )))
    }

    fn input(&self, source: &SourceTable) -> Result<SchemaRef> {
        let schema = source.arrow_schema()?;
        Ok(match self.needs_origin {
            true => with_origin_columns(&schema),
            false => schema,
        })
    }

    fn compile(&self, input: &SchemaRef) -> Result<Arc<dyn RowTransform>> {
        let (projection, filter) = (self.projection.as_deref(), self.filter.as_deref());
        let compiled = self.compiler.compile(projection, filter, input);
        compiled.map_err(|error| error.context(format!("the transform of {}", self.table)))
    }
}
