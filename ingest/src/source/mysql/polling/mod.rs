//! Rows that are new or have changed, found by queries: for servers whose binary log is of no use.
//!
//! A column that grows with each row, or a time that each change sets, puts the rows in an order; what lies behind a position is
//! read in chunks. A row that is committed late may bear a value that was passed already, so the position moves on no further
//! than a [`Horizon`]: a value that no transaction can come below any more.

mod horizon;
mod key;

pub use horizon::{Horizon, HorizonWatch, sees_transactions};
pub use key::PollKey;

use super::chunk::{KeyBound, qualified_name};
use super::connection::Connection;
use super::result_set::RowStream;
use super::server_error::altered_meanwhile;
use crate::Result;
use crate::position::QueryPosition;
use crate::schema::SourceTable;

/// Rows behind a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollChunk {
    condition: String,
    /// The position behind the last of them; `None` if the chunk holds all that there are.
    pub end: Option<QueryPosition>,
}

/// The next rows behind `position` and, if there is a `limit`, before that; about `rows_max` of them.
///
/// # Errors
/// `Corrupt` for a position that does not fit the columns, and what the server reports.
pub async fn next_chunk(
    connection: &mut Connection,
    table: &SourceTable,
    key: &PollKey,
    position: &QueryPosition,
    limit: Option<&QueryPosition>,
    rows_max: u64,
) -> Result<PollChunk> {
    let mut behind = key.behind(position)?;
    if let Some(limit) = limit {
        behind = format!("({behind}) AND {}", key.before(limit)?);
    }
    let (selected, order) = (key.select_list(), key.order_list());
    let (name, skipped) = (qualified_name(table), rows_max.saturating_sub(1));
    let sql = format!(
        "SELECT {selected} FROM {name} WHERE {behind} ORDER BY {order} LIMIT 1 OFFSET {skipped}"
    );
    let rows = connection.query(&sql).await.map_err(altered_meanwhile)?;
    let Some(row) = rows.first() else {
        return Ok(PollChunk {
            condition: behind,
            end: None,
        });
    };
    let end = KeyBound::read(row, key.columns())?;
    Ok(PollChunk {
        condition: format!("({behind}) AND {}", key.through(&end)?),
        end: Some(key.behind_row(end)),
    })
}

/// Reads a chunk's rows: every column of the table, in ordinal order, in the binary protocol.
///
/// # Errors
/// What the server reports.
pub async fn read_chunk<'a>(
    connection: &'a mut Connection,
    table: &SourceTable,
    chunk: &PollChunk,
) -> Result<RowStream<'a>> {
    super::chunk::read_where(connection, table, &chunk.condition).await
}
