//! Names of base and log files.
//!
//! Java: FSUtils#makeBaseFileName, FSUtils.LOG_FILE_PATTERN.

use std::fmt;

use crate::timeline::InstantTime;

/// A base file: `<fileId>_<writeToken>_<instant>.parquet`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseFile {
    /// Id of the file group; holds no `_`.
    pub file_id: String,
    /// Makes names of repeated attempts differ; holds no `_`.
    pub write_token: String,
    /// Begin time of the action that wrote it.
    pub instant: InstantTime,
    /// `parquet`, `orc` or `hfile`.
    pub extension: String,
    /// Length in bytes; 0 until known.
    pub size_bytes: u64,
}

impl BaseFile {
    /// Reads a file name; `None` if it is not one of a base file.
    pub fn parse(name: &str, size_bytes: u64) -> Option<Self> {
        let (stem, extension) = name.rsplit_once('.')?;
        if name.starts_with('.') || !matches!(extension, "parquet" | "orc" | "hfile" | "lance") {
            return None;
        }
        let mut parts = stem.splitn(3, '_');
        let (file_id, write_token, instant) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            file_id: file_id.to_owned(),
            write_token: write_token.to_owned(),
            instant: instant.parse().ok()?,
            extension: extension.to_owned(),
            size_bytes,
        })
    }
}

impl fmt::Display for BaseFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}_{}_{}.{}",
            self.file_id, self.write_token, self.instant, self.extension
        )
    }
}

/// A log file: `.<fileId>_<instant>.log.<version>[_<writeToken>][.cdc]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogFile {
    /// Id of the file group.
    pub file_id: String,
    /// Version 8 and 9: begin time of the delta commit. Version 6: base instant of the slice.
    pub instant: InstantTime,
    /// Counts from 1.
    pub version: u32,
    /// `digits-digits-digits`; hudi-rs ignores a log file without.
    pub write_token: Option<String>,
    /// A log of change data (`.cdc`), which is not merged.
    pub is_cdc: bool,
    /// Length in bytes; 0 until known.
    pub size_bytes: u64,
}

impl LogFile {
    /// Reads a file name; `None` if it is not one of a log file.
    pub fn parse(name: &str, size_bytes: u64) -> Option<Self> {
        let name = name.strip_prefix('.')?;
        let (stem, rest) = name.rsplit_once(".log.")?;
        let (file_id, instant) = stem.rsplit_once('_')?;
        let (rest, is_cdc) = match rest.strip_suffix(".cdc") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (version, write_token) = match rest.split_once('_') {
            Some((version, token)) => (version, Some(token.to_owned())),
            None => (rest, None),
        };
        // Hadoop's checksum of a log file is called `..<log file>.crc`.
        if file_id.starts_with('.') || !write_token.iter().all(|token| is_write_token(token)) {
            return None;
        }
        Some(Self {
            file_id: file_id.to_owned(),
            instant: instant.parse().ok()?,
            version: version.parse().ok()?,
            write_token,
            is_cdc,
            size_bytes,
        })
    }
}

/// Whether a text is three numbers, `<task>-<stage>-<attempt>`.
fn is_write_token(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split('-').count() == 3 && text.split('-').all(is_number)
}

impl fmt::Display for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ".{}_{}.log.{}", self.file_id, self.instant, self.version)?;
        if let Some(token) = &self.write_token {
            write!(f, "_{token}")?;
        }
        if self.is_cdc {
            f.write_str(".cdc")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_file_names_round_trip() {
        let name = "3e93c8a9-fda0-4e8a-91dc-b4ade7dab76d-0_1-27-53_20260307162557587.parquet";
        assert_eq!(BaseFile::parse(name, 1).unwrap().to_string(), name);
        assert_eq!(
            BaseFile::parse(".3e93_1_20260307162557587.parquet", 1),
            None
        );
        assert_eq!(BaseFile::parse("3e93_20260307162557587.parquet", 1), None);
    }

    #[test]
    fn log_file_names_round_trip() {
        for name in [
            ".036ded81-0_20251220210123755.log.1_0-1022-2928",
            ".d32ed018-0_20261121095546152.log.1_0-4246-5440.cdc",
            ".d32ed018-0_20261121095546152.log.12",
        ] {
            assert_eq!(LogFile::parse(name, 1).unwrap().to_string(), name);
        }
        for name in [
            "d32ed018-0_20261121095546152.log.1",
            "..d32ed018-0_20261121095546152.log.1_0-4246-5440.crc",
            ".d32ed018-0_20261121095546152.log.1_0-4246-5440.crc",
            "..d32ed018-0_20261121095546152.log.1.crc",
        ] {
            assert_eq!(LogFile::parse(name, 1), None, "{name}");
        }
    }
}
