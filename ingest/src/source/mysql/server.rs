//! What kind of server it is, and how it is set up.

use std::collections::BTreeMap;
use std::fmt;

use super::connection::Connection;
use crate::{Error, ErrorKind, Result};

/// The families that differ in protocol and statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// Oracle's MySQL, and services made from it.
    MySql,
    /// MariaDB.
    MariaDb,
    /// Percona Server.
    Percona,
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
            Self::Percona => "Percona Server",
        })
    }
}

/// Flavour, version and global variables, read once.
#[derive(Debug, Clone)]
pub struct ServerInfo {
    /// The family.
    pub flavor: Flavor,
    /// Major, minor, patch.
    pub version: (u16, u16, u16),
    variables: BTreeMap<String, String>,
}

impl ServerInfo {
    /// Asks the server.
    ///
    /// # Errors
    /// `Unavailable` when the connection breaks; `Corrupt` for a version that is none.
    pub async fn read(connection: &mut Connection) -> Result<Self> {
        let rows = connection.query("SHOW GLOBAL VARIABLES").await?;
        let variables: BTreeMap<String, String> = rows
            .iter()
            .filter_map(|row| Some((row.get(0)?.to_ascii_lowercase(), row.get(1)?.to_owned())))
            .collect();
        let text = variables.get("version").map_or("", String::as_str);
        let comment = variables.get("version_comment").map_or("", String::as_str);
        let (flavor, version) = parse_version(text, comment).ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                format!("the server's version is `{text}`"),
            )
        })?;
        Ok(Self {
            flavor,
            version,
            variables,
        })
    }

    /// A global variable; `None` when this server has none of that name.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Whether a switch is on.
    pub fn is_on(&self, name: &str) -> bool {
        matches!(self.variable(name), Some("ON" | "1" | "on" | "YES"))
    }

    /// A variable that is a whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.variable(name)?.parse().ok()
    }

    /// Whether it is MariaDB.
    pub fn is_mariadb(&self) -> bool {
        self.flavor == Flavor::MariaDb
    }

    /// Tells one server's binary log from another's: MySQL's server_uuid; MariaDB has only its server_id.
    pub fn identity(&self) -> String {
        match self.variable("server_uuid") {
            Some(uuid) => uuid.to_owned(),
            None => format!("server-id-{}", self.variable("server_id").unwrap_or("0")),
        }
    }

    /// Whether every transaction has a GTID.
    pub fn has_gtid(&self) -> bool {
        self.is_mariadb() || self.variable("gtid_mode").is_some_and(|mode| mode == "ON")
    }

    /// The statement that shows the end of the binary log; MySQL renamed it in 8.2 and dropped the old name in 8.4.
    pub fn binlog_status_statement(&self) -> &'static str {
        if !self.is_mariadb() && self.version >= (8, 2, 0) {
            "SHOW BINARY LOG STATUS"
        } else {
            "SHOW MASTER STATUS"
        }
    }

    /// The statement that shows what this server itself replicates.
    pub fn replication_statement(&self) -> &'static str {
        if self.is_mariadb() {
            "SHOW ALL SLAVES STATUS"
        } else if self.version >= (8, 0, 22) {
            "SHOW REPLICA STATUS"
        } else {
            "SHOW SLAVE STATUS"
        }
    }
}

impl fmt::Display for ServerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.version;
        write!(f, "{} {major}.{minor}.{patch}", self.flavor)
    }
}

/// Reads `10.11.19-MariaDB-0+deb12u1-log`, with or without the `5.5.5-` that MariaDB greets old replicas with.
fn parse_version(text: &str, comment: &str) -> Option<(Flavor, (u16, u16, u16))> {
    let contains = |word: &str| text.contains(word) || comment.contains(word);
    let flavor = match () {
        () if contains("MariaDB") || contains("mariadb") => Flavor::MariaDb,
        () if contains("Percona") => Flavor::Percona,
        () => Flavor::MySql,
    };
    let text = text.strip_prefix("5.5.5-").unwrap_or(text);
    let end = text
        .find(|c: char| c != '.' && !c.is_ascii_digit())
        .unwrap_or(text.len());
    let mut numbers = text.get(..end)?.split('.').map(str::parse::<u16>);
    let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let patch = numbers.next().and_then(|patch| patch.ok()).unwrap_or(0);
    Some((flavor, (major, minor, patch)))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10.11.19-MariaDB-0+deb12u1-log", "Debian 12", Flavor::MariaDb, (10, 11, 19))]
    #[case("5.5.5-10.6.1-MariaDB", "", Flavor::MariaDb, (10, 6, 1))]
    #[case("11.4.5", "mariadb.org binary distribution", Flavor::MariaDb, (11, 4, 5))]
    #[case("8.0.36-28", "Percona Server (GPL), Release 28", Flavor::Percona, (8, 0, 36))]
    #[case("8.0.12", "MySQL Community Server - GPL", Flavor::MySql, (8, 0, 12))]
    #[case("5.7.mysql_aurora.2.11.1", "", Flavor::MySql, (5, 7, 0))]
    fn knows_the_families(
        #[case] text: &str,
        #[case] comment: &str,
        #[case] flavor: Flavor,
        #[case] version: (u16, u16, u16),
    ) {
        assert_eq!(parse_version(text, comment), Some((flavor, version)));
    }

    #[test]
    fn a_text_without_numbers_is_no_version() {
        assert_eq!(parse_version("latest", ""), None);
    }
}
