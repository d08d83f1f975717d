//! `lakebed query`: SQL over tables of a lake.

use std::path::PathBuf;

use query::{QuerySession, QueryType, ViewOptions, tables_of_lake};
use table_format::env::MemoryBudget;
use table_format::table::Table;

use super::Failure;
use crate::output::{self, Format};

/// What merging log files may take before the engine is held to it.
const MEMORY_BYTES: u64 = 512 << 20;
/// Rows of the table format, unless a limit is given.
const TABLE_ROWS: usize = 1_000;

/// Arguments of `lakebed query`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lakebed query -t lake/shop/orders                       all rows of a table
  lakebed query 'SELECT status, count(*) FROM orders GROUP BY status' -t lake/shop/orders
  lakebed query 'SELECT * FROM shop.orders JOIN shop.items USING (order_id)' --lake lake
  lakebed query -t lake/shop/orders --as-of 2026-11-21    the table as it was
  lakebed query -t lake/shop/orders --since 20261121093000123 --format json

A time is an instant (20261121093000123), a date or an RFC 3339 time. Names are case-sensitive.")]
pub(crate) struct QueryArgs {
    /// The statement; all rows when there is one table and no statement
    sql: Option<String>,
    /// A table: a path or URL, under the name of its directory unless one is given
    #[arg(short, long = "table", value_name = "[NAME=]PATH")]
    tables: Vec<String>,
    /// All tables of a lake, as DATABASE.TABLE
    #[arg(long, value_name = "DIR")]
    lake: Option<String>,
    /// The rows as of a time
    #[arg(long, value_name = "T", conflicts_with_all = ["since", "read_optimized"])]
    as_of: Option<String>,
    /// The latest state of rows changed after a time (`earliest`: all)
    #[arg(long, value_name = "T", conflicts_with = "read_optimized")]
    since: Option<String>,
    /// ... and no later than this one
    #[arg(long, value_name = "T", requires = "since")]
    until: Option<String>,
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

/// A table to be queried.
struct Named {
    database: Option<String>,
    name: String,
    location: String,
}

pub(crate) async fn run(args: QueryArgs) -> Result<(), Failure> {
    if args.format.is_binary() && args.output.is_none() && output::is_on_terminal() {
        return Err(Failure::usage(
            "this format is not for terminals: add -o FILE or a pipe",
        ));
    }
    let session = QuerySession::new(MemoryBudget::new(MEMORY_BYTES));
    let named = tables(&args, &session).await?;
    let sql = match (&args.sql, named.as_slice()) {
        (Some(sql), _) => sql.clone(),
        (None, [table]) => format!("SELECT * FROM {}", table.quoted()),
        (None, _) => {
            return Err(Failure::usage(
                "give a statement, or exactly one table with -t",
            ));
        }
    };
    let query_type = query_type(&args);
    for table in &named {
        let opened = Table::open(&table.location).await.map_err(Failure::other)?;
        let database = table.database.as_deref();
        session
            .add_table(database, &table.name, &opened, &query_type)
            .await
            .map_err(Failure::other)?;
    }
    let is_cut = args.format == Format::Table && args.limit.is_none();
    let rows_max = if is_cut { Some(TABLE_ROWS) } else { args.limit };
    let view = ViewOptions {
        meta_columns: args.meta,
        rows_max,
    };
    let rows = session.run(&sql, view).await.map_err(Failure::other)?;
    output::write_rows(rows, args.format, args.output.as_deref())
        .await
        .map_err(Failure::other)
}

fn query_type(args: &QueryArgs) -> QueryType {
    match (&args.as_of, &args.since) {
        (Some(time), _) => QueryType::TimeTravel(time.clone()),
        (None, Some(since)) => QueryType::Incremental {
            since: since.clone(),
            until: args.until.clone(),
        },
        (None, None) if args.read_optimized => QueryType::ReadOptimized,
        (None, None) => QueryType::Snapshot,
    }
}

/// The tables given by name, and those of the lake that the statement names.
async fn tables(args: &QueryArgs, session: &QuerySession) -> Result<Vec<Named>, Failure> {
    let mut named: Vec<Named> = args.tables.iter().map(|text| Named::parse(text)).collect();
    if let (Some(lake), Some(sql)) = (&args.lake, &args.sql) {
        let wanted = session.tables_in(sql).map_err(Failure::other)?;
        let found = tables_of_lake(lake).await.map_err(Failure::other)?;
        let found = found
            .into_iter()
            .filter(|table| wanted.contains(&(table.database.clone(), table.name.clone())));
        named.extend(found.map(|table| Named {
            database: table.database,
            name: table.name,
            location: table.location,
        }));
    }
    if named.is_empty() && args.sql.is_none() {
        return Err(Failure::usage(
            "name a table with -t [NAME=]PATH, or a lake with --lake DIR and a statement",
        ));
    }
    Ok(named)
}

impl Named {
    /// Reads `[NAME=]PATH`; the name may be `DATABASE.TABLE`.
    fn parse(text: &str) -> Self {
        let is_name = |name: &str| !name.is_empty() && !name.contains(['/', ':']);
        let (name, location) = match text.split_once('=') {
            Some((name, location)) if is_name(name) => (name.to_owned(), location),
            _ => {
                let trimmed = text.trim_end_matches('/');
                let name = trimmed
                    .rsplit('/')
                    .next()
                    .filter(|name| !matches!(*name, "" | "." | ".."));
                (name.unwrap_or("t").to_owned(), text)
            }
        };
        let location = location.to_owned();
        match name.split_once('.') {
            Some((database, table)) => Self {
                database: Some(database.to_owned()),
                name: table.to_owned(),
                location,
            },
            None => Self {
                database: None,
                name,
                location,
            },
        }
    }

    fn quoted(&self) -> String {
        let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        match &self.database {
            Some(database) => format!("{}.{}", quote(database), quote(&self.name)),
            None => quote(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_named_by_the_user_or_by_their_directory() {
        let parse = |text: &str| {
            let named = Named::parse(text);
            (named.quoted(), named.location)
        };
        assert_eq!(
            parse("lake/shop/orders/"),
            ("\"orders\"".to_owned(), "lake/shop/orders/".to_owned())
        );
        assert_eq!(
            parse("o=s3://b/x"),
            ("\"o\"".to_owned(), "s3://b/x".to_owned())
        );
        assert_eq!(
            parse("shop.o=x"),
            ("\"shop\".\"o\"".to_owned(), "x".to_owned())
        );
        assert_eq!(
            parse("lake/day=1"),
            ("\"day=1\"".to_owned(), "lake/day=1".to_owned())
        );
    }
}
