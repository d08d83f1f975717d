//! A snapshot's chunks: ranges of a table's key, cut lazily, each read by one SELECT.
//!
//! Only the server compares keys. A cut is the text of a key value that the server gave; it goes back as a literal of the
//! column's own type, character set and collation, so that the chunks of a table hold every row exactly once whatever the
//! collation says of the order. The last chunk ends at the greatest key of the start: rows beyond are in the log.

mod key;
mod predicate;
mod splitter;

use serde::{Deserialize, Serialize};

use super::connection::Connection;
use super::result_set::RowStream;
use super::server_error::altered_meanwhile;
use super::sql::quote_name;
use crate::Result;
use crate::schema::SourceTable;
pub(super) use key::{KeyColumn, KeyKind, chunk_key, key_column, order_list, select_list};
pub(super) use predicate::{Comparison, compare};
pub use splitter::ChunkSplitter;

/// A point between keys: the values of the leading key columns, as the server writes them (bytes in hexadecimal).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyBound(Vec<String>);

impl KeyBound {
    /// The point with these values.
    pub(crate) fn of(values: Vec<String>) -> Self {
        Self(values)
    }

    /// The values.
    pub(crate) fn values(&self) -> &[String] {
        &self.0
    }
}

/// A range of a table's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// The first key inside; open when there is none.
    pub low: Option<KeyBound>,
    /// Where it ends; open when there is none.
    pub high: Option<KeyBound>,
    /// Whether `high` itself is inside.
    #[serde(default)]
    pub high_inclusive: bool,
}

/// A part of a table that is read by one statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Its keys.
    pub range: KeyRange,
    /// About how many rows it holds.
    pub estimated_rows: u64,
}

/// The key range that a snapshot of the table has to read, up to its greatest key now; `None` for an empty table.
///
/// Take the log's start position first: whatever is inserted beyond the range is in the log.
///
/// # Errors
/// What the server reports.
pub async fn initial_range(
    connection: &mut Connection,
    table: &SourceTable,
) -> Result<Option<KeyRange>> {
    let key = chunk_key(table);
    let selected = if key.is_empty() {
        "1".to_owned()
    } else {
        select_list(&key)
    };
    let descending: Vec<String> = key
        .iter()
        .map(|column| format!("{} DESC", column.quoted))
        .collect();
    let order = if key.is_empty() {
        String::new()
    } else {
        format!(" ORDER BY {}", descending.join(", "))
    };
    let sql = format!(
        "SELECT {selected} FROM {}{order} LIMIT 1",
        qualified_name(table)
    );
    let rows = connection.query(&sql).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    // NULL comes last in descending order: then there is nothing else.
    let is_null = key.iter().any(|column| column.nullable) && row.get(0).is_none();
    let high = if key.is_empty() || is_null {
        None
    } else {
        Some(KeyBound::read(row, key.len())?)
    };
    Ok(Some(KeyRange {
        low: None,
        high_inclusive: high.is_some(),
        high,
    }))
}

/// Reads a chunk's rows: every column of the table, in ordinal order, in the binary protocol.
///
/// # Errors
/// `Corrupt` for a range that does not fit the table's key, `Conflict` when the table was altered since it was looked at, and what the
/// server reports.
pub async fn read_chunk<'a>(
    connection: &'a mut Connection,
    table: &SourceTable,
    chunk: &Chunk,
) -> Result<RowStream<'a>> {
    let condition = range_condition(&chunk_key(table), &chunk.range)?;
    let (columns, name) = (table.select_list(), qualified_name(table));
    select(
        connection,
        &format!("SELECT {columns} FROM {name}{condition}"),
    )
    .await
}

/// Reads the rows that meet a condition in the server's SQL, as [`read_chunk`] does those of a range.
///
/// # Errors
/// What the server reports.
pub async fn read_where<'a>(
    connection: &'a mut Connection,
    table: &SourceTable,
    condition: &str,
) -> Result<RowStream<'a>> {
    let (columns, name) = (table.select_list(), qualified_name(table));
    select(
        connection,
        &format!("SELECT {columns} FROM {name} WHERE ({condition})"),
    )
    .await
}

async fn select<'a>(connection: &'a mut Connection, sql: &str) -> Result<RowStream<'a>> {
    connection.select(sql).await.map_err(altered_meanwhile)
}

pub(super) fn qualified_name(table: &SourceTable) -> String {
    format!(
        "{}.{}",
        quote_name(&table.database),
        quote_name(&table.name)
    )
}

/// ` WHERE …` for a range; empty for an open one.
fn range_condition(key: &[KeyColumn], range: &KeyRange) -> Result<String> {
    let upper = if range.high_inclusive {
        Comparison::AtMost
    } else {
        Comparison::Below
    };
    let bounds = [(&range.low, Comparison::AtLeast), (&range.high, upper)];
    let mut conditions = Vec::new();
    for (bound, comparison) in bounds {
        if let Some(bound) = bound {
            conditions.push(compare(key, &bound.0, comparison)?);
        }
    }
    if conditions.is_empty() {
        return Ok(String::new());
    }
    let within = conditions.join(" AND ");
    // NULL is before all values.
    Ok(match key {
        [column] if column.nullable && range.low.is_none() => {
            format!(" WHERE ({within}) OR {} IS NULL", column.quoted)
        }
        _ => format!(" WHERE {within}"),
    })
}
