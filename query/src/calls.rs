//! Table functions of a statement: `hudi_as_of('t', '2026-11-21')` and its like.
//!
//! Opening a table waits for storage, which the engine's own table functions cannot. So the calls are taken out of the
//! statement before it is planned, and tables put in their place.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::logical_expr::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, TableAlias, TableFactor,
    Value, VisitMut, VisitorMut,
};
use datafusion::sql::parser::Statement;
use table_format::env::MemoryBudget;

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::inspect;
use crate::query_type::QueryType;

/// A table function, and how it is called.
const FUNCTIONS: [(&str, &str); 6] = [
    ("hudi_as_of", "hudi_as_of('t', 'T'): the rows as of a time"),
    (
        "hudi_changes",
        "hudi_changes('t', 'FROM'[, 'TO']): what was inserted, updated and deleted",
    ),
    ("hudi_files", "hudi_files('t'): base and log files"),
    (
        "hudi_read_optimized",
        "hudi_read_optimized('t'): the rows of base files only",
    ),
    (
        "hudi_since",
        "hudi_since('t', 'FROM'[, 'TO']): the rows that changed, in their latest state",
    ),
    ("hudi_timeline", "hudi_timeline('t'): the instants"),
];

/// The table functions: how each is called, and what it gives.
pub fn table_functions() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|(_, usage)| *usage)
}

/// A call that was taken out of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableCall {
    function: &'static str,
    arguments: Vec<String>,
    /// The name of the table that is to stand in its place.
    pub(crate) stand_in: String,
}

impl TableCall {
    /// Opens the table that the call means.
    ///
    /// # Errors
    /// `Invalid` when there is no such table, or the call has too few or too many arguments; as the table's reads.
    pub(crate) async fn provider(
        &self,
        catalog: &Catalog,
        memory: &MemoryBudget,
    ) -> Result<Arc<dyn TableProvider>> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let (name, query_type) = match (self.function, arguments.as_slice()) {
            ("hudi_as_of", [name, time]) => (name, QueryType::TimeTravel((*time).to_owned())),
            ("hudi_read_optimized", [name]) => (name, QueryType::ReadOptimized),
            ("hudi_since", [name, since, until @ ..]) if until.len() < 2 => {
                let (since, until) = window(since, until);
                (name, QueryType::Incremental { since, until })
            }
            ("hudi_changes", [name, since, until @ ..]) if until.len() < 2 => {
                let (since, until) = window(since, until);
                (name, QueryType::Changes { since, until })
            }
            ("hudi_timeline", [name]) => {
                return inspect::timeline_provider(&catalog.open(name).await?).await;
            }
            ("hudi_files", [name]) => {
                return inspect::files_provider(&catalog.open(name).await?).await;
            }
            _ => {
                return Err(Error::Invalid(format!(
                    "call it as {}",
                    usage(self.function)
                )));
            }
        };
        let table = catalog.open(name).await?;
        query_type.provider_of(&table, memory).await
    }
}

fn window(since: &str, until: &[&str]) -> (String, Option<String>) {
    (
        since.to_owned(),
        until.first().map(|until| (*until).to_owned()),
    )
}

fn usage(function: &str) -> &'static str {
    FUNCTIONS
        .iter()
        .find(|(name, _)| *name == function)
        .map_or("", |(_, usage)| usage)
}

/// Takes the calls out of a statement; each is replaced by the name of a table.
///
/// # Errors
/// `Invalid` for an unknown function of ours, or an argument that is no text, number or name.
pub(crate) fn take_calls(statement: &mut Statement) -> Result<Vec<TableCall>> {
    let mut taker = CallTaker::default();
    let broken = match statement {
        Statement::Statement(inner) => inner.visit(&mut taker).break_value(),
        Statement::Explain(explain) => return take_calls(&mut explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => None,
    };
    broken.map_or(Ok(taker.calls), Err)
}

#[derive(Default)]
struct CallTaker {
    calls: Vec<TableCall>,
}

impl VisitorMut for CallTaker {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let TableFactor::Table {
            name, alias, args, ..
        } = factor
        else {
            return ControlFlow::Continue(());
        };
        let Some(arguments) = args else {
            return ControlFlow::Continue(());
        };
        let called = name.to_string().to_lowercase();
        if !called.starts_with("hudi_") {
            return ControlFlow::Continue(());
        }
        let call = match read_call(&called, &arguments.args) {
            Ok(call) => call,
            Err(error) => return ControlFlow::Break(error),
        };
        *args = None;
        *name = ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote(
            '"',
            call.stand_in.as_str(),
        ))]);
        alias.get_or_insert_with(|| TableAlias {
            explicit: true,
            name: Ident::new(called),
            columns: Vec::new(),
            at: None,
        });
        if !self.calls.contains(&call) {
            self.calls.push(call);
        }
        ControlFlow::Continue(())
    }
}

fn read_call(called: &str, arguments: &[FunctionArg]) -> Result<TableCall> {
    let function = FUNCTIONS.iter().find(|(name, _)| *name == called);
    let Some(&(function, usage)) = function else {
        let names: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
        let known = names.join(", ");
        return Err(Error::Invalid(format!(
            "no table function `{called}`; there are {known}"
        )));
    };
    let arguments: Option<Vec<String>> = arguments.iter().map(read_argument).collect();
    let arguments = arguments.ok_or_else(|| Error::Invalid(format!("call it as {usage}")))?;
    Ok(TableCall {
        function,
        stand_in: format!("{function}({})", arguments.join(", ")),
        arguments,
    })
}

/// Text, a number (an instant without quotes), or a name.
fn read_argument(argument: &FunctionArg) -> Option<String> {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) = argument else {
        return None;
    };
    match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            Value::Number(digits, _) => Some(digits.to_string()),
            _ => None,
        },
        Expr::Identifier(name) => Some(name.value.clone()),
        Expr::CompoundIdentifier(names) => {
            let names: Vec<&str> = names.iter().map(|name| name.value.as_str()).collect();
            Some(names.join("."))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;
    use datafusion::sql::parser::DFParser;

    use super::*;

    fn taken(sql: &str) -> Result<(String, Vec<Vec<String>>)> {
        let mut statement = DFParser::parse_sql(sql).unwrap().pop_front().unwrap();
        let calls = take_calls(&mut statement)?;
        let arguments = calls.into_iter().map(|call| call.arguments).collect();
        Ok((statement.to_string(), arguments))
    }

    #[test]
    fn calls_become_tables_wherever_they_stand() {
        let (sql, calls) = taken(
            "SELECT * FROM (SELECT id FROM hudi_as_of('t', '2026-11-21')) o \
             JOIN hudi_changes(shop.t, 20261121093000123) USING (id) JOIN generate_series(1, 2) ON true",
        )
        .unwrap();
        assert_eq!(
            calls,
            [vec!["t", "2026-11-21"], vec!["shop.t", "20261121093000123"]]
        );
        assert!(
            sql.contains("FROM \"hudi_as_of(t, 2026-11-21)\" AS hudi_as_of)"),
            "{sql}"
        );
        assert!(sql.contains("generate_series(1, 2)"), "{sql}");
    }

    #[test]
    fn unknown_functions_and_odd_arguments_are_named() {
        let error = |sql: &str| taken(sql).unwrap_err().to_string();
        let unknown = error("SELECT * FROM hudi_asof('t', 'x')");
        assert!(unknown.contains("no table function `hudi_asof`; there are hudi_as_of"));
        let odd = error("SELECT * FROM hudi_files(1 + 1)");
        assert_eq!(odd, "call it as hudi_files('t'): base and log files");
    }

    #[tokio::test]
    async fn the_number_of_arguments_is_checked() {
        let context = SessionContext::new();
        let dialect = context.state().config_options().sql_parser.dialect;
        let sql = "SELECT * FROM hudi_as_of('t')";
        let mut statement = context.state().sql_to_statement(sql, &dialect).unwrap();
        let calls = take_calls(&mut statement).unwrap();
        let memory = MemoryBudget::new(1 << 20);
        let outcome = calls[0].provider(&Catalog::default(), &memory).await;
        let error = outcome.unwrap_err().to_string();
        assert!(
            error.starts_with("call it as hudi_as_of('t', 'T')"),
            "{error}"
        );
    }
}
