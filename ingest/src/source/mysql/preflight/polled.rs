//! Checks of reading by queries: what it needs of the tables, and what it cannot see.

use super::{Finding, Level, of_error};
use crate::Result;
use crate::config::QueryScan;
use crate::schema::SourceTable;
use crate::source::mysql::connection::Connection;
use crate::source::mysql::discovery::DiscoveredTable;
use crate::source::mysql::polling::{PollKey, sees_transactions};
use crate::source::mysql::sql::{quote_name, quote_text};

pub(super) async fn check(
    connection: &mut Connection,
    account: &str,
    scan: &QueryScan,
    found: &[DiscoveredTable],
    findings: &mut Vec<Finding>,
) -> Result<()> {
    findings.push(Finding::new(
        Level::Warning,
        "scan.mode",
        "`query` does not see deletes: deleted rows stay in the lake until `lakebed resnapshot`; of several changes of a row \
         between two rounds it sees the last",
    ));
    if !sees_transactions(connection).await? {
        findings.push(
            Finding::new(
                Level::Warning,
                account,
                format!(
                    "may not look at open transactions: rows that become visible more than {:?} (scan.query.delay) after they \
                     got their values are missed",
                    scan.delay
                ),
            )
            .mend(format!("GRANT PROCESS ON *.* TO {account}")),
        );
    }
    for found in found.iter().filter(|found| found.is_base_table()) {
        let table = &found.table;
        match PollKey::of(scan, table) {
            Err(error) => findings.push(of_error(table.to_string(), &error)),
            Ok(key) => {
                findings.extend(unseen(scan, table));
                findings.extend(unindexed(connection, table, &key).await?);
            }
        }
    }
    Ok(())
}

/// What the chosen columns do not show of a table's changes.
fn unseen(scan: &QueryScan, table: &SourceTable) -> Vec<Finding> {
    let finding = |message: String| Finding::new(Level::Warning, table.to_string(), message);
    let Some(name) = scan.timestamp_column(table) else {
        let message = "without a timestamp column only new rows are seen, no updates".to_owned();
        return vec![finding(message)];
    };
    let mut columns = table.columns.iter();
    let Some(column) = columns.find(|column| column.name == name) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    if column.nullable {
        findings.push(finding(format!(
            "rows whose {name} is NULL are read by the snapshot only"
        )));
    }
    if column
        .column_type
        .to_ascii_lowercase()
        .starts_with("datetime")
    {
        let zone = scan
            .time_zone
            .as_deref()
            .unwrap_or("the server's global one");
        findings.push(Finding::new(
            Level::Info,
            table.to_string(),
            format!(
                "{name} is a DATETIME: its values have to be of the time zone {zone} (scan.query.time-zone); a TIMESTAMP leaves no doubt"
            ),
        ));
    }
    findings
}

/// A table whose order no index has is sorted whole in each round.
async fn unindexed(
    connection: &mut Connection,
    table: &SourceTable,
    key: &PollKey,
) -> Result<Option<Finding>> {
    let Some(leading) = key.names().first() else {
        return Ok(None);
    };
    let sql = format!(
        "SELECT 1 FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} AND COLUMN_NAME = {} \
         AND SEQ_IN_INDEX = 1 LIMIT 1",
        quote_text(&table.database),
        quote_text(&table.name),
        quote_text(leading)
    );
    if !connection.query(&sql).await?.is_empty() {
        return Ok(None);
    }
    let columns: Vec<_> = key.names().iter().map(|name| quote_name(name)).collect();
    let statement = format!(
        "CREATE INDEX lakebed_order ON {}.{} ({})",
        quote_name(&table.database),
        quote_name(&table.name),
        columns.join(", ")
    );
    let message = format!("no index begins with {leading}: each round reads the whole table");
    Ok(Some(
        Finding::new(Level::Warning, table.to_string(), message).mend(statement),
    ))
}
