//! `lakebed query`: SQL over tables of a lake.

pub(crate) mod sources;

use std::path::PathBuf;

use query::{QueryType, ViewOptions};

use super::Failure;
use crate::output::{self, Format};
use sources::{Sources, quoted};

/// Rows of the table format, unless a limit is given.
const TABLE_ROWS: usize = 1_000;

/// Arguments of `lakebed query`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lakebed query -t lake/shop/orders                       all rows of a table
  lakebed query 'SELECT status, count(*) FROM orders GROUP BY status' -t lake/shop/orders
  lakebed query 'SELECT * FROM orders JOIN items USING (order_id)' --lake lake
  lakebed query -t lake/shop/orders --as-of 2026-11-21    the table as it was
  lakebed query -t lake/shop/orders --since 20261121093000123 --format json
  lakebed query -t lake/shop/orders --since 2026-11-21 --changes
  lakebed query \"SELECT n.id, o.status, n.status FROM orders n
                 JOIN hudi_as_of('orders', '2026-11-21') o USING (id)\" --lake lake

Table functions, for several query types in one statement: hudi_as_of('t', 'T'), hudi_read_optimized('t'),
hudi_since('t', 'FROM'[, 'TO']), hudi_changes('t', 'FROM'[, 'TO']), hudi_timeline('t'), hudi_files('t').

A time is an instant (20261121093000123), a date or an RFC 3339 time. Names are case-sensitive.")]
pub(crate) struct QueryArgs {
    /// The statement; all rows when there is one table and no statement
    sql: Option<String>,
    #[command(flatten)]
    sources: Sources,
    /// The rows as of a time
    #[arg(long, value_name = "T", conflicts_with_all = ["since", "read_optimized"])]
    as_of: Option<String>,
    /// The latest state of rows changed after a time (`earliest`: all)
    #[arg(long, value_name = "T", conflicts_with = "read_optimized")]
    since: Option<String>,
    /// ... and no later than this one
    #[arg(long, value_name = "T", requires = "since")]
    until: Option<String>,
    /// What each commit of that time changed: `_change_operation` (i, u, d), and the rows before and after
    #[arg(long, requires = "since")]
    changes: bool,
    /// Rows of base files only: fast, and as old as the last compaction
    #[arg(long)]
    read_optimized: bool,
    /// How rows are written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show the `_hoodie_*` columns of `SELECT *`
    #[arg(long)]
    meta: bool,
    /// The most rows
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub(crate) async fn run(args: QueryArgs) -> Result<(), Failure> {
    if args.format.is_binary() && args.output.is_none() && output::is_on_terminal() {
        return Err(Failure::usage(
            "this format is not for terminals: add -o FILE or a pipe",
        ));
    }
    let sql = statement(&args)?;
    let session = args.sources.session(&query_type(&args)).await?;
    let view = ViewOptions {
        meta_columns: args.meta,
        rows_max: rows_max(args.format, args.limit),
    };
    let rows = session.run(&sql, view).await.map_err(Failure::other)?;
    output::write_rows(rows, args.format, args.output.as_deref())
        .await
        .map_err(Failure::other)?;
    Ok(())
}

/// A table for people is cut unless they say how long it may be.
pub(crate) fn rows_max(format: Format, limit: Option<usize>) -> Option<usize> {
    let cut = (format == Format::Table).then_some(TABLE_ROWS);
    limit.or(cut)
}

/// The statement that is given, or all rows of the only table.
fn statement(args: &QueryArgs) -> Result<String, Failure> {
    if let Some(sql) = &args.sql {
        return Ok(sql.clone());
    }
    if args.sources.is_empty() {
        return Err(Failure::usage(
            "name a table with -t [NAME=]PATH, or a lake with --lake DIR and a statement",
        ));
    }
    match args.sources.tables().as_slice() {
        [table] => Ok(format!("SELECT * FROM {}", quoted(table))),
        _ => Err(Failure::usage(
            "give a statement, or exactly one table with -t",
        )),
    }
}

fn query_type(args: &QueryArgs) -> QueryType {
    match (&args.as_of, &args.since) {
        (Some(time), _) => QueryType::TimeTravel(time.clone()),
        (None, Some(since)) => {
            let (since, until) = (since.clone(), args.until.clone());
            if args.changes {
                QueryType::Changes { since, until }
            } else {
                QueryType::Incremental { since, until }
            }
        }
        (None, None) if args.read_optimized => QueryType::ReadOptimized,
        (None, None) => QueryType::Snapshot,
    }
}
