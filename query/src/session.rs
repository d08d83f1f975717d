//! A ready SQL session over tables.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::MemorySchemaProvider;
use datafusion::common::TableReference;
use datafusion::dataframe::DataFrame;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use futures::stream::BoxStream;
use table_format::env::MemoryBudget;
use table_format::schema::meta::is_meta_column;
use table_format::table::Table;

use crate::error::{Error, Result};
use crate::query_type::QueryType;
use crate::table_provider::LakebedTableProvider;

/// What the rows of a query look like.
#[derive(Debug, Clone, Copy, Default)]
pub struct ViewOptions {
    /// Show the `_hoodie_*` columns of `SELECT *`. A query that names one gets it in any case.
    pub meta_columns: bool,
    /// The most rows.
    pub rows_max: Option<usize>,
}

/// The rows of a query, as they come.
pub struct RowStream {
    /// Their schema.
    pub schema: SchemaRef,
    /// Their batches.
    pub batches: BoxStream<'static, Result<RecordBatch>>,
}

impl std::fmt::Debug for RowStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowStream").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// Tables by name, and SQL over them. Names are case-sensitive, as columns of a source may differ in case alone.
pub struct QuerySession {
    context: SessionContext,
    memory: MemoryBudget,
}

impl std::fmt::Debug for QuerySession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuerySession").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl QuerySession {
    /// A session without tables; merging draws on `memory`.
    pub fn new(memory: MemoryBudget) -> Self {
        let mut config = SessionConfig::new().with_information_schema(true);
        config.options_mut().sql_parser.enable_ident_normalization = false;
        Self { context: SessionContext::new_with_config(config), memory }
    }

    /// DataFusion's own session, to add to.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Adds a table under `[database.]name`.
    ///
    /// # Errors
    /// When the table cannot be opened, or the name is taken.
    pub async fn add_table(
        &self,
        database: Option<&str>,
        name: &str,
        table: &Table,
        query_type: &QueryType,
    ) -> Result<()> {
        let snapshot = query_type.snapshot_of(table).await?;
        let provider = LakebedTableProvider::new(snapshot, self.memory.clone());
        let reference = match database {
            Some(database) => {
                self.add_database(database)?;
                TableReference::partial(database, name)
            }
            None => TableReference::bare(name),
        };
        self.context.register_table(reference, Arc::new(provider))?;
        Ok(())
    }

    /// The tables that a statement names, as `(database, name)`.
    ///
    /// # Errors
    /// When the statement cannot be parsed.
    pub fn tables_in(&self, sql: &str) -> Result<Vec<(Option<String>, String)>> {
        let state = self.context.state();
        let dialect = state.config_options().sql_parser.dialect;
        let statement = state.sql_to_statement(sql, &dialect)?;
        let references = state.resolve_table_references(&statement)?;
        let names = references.iter().map(|reference| {
            (reference.schema().map(str::to_owned), reference.table().to_owned())
        });
        Ok(names.collect())
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// When it cannot be planned. The stream's items fail when a table cannot be read.
    pub async fn run(&self, sql: &str, options: ViewOptions) -> Result<RowStream> {
        let mut frame = self.context.sql(sql).await?;
        if !options.meta_columns && !sql.contains("_hoodie_") {
            frame = without_meta_columns(frame)?;
        }
        if options.rows_max.is_some() {
            frame = frame.limit(0, options.rows_max)?;
        }
        let stream = frame.execute_stream().await?;
        let schema = stream.schema();
        let batches = stream.map(|batch| batch.map_err(Error::from)).boxed();
        Ok(RowStream { schema, batches })
    }

    fn add_database(&self, database: &str) -> Result<()> {
        let catalog = self.context.state().config_options().catalog.default_catalog.clone();
        let catalog = self
            .context
            .catalog(&catalog)
            .ok_or_else(|| Error::Invalid(format!("the session has no catalog `{catalog}`")))?;
        if catalog.schema(database).is_none() {
            catalog.register_schema(database, Arc::new(MemorySchemaProvider::new()))?;
        }
        Ok(())
    }
}

fn without_meta_columns(frame: DataFrame) -> Result<DataFrame> {
    let meta: Vec<String> = frame
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .filter(|name| is_meta_column(name))
        .collect();
    if meta.is_empty() || meta.len() == frame.schema().fields().len() {
        return Ok(frame);
    }
    let names: Vec<&str> = meta.iter().map(String::as_str).collect();
    Ok(frame.drop_columns(&names)?)
}
