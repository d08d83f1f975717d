//! Instants as bars over a common axis.
//!
//! The axis counts beginnings and ends, not seconds: commits of a second, hours apart, would not be seen otherwise.

use std::collections::BTreeSet;

use query::inspect::InstantFacts;

/// The most columns of the picture.
const WIDTH: usize = 32;

/// A bar for each instant: `├──┤` from its beginning to its end, `├──…` when it has not ended, `•` when the end is not known.
pub(super) fn bars(instants: &[InstantFacts]) -> Vec<String> {
    let times: BTreeSet<&str> = instants
        .iter()
        .flat_map(|facts| {
            [
                facts.instant.time.as_str(),
                facts.instant.end_time().as_str(),
            ]
        })
        .collect();
    let times: Vec<&str> = times.into_iter().collect();
    let last = times.len().saturating_sub(1);
    let column = |time: &str| {
        let rank = times.partition_point(|other| *other < time);
        match last {
            0..WIDTH => rank,
            last => rank * (WIDTH - 1) / last,
        }
    };
    let end = column(times.last().copied().unwrap_or_default());
    instants
        .iter()
        .map(|facts| {
            let begin = column(facts.instant.time.as_str());
            let indent = " ".repeat(begin);
            if facts.state() != "completed" {
                return format!("{indent}├{}…", "─".repeat(end.saturating_sub(begin)));
            }
            match column(facts.instant.end_time().as_str()) {
                to if to == begin => format!("{indent}•"),
                to => format!("{indent}├{}┤", "─".repeat(to - begin - 1)),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use table_format::timeline::Instant;

    use super::*;

    fn facts(name: &str) -> InstantFacts {
        InstantFacts {
            instant: Instant::parse_file_name(name).unwrap(),
            is_archived: false,
            operation: None,
            files: 0,
            rows: 0,
            inserts: 0,
            updates: 0,
            deletes: 0,
            bytes: 0,
            writer: None,
            extra_metadata: BTreeMap::new(),
        }
    }

    #[test]
    fn what_ran_side_by_side_stands_one_below_the_other() {
        let names = [
            "1_5.commit",
            "2_3.deltacommit",
            "4.compaction.requested",
            "6.commit",
        ];
        let drawn = bars(&names.map(facts));
        assert_eq!(drawn, ["├───┤", " ├┤", "   ├──…", "     •"]);
    }

    #[test]
    fn long_timelines_are_squeezed() {
        let many: Vec<InstantFacts> = (100..200)
            .map(|n| facts(&format!("{n}_{n}9.commit")))
            .collect();
        assert!(
            bars(&many)
                .iter()
                .all(|bar| bar.chars().count() <= WIDTH + 1)
        );
    }
}
