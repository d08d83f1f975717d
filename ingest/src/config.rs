//! Validated settings of a pipeline; the binary fills them from the pipeline file.

mod query_scan;
mod schema_change;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use regex::Regex;

use crate::batch::{OP_TYPE, ORIGIN_COLUMNS, ROW};
use crate::schema::SourceTable;
pub use query_scan::{QueryScan, ScanMode};
pub use schema_change::{SchemaChangeBehavior, SchemaChangeBehaviors, SchemaChangeKind};

/// Where reading starts for a table that has no checkpoint yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartupMode {
    /// Snapshot, then the log (default).
    Initial,
    /// Snapshot only; the pipeline ends when it is committed.
    Snapshot,
    /// Only what is written from now on.
    LatestOffset,
    /// Only the log, from its oldest file on. The columns of today have to be those of all that time.
    EarliestOffset,
    /// Only the log from a place on, which must be the end of a source transaction.
    SpecificOffset {
        /// The log file.
        file: String,
        /// The offset in it.
        pos: u64,
    },
    /// Only the log, behind the transactions of a GTID set.
    Gtid(String),
    /// Only the log, from the first source transaction at this time or later.
    Timestamp(DateTime<Utc>),
}

impl StartupMode {
    /// Whether the rows that are there are read first.
    pub fn loads(&self) -> bool {
        matches!(self, Self::Initial | Self::Snapshot)
    }
}

/// What happens when the log does not go back to a table's position any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PositionLost {
    /// The pipeline stops (default).
    Fail,
    /// The table is loaded anew and replaced in one commit.
    Snapshot,
}

/// A secret that never shows in output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A regular expression that has to match all of `database.table`.
#[derive(Debug, Clone)]
pub struct TablePattern {
    text: String,
    anchored: Regex,
}

impl TablePattern {
    /// Whether it matches the table.
    pub fn matches(&self, database: &str, table: &str) -> bool {
        self.anchored.is_match(&format!("{database}.{table}"))
    }

    /// The expression, bound to both ends of the name.
    pub fn regex(&self) -> &Regex {
        &self.anchored
    }
}

impl FromStr for TablePattern {
    type Err = regex::Error;

    fn from_str(text: &str) -> Result<Self, regex::Error> {
        Ok(Self {
            text: text.to_owned(),
            anchored: Regex::new(&format!("^(?:{text})$"))?,
        })
    }
}

impl fmt::Display for TablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The MySQL or MariaDB server to read.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// Host name or address.
    pub hostname: String,
    /// TCP port; default 3306.
    pub port: u16,
    /// Account with SELECT, REPLICATION SLAVE and REPLICATION CLIENT (BINLOG MONITOR).
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// The tables to capture.
    pub tables: TablePattern,
    /// First id under which the binlog dump registers; unique among the server's replicas.
    pub server_id: u32,
    /// How changes are found.
    pub scan_mode: ScanMode,
    /// Where to start; default initial.
    pub startup_mode: StartupMode,
    /// What a purged log means.
    pub position_lost: PositionLost,
    /// Most rows of a snapshot chunk; default 65536.
    pub chunk_rows_max: u64,
    /// Columns that cut the chunks of tables in place of their keys; the first match wins.
    pub chunk_columns: Vec<(TablePattern, String)>,
    /// Most rows a second that snapshots read, all readers together; no limit if `None`.
    pub snapshot_rows_per_second: Option<u64>,
    /// TLS: `disabled`, `preferred` (default), `required`, `verify-ca`, `verify-identity`.
    pub ssl_mode: String,
    /// PEM file with the certificates that sign the server's, for the verifying modes.
    pub ssl_ca: Option<String>,
    /// PEM file with the client's certificate, for accounts that REQUIRE X509; goes with `ssl_key`.
    pub ssl_cert: Option<String>,
    /// PEM file with the private key of `ssl_cert`.
    pub ssl_key: Option<String>,
}

/// The kind of Hudi table to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkTableType {
    /// Every commit rewrites the base files that it touches.
    CopyOnWrite,
    /// Commits append log files (default).
    MergeOnRead,
}

/// Where tables end up and when changes become visible.
#[derive(Debug, Clone)]
pub struct SinkConfig {
    /// Local directory or URL; tables lie in `PATH/DATABASE/TABLE`.
    pub path: String,
    /// For tables that do not exist yet.
    pub table_type: SinkTableType,
    /// Longest time between two commits while changes arrive; default 10 s.
    pub commit_interval: Duration,
    /// Most changed rows in a commit, all tables together; default 1,000,000.
    pub commit_rows_max: u64,
    /// Most bytes of changes in a commit as held in memory; default 256 MiB. Past what memory allows, changes are
    /// written out before the commit.
    pub commit_bytes_max: u64,
    /// How long a table belongs to a daemon that has fallen silent; default 60 s.
    pub lease_timeout: Duration,
    /// `hoodie.*` keys, passed to the table.
    pub hoodie: BTreeMap<String, String>,
}

/// Sends source tables to a lake table of another name.
#[derive(Debug, Clone)]
pub struct Route {
    /// The source tables it applies to.
    pub source_table: TablePattern,
    /// `database.table` in the lake. Source tables that go to one lake table are merged there.
    pub sink_table: String,
    /// What stands for the source table's name in `sink_table`, if anything does.
    pub replace_symbol: Option<String>,
}

/// `database.table` in the lake of a source table: that of the first route that matches, or its own name.
pub fn sink_table(routes: &[Route], database: &str, table: &str) -> String {
    let mut routes = routes.iter();
    match routes.find(|route| route.source_table.matches(database, table)) {
        None => format!("{database}.{table}"),
        Some(route) => match &route.replace_symbol {
            Some(symbol) => route.sink_table.replace(symbol, table),
            None => route.sink_table.clone(),
        },
    }
}

/// Columns, keys and partitions of the lake tables.
#[derive(Debug, Clone)]
pub struct Transform {
    /// The source tables it applies to.
    pub source_table: TablePattern,
    /// The lake's columns as a SQL select list; those of the source if `None`.
    pub projection: Option<String>,
    /// Which rows the lake is to hold, as a SQL condition; all if `None`.
    pub filter: Option<String>,
    /// Columns whose values make the partition path.
    pub partition_keys: Vec<String>,
    /// Columns that identify a row instead of the primary key; `*` stands for all of them.
    pub primary_keys: Vec<String>,
    /// Whether each change becomes a row of its own, in place of changing the one that is there.
    pub appends: bool,
}

/// The column that identifies rows of a lake table that changes are appended to: where the row stands in all that the source
/// gives.
pub const ROW_ID: &str = "_row_id";

impl Transform {
    /// Whether rows are changed or left out.
    pub(crate) fn has_expressions(&self) -> bool {
        self.projection.is_some() || self.filter.is_some() || self.appends
    }

    /// Whether an expression names a column that tells where rows come from.
    pub(crate) fn needs_origin(&self) -> bool {
        let mut texts = self.projection.iter().chain(&self.filter);
        self.appends || texts.any(|text| ORIGIN_COLUMNS.iter().any(|name| text.contains(name)))
    }

    /// The select list of the lake's columns; those of the source if `None`.
    pub(crate) fn select_list(&self) -> Option<String> {
        match (self.appends, &self.projection) {
            (false, projection) => projection.clone(),
            (true, projection) => {
                let columns = projection.as_deref().unwrap_or("*");
                Some(format!("{columns}, {ROW} AS {ROW_ID}"))
            }
        }
    }

    /// Whether the lake tells what happened to a row.
    pub(crate) fn tells_operations(&self) -> bool {
        let projection = self.projection.as_ref();
        projection.is_some_and(|projection| projection.contains(OP_TYPE))
    }

    /// The columns that identify a row of `table`, if they are chosen here; empty otherwise.
    pub fn key_of(&self, table: &SourceTable) -> Vec<String> {
        if self.appends {
            return vec![ROW_ID.to_owned()];
        }
        match self.primary_keys.as_slice() {
            [all] if all == "*" => table
                .columns
                .iter()
                .map(|column| column.name.clone())
                .collect(),
            chosen => chosen.to_vec(),
        }
    }
}

/// The columns that identify rows of a source table in the lake: those that the first transform that matches chooses, or its
/// primary key.
pub fn record_key(transforms: &[Transform], source: &SourceTable) -> Vec<String> {
    let mut transforms = transforms.iter();
    let matches = |transform: &&Transform| {
        transform
            .source_table
            .matches(&source.database, &source.name)
    };
    let chosen = transforms
        .find(matches)
        .map(|transform| transform.key_of(source));
    match chosen {
        Some(chosen) if !chosen.is_empty() => chosen,
        _ => {
            let names = source.primary_key_names().into_iter();
            names.map(str::to_owned).collect()
        }
    }
}

/// A whole pipeline.
#[derive(Debug, Clone)]
pub struct PipelineConfig {
    /// Names the checkpoint.
    pub name: String,
    /// What changes of source tables do.
    pub schema_change: SchemaChangeBehaviors,
    /// Ceiling of what the process holds, in bytes; default 512 MiB, at least 32 MiB.
    pub memory_bytes: u64,
    /// The server.
    pub source: SourceConfig,
    /// The lake.
    pub sink: SinkConfig,
    /// First match wins.
    pub routes: Vec<Route>,
    /// First match wins.
    pub transforms: Vec<Transform>,
    /// Where metrics and probes are answered; nowhere if `None`.
    pub metrics_listen: Option<SocketAddr>,
}

impl PipelineConfig {
    /// `database.table` in the lake of a source table.
    pub fn sink_table(&self, database: &str, table: &str) -> String {
        sink_table(&self.routes, database, table)
    }

    /// The table with the column that cuts its chunks, if one is chosen.
    pub(crate) fn with_chunk_column(&self, table: &SourceTable) -> crate::Result<SourceTable> {
        let mut chosen = self.source.chunk_columns.iter();
        let chosen = chosen.find(|(pattern, _)| pattern.matches(&table.database, &table.name));
        let Some((_, name)) = chosen else {
            return Ok(table.clone());
        };
        let at = table.columns.iter().position(|column| column.name == *name);
        let at = at.ok_or_else(|| {
            crate::Error::invalid(format!(
                "{table} has no column `{name}`; correct scan.incremental.snapshot.chunk.key-column"
            ))
        })?;
        Ok(SourceTable {
            chunk_column: Some(at),
            ..table.clone()
        })
    }

    /// The transform of a source table, if one matches.
    pub fn transform(&self, database: &str, table: &str) -> Option<&Transform> {
        self.transforms
            .iter()
            .find(|transform| transform.source_table.matches(database, table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_patterns_match_whole_names() {
        let pattern: TablePattern = r"shop\.(order|orders)".parse().unwrap();
        assert!(pattern.matches("shop", "orders"));
        assert!(!pattern.matches("shop", "orders_old"));
        assert!(!pattern.matches("myshop", "orders"));
    }

    #[test]
    fn the_first_route_that_matches_names_the_lake_table() {
        let route = |source: &str, sink: &str, symbol: Option<&str>| Route {
            source_table: source.parse().unwrap(),
            sink_table: sink.to_owned(),
            replace_symbol: symbol.map(str::to_owned),
        };
        let routes = [
            route(r"shop_\d\.orders_\d+", "shop.orders", None),
            route(r"shop\..*", "lake.raw_<>", Some("<>")),
        ];
        assert_eq!(sink_table(&routes, "shop_7", "orders_12"), "shop.orders");
        assert_eq!(sink_table(&routes, "shop", "items"), "lake.raw_items");
        assert_eq!(sink_table(&routes, "other", "items"), "other.items");
    }

    #[test]
    fn secrets_do_not_show() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    }
}
