//! The files of the archive: each holds instants of a span of begin times, which its name tells.
//!
//! Java: LSMTimeline. New files are of level 0; ten files of a level are merged into one of the next.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::timeline::InstantTime;

/// A file of the archive, `<first begin time>_<last begin time>_<level>.parquet`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LsmFile {
    /// Least begin time inside.
    pub min: InstantTime,
    /// Greatest begin time inside.
    pub max: InstantTime,
    /// How often its instants were merged.
    pub level: u8,
}

impl fmt::Display for LsmFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_{}.parquet", self.min, self.max, self.level)
    }
}

impl FromStr for LsmFile {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let parts = name
            .strip_suffix(".parquet")
            .map(|stem| stem.split('_').collect::<Vec<_>>());
        if let Some([min, max, level]) = parts.as_deref()
            && level.len() == 1
            && let (Ok(min), Ok(max), Ok(level)) = (min.parse(), max.parse(), level.parse())
        {
            return Ok(Self { min, max, level });
        }
        Err(Error::invalid(format!(
            "`{name}` is not a file of the archive (<begin>_<begin>_<level>.parquet)"
        )))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_names_are_refused() {
        for name in [
            "1_2.parquet",
            "1_2_10.parquet",
            "1_2_x.parquet",
            "1_2_0.parquet.crc",
            ".1_2_0.parquet",
            "1__0.parquet",
            "manifest_1",
        ] {
            assert!(name.parse::<LsmFile>().is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn names_round_trip(min in "[0-9]{1,17}", max in "[0-9]{17}", level in 0_u8..10) {
            let name = format!("{min}_{max}_{level}.parquet");
            let file: LsmFile = name.parse().unwrap();
            prop_assert_eq!(file.to_string(), name);
            prop_assert_eq!(file.level, level);
        }
    }
}
