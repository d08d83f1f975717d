//! What a query sees of a table: Hudi's query types, and how points in time are named.

use std::sync::Arc;

use chrono::{DateTime, Local, NaiveDate, NaiveDateTime, Utc};
use datafusion::catalog::TableProvider;
use table_format::config::{TableConfig, TimelineZone};
use table_format::env::MemoryBudget;
use table_format::table::Table;
use table_format::timeline::InstantTime;

use crate::changes::ChangesProvider;
use crate::error::{Error, Result};
use crate::table_provider::LakebedTableProvider;

/// The rows that a query sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum QueryType {
    /// The latest committed rows.
    #[default]
    Snapshot,
    /// Rows of base files only: fast, and as old as the last compaction.
    ReadOptimized,
    /// The rows as of a time; text that [`parse_time`] takes.
    TimeTravel(String),
    /// The latest state of the rows that changed in `(since, until]`.
    Incremental {
        /// Excluded; `earliest` for everything.
        since: String,
        /// Included; the newest commit if not given.
        until: Option<String>,
    },
    /// What each commit in `(since, until]` inserted, updated and deleted, with the rows before and after.
    Changes {
        /// Excluded; `earliest` for everything.
        since: String,
        /// Included; the newest commit if not given.
        until: Option<String>,
    },
}

impl QueryType {
    /// What this query sees of `table` now, as a table of the engine's; reading it draws on `memory`.
    ///
    /// # Errors
    /// `Invalid` when a time cannot be read; else as the table's reads.
    pub async fn provider_of(
        &self,
        table: &Table,
        memory: &MemoryBudget,
    ) -> Result<Arc<dyn TableProvider>> {
        let config = table.config();
        let snapshot = match self {
            Self::Snapshot => table.snapshot(None).await?,
            Self::ReadOptimized => table.read_optimized(None).await?,
            Self::TimeTravel(time) => table.snapshot(Some(&parse_time(time, config)?)).await?,
            Self::Incremental { since, until } => {
                let (since, until) = parse_window(since, until.as_deref(), config)?;
                table.incremental(since.as_ref(), until.as_ref()).await?
            }
            Self::Changes { since, until } => {
                let (since, until) = parse_window(since, until.as_deref(), config)?;
                let window = table.change_window(since.as_ref(), until.as_ref()).await?;
                return Ok(Arc::new(ChangesProvider::new(window, memory.clone())));
            }
        };
        Ok(Arc::new(LakebedTableProvider::new(
            snapshot,
            memory.clone(),
        )))
    }
}

/// The times of a window; the first is `None` for `earliest`.
fn parse_window(
    since: &str,
    until: Option<&str>,
    config: &TableConfig,
) -> Result<(Option<InstantTime>, Option<InstantTime>)> {
    let since = (since != "earliest").then_some(since);
    let parse = |text: Option<&str>| text.map(|text| parse_time(text, config)).transpose();
    Ok((parse(since)?, parse(until)?))
}

/// Reads a point in time: an instant (14 or 17 digits), a date, a local date and time, or an RFC 3339 time.
///
/// Instants bear no zone: a time is taken to the zone of the table's timeline, a bare date is of that zone.
///
/// # Errors
/// `Invalid` when `text` is none of these.
pub fn parse_time(text: &str, config: &TableConfig) -> Result<InstantTime> {
    let text = text.trim();
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let digits = match (is_digits, text.len()) {
        // Seconds of old releases count to their end. Java: HoodieInstantTimeGenerator.DEFAULT_MILLIS_EXT.
        (true, 14) => format!("{text}999"),
        (true, 17) => text.to_owned(),
        _ => format_instant(parse_local(text, config)?),
    };
    Ok(digits.parse()?)
}

fn parse_local(text: &str, config: &TableConfig) -> Result<NaiveDateTime> {
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(date.and_time(chrono::NaiveTime::MIN));
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(&text.replacen(' ', "T", 1)) {
        return Ok(match config.timeline_zone()? {
            TimelineZone::Utc => time.with_timezone(&Utc).naive_utc(),
            TimelineZone::Local => time.with_timezone(&Local).naive_local(),
        });
    }
    let local = NaiveDateTime::parse_from_str(&text.replacen('T', " ", 1), "%Y-%m-%d %H:%M:%S%.f");
    local.map_err(|_| {
        Error::Invalid(format!(
            "`{text}` is no time: give an instant (20261121093000123), a date (2026-11-21) or an RFC 3339 time \
             (2026-11-21T09:30:00Z)"
        ))
    })
}

fn format_instant(time: NaiveDateTime) -> String {
    time.format("%Y%m%d%H%M%S%3f").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_to_the_zone_of_the_table() {
        let properties = "hoodie.table.name=t\nhoodie.table.version=9\nhoodie.timeline.layout.version=2\n\
             hoodie.table.timeline.timezone=UTC\n";
        let config = TableConfig::parse(properties.as_bytes()).unwrap();
        for (text, instant) in [
            ("20261121093000123", "20261121093000123"),
            ("20261121093000", "20261121093000999"),
            ("2026-11-21", "20261121000000000"),
            ("2026-11-21T09:30:00.5+02:00", "20261121073000500"),
            ("2026-11-21 09:30:00", "20261121093000000"),
        ] {
            assert_eq!(parse_time(text, &config).unwrap().as_str(), instant);
        }
        assert!(parse_time("yesterday", &config).is_err());
    }
}
