//! What `fsck` finds, and how it is mended.

use std::fmt;

use bytes::Bytes;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// `hoodie.properties`: missing, checksum, half a change.
    Properties,
    /// A file of the timeline that is empty or cannot be read.
    Instant,
    /// Markers or a heartbeat of an instant that is not pending.
    Leftover,
    /// A folder with data files that readers do not take for a partition.
    Partition,
    /// A data file that no instant knows.
    Orphan,
    /// A file that a live commit names is not there.
    MissingFile,
    /// A file that a live commit names cannot be read.
    BrokenFile,
    /// The statistics of a commit differ from its files.
    Statistics,
    /// The metadata table lacks a commit.
    MetadataTable,
}

impl Check {
    /// The name, as it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Properties => "properties",
            Self::Instant => "instant",
            Self::Leftover => "leftover",
            Self::Partition => "partition",
            Self::Orphan => "orphan",
            Self::MissingFile => "missing-file",
            Self::BrokenFile => "broken-file",
            Self::Statistics => "statistics",
            Self::MetadataTable => "metadata-table",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong with a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub check: Check,
    /// Table-relative path of the file or folder.
    pub file: String,
    /// What is wrong with it.
    pub problem: String,
    /// What a repair does; `None` when it takes a decision, because rows would be lost.
    pub repair: Option<String>,
    /// Whether it has been mended.
    pub is_repaired: bool,
}

/// A finding, and its repair if there is one.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) finding: Finding,
    pub(super) repair: Option<Repair>,
}

/// How a finding is mended.
#[derive(Debug)]
pub(super) enum Repair {
    /// Files are deleted, in this order.
    Delete(Vec<String>),
    /// A file is created.
    Create { path: String, bytes: Bytes },
    /// A file is replaced.
    Overwrite { path: String, bytes: Bytes },
    /// The table's properties are written anew.
    Properties,
    /// The repair of another finding mends this one too.
    WithAnother,
}

impl Problem {
    /// One that is only reported.
    pub(super) fn reported(check: Check, file: String, problem: String) -> Self {
        let finding = Finding {
            check,
            file,
            problem,
            repair: None,
            is_repaired: false,
        };
        Self {
            finding,
            repair: None,
        }
    }

    /// One that can be mended; `how` says what the repair does.
    pub(super) fn repairable(
        check: Check,
        file: String,
        problem: String,
        how: impl Into<String>,
        repair: Repair,
    ) -> Self {
        let mut reported = Self::reported(check, file, problem);
        reported.finding.repair = Some(how.into());
        reported.repair = Some(repair);
        reported
    }
}
