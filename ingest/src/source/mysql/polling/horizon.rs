//! Up to where rows are complete: what bears a smaller value is visible, or was rolled back. Rows beyond are read as well, and
//! once more when the horizon has passed them: some of their neighbours may not have been visible yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::PollKey;
use super::key::Leading;
use crate::schema::SourceTable;
use crate::source::mysql::chunk::qualified_name;
use crate::source::mysql::connection::Connection;
use crate::source::mysql::server_error::server_error_code;
use crate::source::mysql::sql::quote_text;
use crate::{Error, ErrorKind, Result};

const PRIVILEGE_MISSING: u16 = 1227;
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// Values below which no row can appear any more: the server's clock to the second, and the greatest numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Horizon {
    pub(super) moment: String,
    pub(super) wall_clock: String,
    /// By `database.table`; missing for tables without rows.
    pub(super) numbers: BTreeMap<String, String>,
}

/// Moves the horizon on.
#[derive(Debug)]
pub struct HorizonWatch {
    delay: Duration,
    time_zone: Option<String>,
    candidate: Option<Candidate>,
}

/// Values that transactions which have chosen smaller ones may still come below.
#[derive(Debug)]
struct Candidate {
    horizon: Horizon,
    open: BTreeSet<String>,
    warned: Instant,
}

impl HorizonWatch {
    /// A watch that has not looked yet.
    ///
    /// `delay` is how long rows may take from getting their values until they are visible. Where the account may look at open
    /// transactions, these are waited for beyond it, and it only has to span the moment until a statement counts as one that
    /// writes. `time_zone` is that of DATETIME columns; the server's if `None`.
    pub fn new(delay: Duration, time_zone: Option<String>) -> Self {
        Self {
            delay,
            time_zone,
            candidate: None,
        }
    }

    /// The horizon, once all transactions that may come below it are over: waits for that.
    ///
    /// # Errors
    /// What the server reports.
    pub async fn reach(
        &mut self,
        connection: &mut Connection,
        tables: &[(&SourceTable, &PollKey)],
    ) -> Result<Horizon> {
        loop {
            if let Some(horizon) = self.advance(connection, tables).await? {
                return Ok(horizon);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// The next horizon if all transactions that may come below it are over.
    ///
    /// # Errors
    /// What the server reports.
    pub async fn advance(
        &mut self,
        connection: &mut Connection,
        tables: &[(&SourceTable, &PollKey)],
    ) -> Result<Option<Horizon>> {
        let mut candidate = match self.candidate.take() {
            Some(mut candidate) => {
                let open = writing_transactions(connection).await?;
                let open = open.ok_or_else(privilege_went)?;
                candidate
                    .open
                    .retain(|transaction| open.contains(transaction));
                candidate
            }
            None => {
                let horizon = self.look(connection, tables).await?;
                tokio::time::sleep(self.delay).await;
                // An account that may not look at them has to rely on the delay.
                let open = writing_transactions(connection).await?.unwrap_or_default();
                let warned = Instant::now();
                Candidate {
                    horizon,
                    open,
                    warned,
                }
            }
        };
        if candidate.open.is_empty() {
            return Ok(Some(candidate.horizon));
        }
        if candidate.warned.elapsed() >= WARN_INTERVAL {
            candidate.warned = Instant::now();
            let transactions = &candidate.open;
            tracing::warn!(
                ?transactions,
                "open transactions may still bring rows with values of the past: what is newer is read again and again until \
                 they are over (SHOW ENGINE INNODB STATUS)"
            );
        }
        self.candidate = Some(candidate);
        Ok(None)
    }

    async fn look(
        &self,
        connection: &mut Connection,
        tables: &[(&SourceTable, &PollKey)],
    ) -> Result<Horizon> {
        let mut numbers = BTreeMap::new();
        for (table, key) in tables {
            if key.leading != Leading::Number {
                continue;
            }
            let (column, name) = (key.leading_column(), qualified_name(table));
            let greatest = format!("SELECT MAX({column}) FROM {name}");
            if let Some(number) = connection.query_value(&greatest).await? {
                numbers.insert(table.to_string(), number);
            }
        }
        let moment = time(connection, "UTC_TIMESTAMP()").await?;
        let zone = match &self.time_zone {
            Some(zone) => quote_text(zone),
            None => "@@GLOBAL.time_zone".to_owned(),
        };
        connection
            .execute(&format!("SET SESSION time_zone = {zone}"))
            .await?;
        let wall_clock = time(connection, "NOW()").await?;
        connection
            .execute("SET SESSION time_zone = '+00:00'")
            .await?;
        Ok(Horizon {
            moment,
            wall_clock,
            numbers,
        })
    }
}

async fn time(connection: &mut Connection, expression: &str) -> Result<String> {
    let value = connection
        .query_value(&format!("SELECT {expression}"))
        .await?;
    value.ok_or_else(|| {
        Error::new(
            ErrorKind::Corrupt,
            format!("{expression} of the server is NULL"),
        )
    })
}

/// Whether the account may look at open transactions.
///
/// # Errors
/// What the server reports, but for a missing privilege.
pub async fn sees_transactions(connection: &mut Connection) -> Result<bool> {
    Ok(writing_transactions(connection).await?.is_some())
}

/// The open transactions that have changed rows; `None` when the account may not look at them.
async fn writing_transactions(connection: &mut Connection) -> Result<Option<BTreeSet<String>>> {
    let sql = "SELECT trx_id FROM information_schema.INNODB_TRX WHERE trx_rows_modified > 0";
    match connection.query(sql).await {
        Ok(rows) => {
            let ids = rows.iter().filter_map(|row| row.get(0));
            Ok(Some(ids.map(str::to_owned).collect()))
        }
        Err(error) if server_error_code(&error) == Some(PRIVILEGE_MISSING) => Ok(None),
        Err(error) => Err(error),
    }
}

fn privilege_went() -> Error {
    let message =
        "the account may not look at open transactions any more; GRANT PROCESS ON *.* TO it";
    Error::new(ErrorKind::Conflict, message)
}
