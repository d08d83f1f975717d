//! Sets of global transaction ids, in the text forms of both flavours.
//!
//! MySQL: `uuid:1-5:7,uuid2:1-9`, from 8.3 on also with tags, `uuid:1-5:tag:1-3`. MariaDB: `domain-server-sequence`, the
//! last one of each domain.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind, Result};

/// Transactions that were executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GtidSet {
    /// By server uuid, or `uuid:tag`: intervals of numbers, both ends included, sorted, neighbours merged.
    MySql(BTreeMap<String, Vec<(u64, u64)>>),
    /// By domain: server and sequence number of the last transaction.
    MariaDb(BTreeMap<u32, (u32, u64)>),
}

impl GtidSet {
    /// Adds one transaction, or another set.
    ///
    /// # Errors
    /// `Corrupt` when `gtid` is none, or of the other flavour.
    pub fn add(&mut self, gtid: &str) -> Result<()> {
        let other: Self = gtid.parse()?;
        match (&mut *self, other) {
            (Self::MySql(ours), Self::MySql(theirs)) => {
                for (source, intervals) in theirs {
                    let merged = ours.entry(source).or_default();
                    merged.extend(intervals);
                    *merged = merge(std::mem::take(merged));
                }
                Ok(())
            }
            (Self::MariaDb(ours), Self::MariaDb(theirs)) => {
                ours.extend(theirs);
                Ok(())
            }
            (Self::MySql(ours), theirs @ Self::MariaDb(_)) if ours.is_empty() => {
                *self = theirs;
                Ok(())
            }
            (ours, _) => Err(bad(gtid, &format!("the set so far is `{ours}`"))),
        }
    }

    /// Whether the transaction `gtid` is among them. MariaDB's sets hold the last one of each domain and, with it, all before.
    ///
    /// # Errors
    /// `Corrupt` when `gtid` is none.
    pub fn contains(&self, gtid: &str) -> Result<bool> {
        let other: Self = gtid.parse()?;
        Ok(match (self, other) {
            (Self::MySql(ours), Self::MySql(theirs)) => theirs.iter().all(|(source, numbers)| {
                let held = ours.get(source).map_or(&[][..], Vec::as_slice);
                let is_held = |(start, end): &(u64, u64)| {
                    held.iter().any(|(from, to)| from <= start && end <= to)
                };
                numbers.iter().all(is_held)
            }),
            (Self::MariaDb(ours), Self::MariaDb(theirs)) => {
                theirs.iter().all(|(domain, (_, number))| {
                    ours.get(domain).is_some_and(|(_, last)| number <= last)
                })
            }
            (Self::MySql(_), Self::MariaDb(_)) | (Self::MariaDb(_), Self::MySql(_)) => false,
        })
    }

    /// The transactions that both hold.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::MySql(ours), Self::MySql(theirs)) => {
                let both = ours.iter().filter_map(|(source, numbers)| {
                    let shared = intersection(numbers, theirs.get(source)?);
                    (!shared.is_empty()).then(|| (source.clone(), shared))
                });
                Self::MySql(both.collect())
            }
            (Self::MariaDb(ours), Self::MariaDb(theirs)) => {
                let both = ours.iter().filter_map(|(domain, last)| {
                    let other = theirs.get(domain)?;
                    Some((*domain, if last.1 <= other.1 { *last } else { *other }))
                });
                Self::MariaDb(both.collect())
            }
            (Self::MySql(_), Self::MariaDb(_)) | (Self::MariaDb(_), Self::MySql(_)) => {
                Self::MySql(BTreeMap::new())
            }
        }
    }

    /// Whether nothing was executed yet.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::MySql(sources) => sources.is_empty(),
            Self::MariaDb(domains) => domains.is_empty(),
        }
    }
}

fn bad(text: &str, why: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("`{text}` is no GTID set: {why}"),
    )
}

fn merge(mut intervals: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    intervals.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(intervals.len());
    for (start, end) in intervals {
        match merged.last_mut() {
            Some((_, last)) if start <= last.saturating_add(1) => *last = (*last).max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

impl FromStr for GtidSet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let items = || {
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
        };
        if items().next().is_some() && items().all(|item| !item.contains(':')) {
            items()
                .map(|item| parse_mariadb(text, item))
                .collect::<Result<_>>()
                .map(Self::MariaDb)
        } else {
            let mut sources = BTreeMap::new();
            for item in items() {
                parse_mysql(text, item, &mut sources)?;
            }
            Ok(Self::MySql(sources))
        }
    }
}

/// The numbers that lie in both lists of intervals.
fn intersection(ours: &[(u64, u64)], theirs: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let pairs = ours
        .iter()
        .flat_map(|a| theirs.iter().map(move |b| (a.0.max(b.0), a.1.min(b.1))));
    pairs.filter(|(start, end)| start <= end).collect()
}

fn parse_mariadb(text: &str, item: &str) -> Result<(u32, (u32, u64))> {
    let parts: Vec<&str> = item.split('-').collect();
    let [domain, server, sequence] = parts[..] else {
        return Err(bad(text, "expected domain-server-sequence"));
    };
    match (domain.parse(), server.parse(), sequence.parse()) {
        (Ok(domain), Ok(server), Ok(sequence)) => Ok((domain, (server, sequence))),
        _ => Err(bad(text, "expected three numbers")),
    }
}

fn parse_mysql(
    text: &str,
    item: &str,
    sources: &mut BTreeMap<String, Vec<(u64, u64)>>,
) -> Result<()> {
    let mut parts = item.split(':').map(str::trim);
    let uuid = parts.next().unwrap_or_default().to_ascii_lowercase();
    if uuid.len() != 36 {
        return Err(bad(text, "expected a uuid"));
    }
    let mut source = uuid.clone();
    for part in parts {
        let Some(interval) = parse_interval(part) else {
            if part.is_empty() || part.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(bad(text, "expected numbers and intervals behind the uuid"));
            }
            source = format!("{uuid}:{part}");
            continue;
        };
        sources.entry(source.clone()).or_default().push(interval);
    }
    for intervals in sources.values_mut() {
        *intervals = merge(std::mem::take(intervals));
    }
    Ok(())
}

fn parse_interval(text: &str) -> Option<(u64, u64)> {
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let (start, end) = (start.parse().ok()?, end.parse().ok()?);
    (start <= end).then_some((start, end))
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql(sources) => {
                for (index, (source, intervals)) in sources.iter().enumerate() {
                    write!(f, "{}{source}", if index > 0 { "," } else { "" })?;
                    for (start, end) in intervals {
                        match start == end {
                            true => write!(f, ":{start}")?,
                            false => write!(f, ":{start}-{end}")?,
                        }
                    }
                }
            }
            Self::MariaDb(domains) => {
                for (index, (domain, (server, sequence))) in domains.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma}{domain}-{server}-{sequence}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn reads_what_servers_write() {
        let set: GtidSet = format!("{}:1-5:7,\n{B}:9", A.to_uppercase())
            .parse()
            .unwrap();
        assert_eq!(set.to_string(), format!("{A}:1-5:7,{B}:9"));
        let tagged: GtidSet = format!("{A}:1-3:nightly:4-5").parse().unwrap();
        assert_eq!(tagged.to_string(), format!("{A}:1-3,{A}:nightly:4-5"));
        assert!("".parse::<GtidSet>().unwrap().is_empty());
        for wrong in [
            "x",
            "0-1",
            "0-1-x",
            &format!("{A}:5-1"),
            &format!("{A}:"),
            "abc:1",
        ] {
            assert!(wrong.parse::<GtidSet>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_flavours_do_not_mix() {
        let mut set: GtidSet = "0-1-5".parse().unwrap();
        assert!(set.add(&format!("{A}:1")).is_err());
    }

    #[test]
    fn knows_what_it_holds_and_what_two_hold() {
        let parse = |text: &str| text.parse::<GtidSet>().unwrap();
        let (ours, theirs) = (
            parse(&format!("{A}:1-5:9-20")),
            parse(&format!("{A}:3-12,{B}:1")),
        );
        assert!(ours.contains(&format!("{A}:9-11")).unwrap());
        assert!(!ours.contains(&format!("{A}:6")).unwrap() && !ours.contains("0-1-1").unwrap());
        assert_eq!(ours.common(&theirs).to_string(), format!("{A}:3-5:9-12"));
        let (ours, theirs) = (parse("0-1-7,1-1-3"), parse("0-2-9,2-1-1"));
        assert!(ours.contains("0-5-7").unwrap() && !ours.contains("0-1-8").unwrap());
        assert_eq!(ours.common(&theirs).to_string(), "0-1-7");
        assert!(ours.contains("x").is_err());
    }

    proptest! {
        #[test]
        fn holds_exactly_what_was_added(numbers in prop::collection::btree_set(1u64..60, 1..40)) {
            let mut set: GtidSet = "".parse().unwrap();
            for number in numbers.iter().rev() {
                set.add(&format!("{A}:{number}")).unwrap();
            }
            let GtidSet::MySql(sources) = set.to_string().parse::<GtidSet>().unwrap() else { panic!() };
            let held: Vec<u64> = sources[A].iter().flat_map(|(start, end)| *start..=*end).collect();
            prop_assert_eq!(held, numbers.into_iter().collect::<Vec<_>>());
            prop_assert!(sources[A].windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        }
    }
}
