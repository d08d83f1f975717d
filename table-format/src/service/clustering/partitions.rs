//! Which partitions are clustered.
//!
//! Java: PartitionAwareClusteringPlanStrategy#getRegexPatternMatchedPartitions, HoodieWriteConfig#getClusteringPartitionSelected.

use std::collections::BTreeSet;

use regex::Regex;

use crate::error::{Error, Result};

/// A choice among the partitions of a table.
#[derive(Debug, Clone)]
pub(super) enum PartitionChoice {
    /// All of them.
    All,
    /// Those with these paths; a pattern counts no more then.
    Listed(BTreeSet<String>),
    /// Those whose whole path matches.
    Matching(Regex),
}

impl PartitionChoice {
    /// By a list of paths, separated by commas, or else by a regular expression.
    ///
    /// # Errors
    /// `Invalid` for a bad expression.
    pub(super) fn try_new(list: Option<&str>, pattern: Option<&str>) -> Result<Self> {
        let blank = |text: &&str| !text.trim().is_empty();
        if let Some(list) = list.filter(blank) {
            let paths = list.split(',').map(|path| path.trim().trim_matches('/'));
            return Ok(Self::Listed(paths.map(str::to_owned).collect()));
        }
        let Some(pattern) = pattern.filter(blank) else {
            return Ok(Self::All);
        };
        let whole = Regex::new(&format!("^(?:{pattern})$"));
        whole
            .map(Self::Matching)
            .map_err(|error| Error::invalid(format!("`{pattern}`: {error}")))
    }

    /// Whether a partition is among them.
    pub(super) fn takes(&self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Listed(paths) => paths.contains(path),
            Self::Matching(pattern) => pattern.is_match(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_before_patterns_and_patterns_match_whole_paths() {
        let taken = |list, pattern| {
            let choice = PartitionChoice::try_new(list, pattern).unwrap();
            let paths = ["", "day=1", "day=11", "day=2/hour=1"];
            paths.map(|path| u8::from(choice.takes(path)))
        };
        assert_eq!(taken(None, None), [1, 1, 1, 1]);
        assert_eq!(taken(Some(""), Some(" ")), [1, 1, 1, 1]);
        assert_eq!(taken(None, Some("day=1")), [0, 1, 0, 0]);
        assert_eq!(taken(None, Some("day=1|day=2.*")), [0, 1, 0, 1]);
        assert_eq!(
            taken(Some("day=11, day=2/hour=1/"), Some("x")),
            [0, 0, 1, 1]
        );
    }
}
