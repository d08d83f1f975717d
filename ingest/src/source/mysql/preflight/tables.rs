//! Checks of each table that the pattern names.

use super::access::{account, is_denied};
use super::{Finding, Level, PreflightRequest, of_error};
use crate::Result;
use crate::config::record_key;
use crate::source::mysql::connection::Connection;
use crate::source::mysql::discovery::{DiscoveredTable, discover_all};
use crate::source::mysql::server::ServerInfo;
use crate::source::mysql::server_error::is_altered;
use crate::source::mysql::sql::quote_name;
use crate::transform::check_expressions;

pub(super) async fn check(
    connection: &mut Connection,
    server: &ServerInfo,
    request: &PreflightRequest<'_>,
    findings: &mut Vec<Finding>,
) -> Result<Vec<DiscoveredTable>> {
    let pattern = request.tables;
    let found = discover_all(connection, pattern).await?;
    let account = account(connection).await?;
    if !found.iter().any(DiscoveredTable::is_base_table) {
        findings.push(
            Finding::new(
                Level::Error,
                "tables",
                format!(
                    "no table matches `{pattern}`, a regular expression on database.table; tables without SELECT \
                     for {account} do not show"
                ),
            )
            .mend(format!("GRANT SELECT ON `database`.* TO {account}")),
        );
    }
    for table in &found {
        if !table.is_base_table() {
            findings.push(Finding::new(
                Level::Warning,
                table.table.to_string(),
                format!(
                    "is a {}: it is left out, its changes are not in the log as rows",
                    table.table_type
                ),
            ));
            continue;
        }
        findings.extend(shape(table, server, request));
        findings.extend(readable(connection, table, &account).await?);
        findings.extend(cascades(connection, table).await?);
    }
    Ok(found)
}

/// What the definition alone tells.
fn shape(
    found: &DiscoveredTable,
    server: &ServerInfo,
    request: &PreflightRequest<'_>,
) -> Vec<Finding> {
    let table = &found.table;
    let name = format!(
        "{}.{}",
        quote_name(&table.database),
        quote_name(&table.name)
    );
    let mut findings = Vec::new();
    let mut transforms = request.transforms.iter();
    let transform =
        transforms.find(|transform| transform.source_table.matches(&table.database, &table.name));
    if record_key(request.transforms, table).is_empty() {
        let taken = |wanted: &str| {
            table
                .columns
                .iter()
                .any(|c| c.name.eq_ignore_ascii_case(wanted))
        };
        let column = ["id", "row_id", "lakebed_id"]
            .into_iter()
            .find(|name| !taken(name));
        let can_hide = server.is_mariadb() || server.version >= (8, 0, 23);
        let invisible = if can_hide { " INVISIBLE" } else { "" };
        let column = column.unwrap_or("lakebed_row_id");
        findings.push(
            Finding::new(
                Level::Error,
                table.to_string(),
                "has neither a primary key nor a unique key of non-null columns: rows cannot be told apart",
            )
            .mend(format!(
                "ALTER TABLE {name} ADD COLUMN {column} BIGINT UNSIGNED NOT NULL AUTO_INCREMENT{invisible} PRIMARY KEY"
            )),
        );
    }
    if !["InnoDB", "ROCKSDB", "TokuDB"].contains(&found.engine.as_str()) {
        findings.push(
            Finding::new(
                Level::Warning,
                table.to_string(),
                format!(
                    "its engine {} has no transactions: a snapshot of it is not of one moment",
                    found.engine
                ),
            )
            .mend(format!("ALTER TABLE {name} ENGINE = InnoDB")),
        );
    }
    // Both flavours mark columns in the formats that precede MySQL 5.6 by a comment in the type.
    let old = table
        .columns
        .iter()
        .find(|column| column.column_type.contains("/*"));
    if let Some(column) = old {
        findings.push(
            Finding::new(
                Level::Error,
                table.to_string(),
                format!(
                    "column {} has an old temporal format ({})",
                    column.name, column.column_type
                ),
            )
            .mend(format!("ALTER TABLE {name} FORCE")),
        );
    } else if let Err(error) = table.arrow_schema() {
        findings.push(of_error(table.to_string(), &error));
    } else if let (Some(transform), Some(compiler)) = (transform, request.compiler)
        && let Err(error) = check_expressions(transform, compiler, table)
    {
        findings.push(of_error(table.to_string(), &error));
    }
    findings
}

/// Whether every column may be read.
async fn readable(
    connection: &mut Connection,
    found: &DiscoveredTable,
    account: &str,
) -> Result<Option<Finding>> {
    let table = &found.table;
    let database = quote_name(&table.database);
    let name = format!("{database}.{}", quote_name(&table.name));
    let probe = format!("SELECT {} FROM {name} LIMIT 0", table.select_list());
    match connection.query(&probe).await {
        Ok(_) => Ok(None),
        Err(error) if is_denied(&error) => Ok(Some(
            Finding::new(
                Level::Error,
                table.to_string(),
                format!("{account} may not read all of it"),
            )
            .mend(format!("GRANT SELECT ON {name} TO {account}")),
        )),
        // Altered or dropped since its columns were looked at: a run looks again.
        Err(error) if is_altered(&error) => Ok(None),
        // Broken: this table's trouble only, unless the connection is gone.
        Err(error) if error.is_retryable() => Err(error),
        Err(error) => Ok(Some(of_error(table.to_string(), &error))),
    }
}

/// Foreign keys by which the engine deletes or changes rows along with a parent's, which it does not log.
///
/// information_schema shows foreign keys only to accounts that may write; SHOW CREATE TABLE also to readers.
async fn cascades(connection: &mut Connection, found: &DiscoveredTable) -> Result<Vec<Finding>> {
    let table = &found.table;
    let name = format!(
        "{}.{}",
        quote_name(&table.database),
        quote_name(&table.name)
    );
    let rows = match connection.query(&format!("SHOW CREATE TABLE {name}")).await {
        Ok(rows) => rows,
        // `readable` has reported it.
        Err(error) if !error.is_retryable() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let definition = rows.first().and_then(|row| row.get(1)).unwrap_or_default();
    let lines = definition
        .lines()
        .map(|line| line.trim().trim_end_matches(','));
    Ok(lines.filter_map(cascading_key).map(|(key, rule)| {
        Finding::new(
            Level::Warning,
            table.to_string(),
            format!(
                "foreign key {key} is {rule}: what the engine changes by it is not in the binary log, so that \
                 the lake keeps the old rows"
            ),
        )
        .mend(format!("ALTER TABLE {name} DROP FOREIGN KEY {key}, and let the application do it"))
    })
    .collect())
}

/// Name and rules of a foreign key in a line of SHOW CREATE TABLE, if it changes rows by itself.
fn cascading_key(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line
        .strip_prefix("CONSTRAINT ")?
        .split_once(" FOREIGN KEY ")?;
    let rule = rest.get(rest.rfind(") ON ")? + 2..)?;
    (rule.contains("CASCADE") || rule.contains("SET NULL")).then_some((name, rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_foreign_keys_that_change_rows() {
        let line = |rule: &str| {
            format!("CONSTRAINT `c` FOREIGN KEY (`p`) REFERENCES `parent` (`id`){rule}")
        };
        let rules = " ON DELETE CASCADE ON UPDATE NO ACTION";
        assert_eq!(cascading_key(&line(rules)), Some(("`c`", rules.trim())));
        assert!(cascading_key(&line(" ON UPDATE SET NULL")).is_some());
        assert!(cascading_key(&line(" ON DELETE RESTRICT")).is_none());
        assert!(cascading_key(&line("")).is_none());
        assert!(cascading_key("CONSTRAINT `c` CHECK (`p` > 0)").is_none());
    }
}
