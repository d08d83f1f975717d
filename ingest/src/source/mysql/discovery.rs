//! Finds the tables that a pipeline's pattern names, with their columns, keys and sizes, from information_schema.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::connection::Connection;
use super::ddl::charset_of_collation;
use super::sql::quote_text;
use crate::schema::{SourceColumn, SourceTable};
use crate::{Error, Result};

/// A table of the source and what is known of its size.
#[derive(Debug, Clone)]
pub struct DiscoveredTable {
    /// Columns and key. The key is empty for a table without a primary or non-null unique key.
    pub table: SourceTable,
    /// Storage engine, such as InnoDB.
    pub engine: String,
    /// `BASE TABLE`, `VIEW`, `SEQUENCE`, `SYSTEM VERSIONED`.
    pub table_type: String,
    /// The server's estimate; InnoDB's may be wrong by a factor of two.
    pub rows_estimated: u64,
    /// Bytes of the clustered index.
    pub data_bytes: u64,
    /// Average bytes of a row in storage; 0 when unknown.
    pub row_bytes_average: u64,
}

type TableName = (String, String);

/// All tables whose `database.table` the pattern matches as a whole, in name order; views and the server's own databases are
/// left out.
///
/// # Errors
/// `Invalid` for a pattern that cannot be anchored, and what the server reports.
pub async fn discover(
    connection: &mut Connection,
    pattern: &Regex,
) -> Result<Vec<DiscoveredTable>> {
    let mut found = discover_all(connection, pattern).await?;
    found.retain(DiscoveredTable::is_base_table);
    Ok(found)
}

/// As [`discover`], with what cannot be captured: views, sequences, system-versioned tables.
///
/// # Errors
/// As [`discover`].
pub async fn discover_all(
    connection: &mut Connection,
    pattern: &Regex,
) -> Result<Vec<DiscoveredTable>> {
    let anchored = Regex::new(&format!("^(?:{})$", pattern.as_str())).map_err(|error| {
        Error::invalid(format!("tables `{pattern}` is no pattern")).with_source(error)
    })?;
    let mut tables = read_tables(connection, &anchored).await?;
    let databases: BTreeSet<&str> = tables
        .keys()
        .map(|(database, _)| database.as_str())
        .collect();
    if databases.is_empty() {
        return Ok(Vec::new());
    }
    let list: Vec<String> = databases.iter().map(|name| quote_text(name)).collect();
    let list = list.join(", ");
    let marked = read_columns(connection, &list, &mut tables).await?;
    read_keys(connection, &list, &marked, &mut tables).await?;
    if connection.server_version().contains("MariaDB") {
        read_json_aliases(connection, &list, &mut tables).await?;
    }
    Ok(tables.into_values().collect())
}

impl DiscoveredTable {
    /// Whether its changes are in the binary log as rows.
    pub fn is_base_table(&self) -> bool {
        self.table_type == "BASE TABLE"
    }
}

async fn read_tables(
    connection: &mut Connection,
    pattern: &Regex,
) -> Result<BTreeMap<TableName, DiscoveredTable>> {
    // MySQL 8 serves day-old estimates unless told otherwise.
    let expiry = "SHOW VARIABLES LIKE 'information_schema_stats_expiry'";
    if !connection.query(expiry).await?.is_empty() {
        connection
            .execute("SET SESSION information_schema_stats_expiry = 0")
            .await?;
    }
    let names = connection
        .query(
            "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA \
             NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')",
        )
        .await?;
    let mut databases = BTreeMap::<String, BTreeMap<String, String>>::new();
    for row in &names {
        let (database, name) = (row.require(0)?, row.require(1)?);
        if pattern.is_match(&format!("{database}.{name}")) {
            let tables = databases.entry(database.to_owned()).or_default();
            tables.insert(name.to_owned(), row.require(2)?.to_owned());
        }
    }
    let mut found = BTreeMap::new();
    for (database, tables) in databases {
        // Sizes make the server open every table: only those of the databases that matter.
        let sizes = connection
            .query(&format!(
                "SELECT TABLE_NAME, ENGINE, TABLE_ROWS, DATA_LENGTH, AVG_ROW_LENGTH, TABLE_COLLATION \
                 FROM information_schema.TABLES WHERE TABLE_SCHEMA = {}",
                quote_text(&database)
            ))
            .await?;
        for row in &sizes {
            let name = row.require(0)?;
            let Some(table_type) = tables.get(name) else {
                continue;
            };
            let number = |position: usize| row.get(position).and_then(|text| text.parse().ok());
            found.insert(
                (database.clone(), name.to_owned()),
                DiscoveredTable {
                    table: SourceTable {
                        database: database.clone(),
                        name: name.to_owned(),
                        columns: Vec::new(),
                        primary_key: Vec::new(),
                        chunk_column: None,
                        charset: row.get(5).map(|name| charset_of_collation(name).to_owned()),
                    },
                    engine: row.get(1).unwrap_or("none").to_owned(),
                    table_type: table_type.clone(),
                    rows_estimated: number(2).unwrap_or(0),
                    data_bytes: number(3).unwrap_or(0),
                    row_bytes_average: number(4).unwrap_or(0),
                },
            );
        }
    }
    Ok(found)
}

/// Fills in the columns; returns which of them the server marks as (part of) its primary key.
async fn read_columns(
    connection: &mut Connection,
    databases: &str,
    tables: &mut BTreeMap<TableName, DiscoveredTable>,
) -> Result<BTreeSet<(TableName, String)>> {
    let rows = connection
        .query(&format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, CHARACTER_SET_NAME, \
             COLLATION_NAME, COLUMN_KEY FROM information_schema.COLUMNS WHERE TABLE_SCHEMA IN ({databases}) \
             ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION"
        ))
        .await?;
    let mut marked = BTreeSet::new();
    for row in &rows {
        let name = (row.require(0)?.to_owned(), row.require(1)?.to_owned());
        let Some(found) = tables.get_mut(&name) else {
            continue;
        };
        let column = row.require(2)?.to_owned();
        if row.get(7) == Some("PRI") {
            marked.insert((name, column.clone()));
        }
        found.table.columns.push(SourceColumn {
            name: column,
            column_type: row.require(3)?.to_owned(),
            nullable: row.get(4) == Some("YES"),
            charset: row.get(5).map(str::to_owned),
            collation: row.get(6).map(str::to_owned),
            is_json_alias: false,
        });
    }
    Ok(marked)
}

/// A unique index: its columns in order; a column is `None` where the index holds an expression.
type UniqueIndex = Vec<Option<String>>;

/// Fills in the keys: PRIMARY, else the unique index without nullable columns that the engine itself clusters by, else the
/// first other one by name.
async fn read_keys(
    connection: &mut Connection,
    databases: &str,
    marked: &BTreeSet<(TableName, String)>,
    tables: &mut BTreeMap<TableName, DiscoveredTable>,
) -> Result<()> {
    let rows = connection
        .query(&format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS \
             WHERE NON_UNIQUE = 0 AND TABLE_SCHEMA IN ({databases}) \
             ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
        ))
        .await?;
    let mut indexes = BTreeMap::<TableName, BTreeMap<String, UniqueIndex>>::new();
    for row in &rows {
        let name = (row.require(0)?.to_owned(), row.require(1)?.to_owned());
        // A unique prefix does not order whole values, but a primary key is one whatever its form.
        let usable = row.get(4).is_none() || row.get(2) == Some("PRIMARY");
        let column = row.get(3).filter(|_| usable).map(str::to_owned);
        let of_table = indexes.entry(name).or_default();
        of_table
            .entry(row.require(2)?.to_owned())
            .or_default()
            .push(column);
    }
    for (name, mut of_table) in indexes {
        let Some(found) = tables.get_mut(&name) else {
            continue;
        };
        if let Some(primary) = of_table.remove("PRIMARY") {
            found.table.primary_key = positions(&found.table, &primary).unwrap_or_default();
            continue;
        }
        let not_null = |key: &Vec<usize>| {
            key.iter().all(|at| {
                found
                    .table
                    .columns
                    .get(*at)
                    .is_some_and(|column| !column.nullable)
            })
        };
        let is_clustered = |key: &Vec<usize>| {
            key.iter()
                .filter_map(|at| found.table.columns.get(*at))
                .all(|column| marked.contains(&(name.clone(), column.name.clone())))
        };
        let keys: Vec<Vec<usize>> = of_table
            .values()
            .filter_map(|columns| positions(&found.table, columns))
            .filter(not_null)
            .collect();
        let chosen = keys
            .iter()
            .find(|key| is_clustered(key))
            .or_else(|| keys.first());
        found.table.primary_key = chosen.cloned().unwrap_or_default();
    }
    Ok(())
}

fn positions(table: &SourceTable, index: &UniqueIndex) -> Option<Vec<usize>> {
    let position = |name: &String| table.columns.iter().position(|column| column.name == *name);
    index
        .iter()
        .map(|column| column.as_ref().and_then(position))
        .collect()
}

/// MariaDB's JSON is LONGTEXT with a check that it is valid.
async fn read_json_aliases(
    connection: &mut Connection,
    databases: &str,
    tables: &mut BTreeMap<TableName, DiscoveredTable>,
) -> Result<()> {
    let rows = connection
        .query(&format!(
            "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS \
             WHERE CONSTRAINT_SCHEMA IN ({databases}) AND CHECK_CLAUSE LIKE 'json_valid(%'"
        ))
        .await?;
    for row in &rows {
        let name = (row.require(0)?.to_owned(), row.require(1)?.to_owned());
        let Some(found) = tables.get_mut(&name) else {
            continue;
        };
        let clause = row.require(2)?;
        for column in &mut found.table.columns {
            let check = format!("json_valid(`{}`)", column.name.replace('`', "``"));
            column.is_json_alias |= column.column_type == "longtext" && clause == check;
        }
    }
    Ok(())
}
