//! A ready SQL session over tables.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{MemorySchemaProvider, TableProvider};
use datafusion::common::TableReference;
use datafusion::dataframe::DataFrame;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::sqlparser::ast::Statement as SqlStatement;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use futures::StreamExt;
use futures::stream::BoxStream;
use table_format::env::MemoryBudget;
use table_format::schema::meta::is_meta_column;
use table_format::table::Table;

use crate::calls::take_calls;
use crate::catalog::{Catalog, joined};
use crate::error::{Error, Result};
use crate::lake::{LakeTable, tables_of_lake};
use crate::memory_pool::BudgetPool;
use crate::query_type::QueryType;

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
        f.debug_struct("RowStream")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// Tables by name, and SQL over them. Names are case-sensitive, as columns of a source may differ in case alone.
///
/// Every statement sees the tables as they are when it begins, and opens only those that it names.
pub struct QuerySession {
    context: SessionContext,
    memory: MemoryBudget,
    catalog: Catalog,
}

impl std::fmt::Debug for QuerySession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuerySession")
            .field("catalog", &self.catalog)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

impl QuerySession {
    /// A session without tables. Merging, sorts, joins and aggregations draw on `memory`; the latter three spill to disk.
    ///
    /// # Errors
    /// When the engine cannot set up its temporary files.
    pub fn new(memory: MemoryBudget) -> Result<Self> {
        let mut config = SessionConfig::new().with_information_schema(true);
        let options = config.options_mut();
        options.sql_parser.enable_ident_normalization = false;
        // What merging sorted runs needs is set aside by every partition: little of little memory.
        let aside = usize::try_from(memory.ceiling_bytes() / 32).unwrap_or(usize::MAX);
        let default = options.execution.sort_spill_reservation_bytes;
        options.execution.sort_spill_reservation_bytes = aside.min(default);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(BudgetPool::new(&memory)))
            .build_arc()?;
        Ok(Self {
            context: SessionContext::new_with_config_rt(config, runtime),
            memory,
            catalog: Catalog::default(),
        })
    }

    /// DataFusion's own session, to add to.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Makes a table known under its name.
    pub fn add_table(&mut self, table: LakeTable, query_type: QueryType) {
        self.catalog.add(table, query_type);
    }

    /// Makes all tables of a lake known.
    ///
    /// # Errors
    /// When the location cannot be listed.
    pub async fn add_lake(&mut self, location: &str, query_type: &QueryType) -> Result<()> {
        for table in tables_of_lake(location).await? {
            self.catalog.add(table, query_type.clone());
        }
        Ok(())
    }

    /// The names of the tables, `database.table` or bare.
    pub fn table_names(&self) -> Vec<String> {
        self.catalog.names().map(joined).collect()
    }

    /// Opens a table by name or path.
    ///
    /// # Errors
    /// When there is none, or its properties cannot be used.
    pub async fn open(&self, name: &str) -> Result<Table> {
        self.catalog.open(name).await
    }

    /// The columns of a table as its latest write left them, without the meta columns.
    ///
    /// # Errors
    /// As [`QuerySession::open`].
    pub async fn columns(&self, name: &str) -> Result<SchemaRef> {
        let table = self.open(name).await?;
        Ok(table.schema().await?)
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// When it names an unknown table or cannot be planned. The stream's items fail when a table cannot be read.
    pub async fn run(&self, sql: &str, options: ViewOptions) -> Result<RowStream> {
        let state = self.context.state();
        let dialect = state.config_options().sql_parser.dialect;
        let mut statement = state.sql_to_statement(sql, &dialect)?;
        self.resolve(&mut statement).await?;
        let plan = self.context.state().statement_to_plan(statement).await?;
        let mut frame = self.context.execute_logical_plan(plan).await?;
        if !options.meta_columns && !sql.contains("_hoodie_") {
            frame = without_meta_columns(frame)?;
        }
        let is_plan = matches!(
            frame.logical_plan(),
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_)
        );
        if options.rows_max.is_some() && !is_plan {
            frame = frame.limit(0, options.rows_max)?;
        }
        let stream = frame.execute_stream().await?;
        let schema = stream.schema();
        let batches = stream.map(|batch| batch.map_err(Error::from)).boxed();
        Ok(RowStream { schema, batches })
    }

    /// Opens what a statement names, and hands it to the engine.
    async fn resolve(&self, statement: &mut Statement) -> Result<()> {
        for call in take_calls(statement)? {
            let provider = call.provider(&self.catalog, &self.memory).await?;
            self.register(TableReference::bare(call.stand_in), provider)?;
        }
        let references = self.context.state().resolve_table_references(statement)?;
        for reference in references {
            let found = self.catalog.find(reference.schema(), reference.table())?;
            if let Some((location, query_type)) = found {
                let table = Table::open(location).await?;
                let provider = query_type.provider_of(&table, &self.memory).await?;
                self.register(reference, provider)?;
            } else if is_query(statement)
                && reference.schema() != Some("information_schema")
                && !self.context.table_exist(reference.clone())?
            {
                return Err(self.catalog.unknown(&reference.to_string()));
            }
        }
        Ok(())
    }

    /// Puts a table into the engine, in the place of an older view of it.
    fn register(&self, reference: TableReference, table: Arc<dyn TableProvider>) -> Result<()> {
        if let Some(database) = reference.schema() {
            self.add_database(database)?;
        }
        self.context.deregister_table(reference.clone())?;
        self.context.register_table(reference, table)?;
        Ok(())
    }

    fn add_database(&self, database: &str) -> Result<()> {
        let catalog = self
            .context
            .state()
            .config_options()
            .catalog
            .default_catalog
            .clone();
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

/// Whether all tables that a statement names have to be there.
fn is_query(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(inner) => matches!(**inner, SqlStatement::Query(_)),
        Statement::Explain(explain) => is_query(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
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
