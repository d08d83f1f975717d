//! Cuts a key range into chunks, one at a time, so that reading begins before cutting ends and can go on after a restart.

use std::sync::Arc;

use super::key::{self, KeyColumn, KeyKind};
use super::predicate::{Comparison, compare};
use super::{Chunk, KeyBound, KeyRange, qualified_name};
use crate::schema::SourceTable;
use crate::source::mysql::connection::Connection;
use crate::source::mysql::sql::quote_text;
use crate::{Error, Result};

/// Keys are cut by arithmetic while at most every n-th number is taken: a chunk of even steps may hold as many times
/// its target at worst, where the numbers happen to lie close together.
const SPARSITY_MAX: i128 = 10;

/// How the next cut is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CutStrategy {
    /// A fixed step of a whole-number key.
    Even { min: i128, step: i128 },
    /// The server counts rows along the index.
    NextKey,
    /// No usable key: everything at once.
    Whole,
}

/// Cuts one range of a table.
#[derive(Debug)]
pub struct ChunkSplitter {
    table: Arc<SourceTable>,
    key: Vec<KeyColumn>,
    chunk_rows: u64,
    strategy: Option<CutStrategy>,
    rest: Option<KeyRange>,
}

impl ChunkSplitter {
    /// A splitter of `range` into chunks of about `chunk_rows` rows.
    pub fn new(table: Arc<SourceTable>, range: KeyRange, chunk_rows: u64) -> Self {
        let key = key::chunk_key(&table);
        Self {
            table,
            key,
            chunk_rows: chunk_rows.max(1),
            strategy: None,
            rest: Some(range),
        }
    }

    /// The part of the range that was not handed out yet.
    pub fn remaining(&self) -> Option<KeyRange> {
        self.rest.clone()
    }

    /// The next chunk in key order; `None` when the range is used up. After an error, the same chunk is tried again.
    ///
    /// # Errors
    /// `Corrupt` for a range that does not fit the table's key, and what the server reports.
    pub async fn next_chunk(&mut self, connection: &mut Connection) -> Result<Option<Chunk>> {
        let Some(range) = self.rest.clone() else {
            return Ok(None);
        };
        let strategy = match self.strategy {
            Some(strategy) => strategy,
            None => *self.strategy.insert(self.choose(connection).await?),
        };
        let cut = match strategy {
            CutStrategy::Even { min, step } => next_number(&range, min, step),
            CutStrategy::NextKey => self.next_key(connection, &range).await?,
            CutStrategy::Whole => None,
        };
        let chunk_range = match cut {
            Some(cut) => {
                self.rest = Some(KeyRange {
                    low: Some(cut.clone()),
                    ..range.clone()
                });
                KeyRange {
                    low: range.low,
                    high: Some(cut),
                    high_inclusive: false,
                }
            }
            None => {
                self.rest = None;
                range
            }
        };
        Ok(Some(Chunk {
            range: chunk_range,
            estimated_rows: self.chunk_rows,
        }))
    }

    async fn choose(&self, connection: &mut Connection) -> Result<CutStrategy> {
        match &self.key[..] {
            [] => Ok(CutStrategy::Whole),
            // A key of one column only: the leading column of a longer one has many rows per value.
            [column]
                if column.kind == KeyKind::Integer
                    && self.table.primary_key.len() == 1
                    && self.table.chunk_column.is_none() =>
            {
                self.choose_for_numbers(connection, column).await
            }
            _ => Ok(CutStrategy::NextKey),
        }
    }

    async fn choose_for_numbers(
        &self,
        connection: &mut Connection,
        column: &KeyColumn,
    ) -> Result<CutStrategy> {
        let (name, key) = (qualified_name(&self.table), &column.quoted);
        let ends = connection
            .query(&format!("SELECT MIN({key}), MAX({key}) FROM {name}"))
            .await?;
        let estimate = connection
            .query_value(&format!(
                "SELECT TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
                quote_text(&self.table.database),
                quote_text(&self.table.name)
            ))
            .await?;
        let end = |position| {
            ends.first()
                .and_then(|row| row.get(position))
                .map(str::parse::<i128>)
        };
        let (Some(Ok(min)), Some(Ok(max))) = (end(0), end(1)) else {
            return Ok(CutStrategy::NextKey);
        };
        let rows = estimate
            .and_then(|rows| rows.parse::<i128>().ok())
            .unwrap_or(0);
        Ok(strategy_for(min, max, rows, self.chunk_rows))
    }

    /// The key that lies a chunk behind the range's low end, if it is inside the range.
    async fn next_key(
        &self,
        connection: &mut Connection,
        range: &KeyRange,
    ) -> Result<Option<KeyBound>> {
        let mut conditions = Vec::new();
        let mut offset = self.chunk_rows;
        if let Some(low) = &range.low {
            // Above, not at: a cut makes progress even if many rows share the leading columns of a key.
            conditions.push(compare(&self.key, &low.0, Comparison::Above)?);
            offset -= 1;
        }
        if let Some(high) = &range.high {
            let comparison = if range.high_inclusive {
                Comparison::AtMost
            } else {
                Comparison::Below
            };
            conditions.push(compare(&self.key, &high.0, comparison)?);
        }
        let condition = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        let sql = format!(
            "SELECT {} FROM {}{condition} ORDER BY {} LIMIT 1 OFFSET {offset}",
            key::select_list(&self.key),
            qualified_name(&self.table),
            key::order_list(&self.key),
        );
        let rows = connection
            .query(&sql)
            .await
            .map_err(|error| self.name_table(error))?;
        rows.first()
            .map(|row| KeyBound::read(row, self.key.len()))
            .transpose()
    }

    fn name_table(&self, error: Error) -> Error {
        error.context(format!("looking for the next chunk of {}", self.table))
    }
}

/// Even steps, if the keys are dense enough by the server's estimate of the rows.
fn strategy_for(min: i128, max: i128, rows: i128, chunk_rows: u64) -> CutStrategy {
    let width = max - min + 1;
    if rows <= 0 || width > rows.saturating_mul(SPARSITY_MAX) {
        return CutStrategy::NextKey;
    }
    // A key is unique: fewer numbers than rows only says that the estimate is too high.
    let chunk_rows = i128::from(chunk_rows);
    let step = (width.saturating_mul(chunk_rows) / rows).max(chunk_rows);
    CutStrategy::Even { min, step }
}

fn next_number(range: &KeyRange, min: i128, step: i128) -> Option<KeyBound> {
    let number = |bound: &KeyBound| bound.0.first().and_then(|text| text.parse::<i128>().ok());
    let low = match &range.low {
        Some(low) => number(low)?,
        None => min,
    };
    let cut = low.checked_add(step)?;
    let inside = match &range.high {
        Some(high) if range.high_inclusive => cut <= number(high)?,
        Some(high) => cut < number(high)?,
        // Without an end there is nothing to stop at.
        None => false,
    };
    inside.then(|| KeyBound(vec![cut.to_string()]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bound(number: i128) -> Option<KeyBound> {
        Some(KeyBound(vec![number.to_string()]))
    }

    #[test]
    fn sparse_keys_and_unknown_sizes_are_counted_by_the_server() {
        assert_eq!(
            strategy_for(1, 1000, 1000, 10),
            CutStrategy::Even { min: 1, step: 10 }
        );
        assert_eq!(
            strategy_for(1, 5000, 1000, 10),
            CutStrategy::Even { min: 1, step: 50 }
        );
        assert_eq!(
            strategy_for(1, 1000, 5000, 10),
            CutStrategy::Even { min: 1, step: 10 }
        );
        assert_eq!(strategy_for(1, 10_001, 1000, 10), CutStrategy::NextKey);
        assert_eq!(strategy_for(1, 1000, 0, 10), CutStrategy::NextKey);
        let (min, max) = (i128::from(i64::MIN), i128::from(u64::MAX));
        let all = strategy_for(min, max, i128::from(u64::MAX), u64::MAX);
        assert!(matches!(all, CutStrategy::Even { step, .. } if step >= i128::from(u64::MAX)));
    }

    proptest! {
        #[test]
        fn even_cuts_cover_every_number_once(min in -500i128..500, width in 1i128..300, step in 1i128..40) {
            let max = min + width - 1;
            let mut rest = KeyRange { low: None, high: bound(max), high_inclusive: true };
            let mut seen = Vec::new();
            while let Some(cut) = next_number(&rest, min, step) {
                let low = rest.low.map_or(min, |low| low.0[0].parse().unwrap());
                let end: i128 = cut.0[0].parse().unwrap();
                prop_assert!(end > low);
                seen.extend(low..end);
                rest = KeyRange { low: Some(cut), high: bound(max), high_inclusive: true };
            }
            let low = rest.low.map_or(min, |low| low.0[0].parse().unwrap());
            seen.extend(low..=max);
            prop_assert_eq!(seen, (min..=max).collect::<Vec<_>>());
        }
    }
}
