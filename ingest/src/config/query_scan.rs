//! How tables are read by queries instead of the log.

use std::time::Duration;

use super::TablePattern;
use crate::schema::SourceTable;

/// How changes are found.
#[derive(Debug, Clone)]
pub enum ScanMode {
    /// In the binary log (default).
    Log,
    /// By queries.
    Query(QueryScan),
}

/// How new and changed rows are found by queries.
#[derive(Debug, Clone)]
pub struct QueryScan {
    /// From the end of a round to the next; default 10 s.
    pub interval: Duration,
    /// How long rows may take from getting their values until they are visible; default 2 s. Where the account may look at open
    /// transactions (PROCESS), these are waited for beyond it.
    pub delay: Duration,
    /// The zone of DATETIME columns; the server's if `None`.
    pub time_zone: Option<String>,
    /// Columns that grow with each row, by tables; the first match wins.
    pub incrementing: Vec<(TablePattern, String)>,
    /// Columns with the time of a row's last change, by tables; the first match wins.
    pub timestamp: Vec<(TablePattern, String)>,
}

impl Default for QueryScan {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            delay: Duration::from_secs(2),
            time_zone: None,
            incrementing: Vec::new(),
            timestamp: Vec::new(),
        }
    }
}

impl QueryScan {
    /// The increasing column of a table, if one is chosen.
    pub fn incrementing_column(&self, table: &SourceTable) -> Option<&str> {
        chosen(&self.incrementing, table)
    }

    /// The timestamp column of a table, if one is chosen.
    pub fn timestamp_column(&self, table: &SourceTable) -> Option<&str> {
        chosen(&self.timestamp, table)
    }
}

fn chosen<'a>(list: &'a [(TablePattern, String)], table: &SourceTable) -> Option<&'a str> {
    let mut list = list.iter();
    let chosen = list.find(|(pattern, _)| pattern.matches(&table.database, &table.name));
    chosen.map(|(_, column)| column.as_str())
}
