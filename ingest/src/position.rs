//! How far a source has been read: totally ordered within one server, and serialisable into a lake commit.

mod gtid;
mod query;

use std::cmp::Ordering;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use gtid::GtidSet;
pub use query::QueryPosition;

use crate::Result;

/// The end of a source transaction in the binary log of one server.
///
/// Order and equality look at file and offset only: the GTID set says the same in another way, for the case that the server
/// is replaced. Positions of different servers have no order: ask [`Self::is_same_server`] first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BinlogPosition {
    /// Binlog file, such as `mysql-bin.000042`.
    pub file: String,
    /// Offset in the file. Own count: the log's own 32 bits wrap at 4 GiB.
    pub pos: u64,
    /// Everything executed up to here: MySQL's set of intervals, or MariaDB's position with one triple per domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtid: Option<String>,
    /// Whose log it is: MySQL's server_uuid, MariaDB's server_id.
    pub server: String,
}

/// How far a source has been read, as a checkpoint carries it.
pub trait SourcePosition:
    Clone + fmt::Debug + fmt::Display + Serialize + DeserializeOwned + Send + Sync
{
    /// The `scan.mode` that it belongs to.
    const SCAN_MODE: &'static str;

    /// A place in the log as such a position; `None` if it is another kind.
    fn of_log(position: BinlogPosition) -> Option<Self>;
}

impl SourcePosition for BinlogPosition {
    const SCAN_MODE: &'static str = "log";

    fn of_log(position: BinlogPosition) -> Option<Self> {
        Some(position)
    }
}

impl SourcePosition for QueryPosition {
    const SCAN_MODE: &'static str = "query";

    fn of_log(_: BinlogPosition) -> Option<Self> {
        None
    }
}

impl BinlogPosition {
    /// The place behind the transactions of a GTID set, on `server`, wherever that is in its files.
    pub fn of_gtid(gtid: String, server: String) -> Self {
        Self {
            file: String::new(),
            pos: 0,
            gtid: Some(gtid),
            server,
        }
    }

    /// Whether the place is known by its GTID set only.
    pub fn is_by_gtid(&self) -> bool {
        self.file.is_empty()
    }

    /// The number at the end of the file's name; 0 for a name without one.
    fn file_number(&self) -> u64 {
        let digits = self.file.rsplit('.').next().unwrap_or_default();
        digits.parse().unwrap_or(0)
    }

    fn order(&self) -> (u64, &str, u64) {
        (self.file_number(), &self.file, self.pos)
    }

    /// Whether file and offset of the two can be compared.
    pub fn is_same_server(&self, other: &Self) -> bool {
        self.server == other.server
    }

    /// Whether this lies in a later file than `other`.
    pub fn is_in_later_file_than(&self, other: &Self) -> bool {
        (self.file_number(), &self.file) > (other.file_number(), &other.file)
    }

    /// Notes that the transaction `gtid` has been read to its end: MySQL's `uuid:n` joins the set, MariaDB's
    /// `domain-server-n` replaces its domain's.
    ///
    /// # Errors
    /// `Corrupt` when either text is no GTID.
    pub fn add_gtid(&mut self, gtid: &str) -> Result<()> {
        let mut set: GtidSet = self.gtid.as_deref().unwrap_or_default().parse()?;
        set.add(gtid)?;
        self.gtid = Some(set.to_string());
        Ok(())
    }
}

impl fmt::Display for BinlogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.pos)?;
        match &self.gtid {
            Some(gtid) => write!(f, " (GTID {gtid})"),
            None => Ok(()),
        }
    }
}

impl Ord for BinlogPosition {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for BinlogPosition {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for BinlogPosition {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for BinlogPosition {}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file: &str, pos: u64) -> BinlogPosition {
        BinlogPosition {
            file: file.to_owned(),
            pos,
            gtid: None,
            server: "s".to_owned(),
        }
    }

    #[test]
    fn files_are_ordered_by_number_not_by_text() {
        assert!(at("bin.1000000", 4) > at("bin.999999", 900));
        assert!(at("bin.000002", 4) > at("bin.000001", u64::MAX));
        assert!(at("bin.000002", 5) > at("bin.000002", 4));
        assert!(at("bin.1000000", 4).is_in_later_file_than(&at("bin.999999", 4)));
        assert!(!at("bin.000002", 9).is_in_later_file_than(&at("bin.000002", 4)));
    }

    #[test]
    fn the_gtid_does_not_decide_the_order() {
        let mut later = at("bin.000001", 4);
        later.gtid = Some("0-1-9".to_owned());
        assert_eq!(later, at("bin.000001", 4));
    }

    #[test]
    fn survives_json() {
        let mut position = at("bin.000007", 5 << 32);
        position.gtid = Some("0-1-100".to_owned());
        let text = serde_json::to_string(&position).unwrap();
        let back: BinlogPosition = serde_json::from_str(&text).unwrap();
        assert_eq!((back.pos, back.gtid), (5 << 32, Some("0-1-100".to_owned())));
        let without: BinlogPosition =
            serde_json::from_str(r#"{"file":"b.1","pos":4,"server":"s"}"#).unwrap();
        assert_eq!(without.gtid, None);
    }

    #[test]
    fn collects_gtids_of_both_flavours() {
        let mut position = at("bin.000001", 4);
        position.add_gtid("0-1-100").unwrap();
        position.add_gtid("1-5-7").unwrap();
        position.add_gtid("0-2-101").unwrap();
        assert_eq!(position.gtid.as_deref(), Some("0-2-101,1-5-7"));
        assert!(position.add_gtid("nonsense").is_err());
    }
}
