//! How far a table has been read by queries.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::source::mysql::chunk::KeyBound;

/// A place in the order of the columns by which new and changed rows are found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryPosition {
    /// The columns that make the order.
    pub columns: Vec<String>,
    /// Values of the leading ones: rows before are in the table. `None` before the first row.
    pub after: Option<KeyBound>,
    /// Whether rows with just these values are still to be read.
    pub inclusive: bool,
}

impl fmt::Display for QueryPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(after) = &self.after else {
            return f.write_str("before the first row");
        };
        let values = self.columns.iter().zip(after.values());
        let values: Vec<_> = values
            .map(|(column, value)| format!("{column}={value}"))
            .collect();
        f.write_str(&values.join(","))
    }
}
