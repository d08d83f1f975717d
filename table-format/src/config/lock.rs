//! How writers of a table keep out of one another's way: concurrency mode and lock, by Hudi's write options.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, Result};

const MODE: &str = "hoodie.write.concurrency.mode";
const EARLY_DETECTION: &str = "hoodie.write.concurrency.early.conflict.detection.enable";
const PROVIDER: &str = "hoodie.write.lock.provider";
/// The second name is that of older releases.
const POLICY: [&str; 2] = [
    "hoodie.clean.failed.writes.policy",
    "hoodie.cleaner.policy.failed.writes",
];
const PACKAGE: &str = "org.apache.hudi.client.transaction.lock";

/// Settings of locks and of concurrent writers. The default is a single writer, beside which services of the same process,
/// and on a local disk of the same machine, may run.
///
/// Java: HoodieLockConfig, LockConfiguration, StorageBasedLockConfig, WriteConcurrencyMode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockSettings {
    /// Several writers at a time, of this and of other engines (`hoodie.write.concurrency.mode`).
    pub(crate) is_optimistic: bool,
    /// Look for conflicts at each new data file too (`hoodie.write.concurrency.early.conflict.detection.enable`).
    pub(crate) detects_early: bool,
    /// The lock that other engines take as well.
    pub(crate) provider: Option<LockProviderKind>,
    /// How long to wait for a lock.
    pub(crate) patience: LockPatience,
    /// Folder of the lock file (`hoodie.write.lock.filesystem.path`); the table's `.hoodie` if not set.
    pub(crate) filesystem_path: Option<String>,
    /// Age at which a lock file counts as left behind (`hoodie.write.lock.filesystem.expire`, minutes); `None`: never.
    pub(crate) filesystem_expiry: Option<Duration>,
    /// How long a storage-based lock is valid (`hoodie.write.lock.storage.validity.timeout.secs`, 300).
    pub(crate) storage_validity: Duration,
    /// How often it is renewed (`hoodie.write.lock.storage.renew.interval.secs`, 30).
    pub(crate) storage_renewal: Duration,
}

/// A lock that is shared with other processes, by the name of Hudi's class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockProviderKind {
    /// Within this process.
    InProcess,
    /// A lock file, created if it is absent.
    FileSystem,
    /// A lease in an object, replaced if it is unchanged.
    Storage,
}

/// How long to wait for a lock: rounds of `round`, with a pause after each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LockPatience {
    /// `hoodie.write.lock.wait_time_ms`, 60000.
    pub(crate) round: Duration,
    /// One more than `hoodie.write.lock.client.num_retries`, 50.
    pub(crate) rounds: u32,
    /// `hoodie.write.lock.client.wait_time_ms_between_retry`, 5000.
    pub(crate) pause: Duration,
    /// Longest pause between two attempts of a round (`hoodie.write.lock.wait_time_ms_between_retry`, 1000).
    pub(crate) attempt_pause_max: Duration,
}

impl Default for LockSettings {
    fn default() -> Self {
        Self {
            is_optimistic: false,
            detects_early: false,
            provider: None,
            patience: LockPatience {
                round: Duration::from_secs(60),
                rounds: 51,
                pause: Duration::from_secs(5),
                attempt_pause_max: Duration::from_secs(1),
            },
            filesystem_path: None,
            filesystem_expiry: None,
            storage_validity: Duration::from_secs(300),
            storage_renewal: Duration::from_secs(30),
        }
    }
}

impl LockSettings {
    /// The settings that `properties` hold; keys that mean nothing here are left to others.
    ///
    /// # Errors
    /// `Invalid` for values that do not parse or do not go together; `Unsupported` for locks and modes that this version
    /// does not have.
    pub fn from_properties(properties: &BTreeMap<String, String>) -> Result<Self> {
        let options = Options(properties);
        let default = Self::default();
        let patience = default.patience;
        let settings = Self {
            is_optimistic: options.is_optimistic()?,
            detects_early: options.parsed(EARLY_DETECTION, false)?,
            provider: options.provider()?,
            patience: LockPatience {
                round: options.millis("hoodie.write.lock.wait_time_ms", patience.round)?,
                rounds: options
                    .parsed("hoodie.write.lock.client.num_retries", patience.rounds - 1)?
                    .saturating_add(1),
                pause: options.millis(
                    "hoodie.write.lock.client.wait_time_ms_between_retry",
                    patience.pause,
                )?,
                attempt_pause_max: options.millis(
                    "hoodie.write.lock.wait_time_ms_between_retry",
                    patience.attempt_pause_max,
                )?,
            },
            filesystem_path: options.text("hoodie.write.lock.filesystem.path"),
            filesystem_expiry: match options.parsed("hoodie.write.lock.filesystem.expire", 0)? {
                0 => None,
                minutes => Some(Duration::from_secs(
                    60 * u64::from(u32::min(minutes, 1 << 24)),
                )),
            },
            storage_validity: options.seconds(
                &["hoodie.write.lock.storage.validity.timeout.secs"],
                default.storage_validity,
            )?,
            storage_renewal: options.seconds(
                &[
                    "hoodie.write.lock.storage.renew.interval.secs",
                    "hoodie.write.lock.storage.heartbeat.poll.secs",
                ],
                default.storage_renewal,
            )?,
        };
        settings.check(&options)?;
        Ok(settings)
    }

    /// Whether several writers work at a time, of which each leaves the others' pending instants alone.
    pub fn is_optimistic(&self) -> bool {
        self.is_optimistic
    }

    fn check(&self, options: &Options<'_>) -> Result<()> {
        // Java: StorageBasedLockConfig#checkRequiredProps.
        if self.storage_renewal.is_zero() || self.storage_validity < self.storage_renewal * 10 {
            return Err(Error::invalid(
                "hoodie.write.lock.storage.validity.timeout.secs has to be at least ten times \
                 hoodie.write.lock.storage.renew.interval.secs, which has to be at least 1",
            ));
        }
        if !self.is_optimistic {
            return Ok(());
        }
        if self.provider.is_none() {
            return Err(Error::invalid(format!(
                "{MODE}=OPTIMISTIC_CONCURRENCY_CONTROL needs {PROVIDER}, the lock that all writers of the table take"
            )));
        }
        match POLICY.iter().find_map(|key| options.text(key)) {
            Some(policy) if !policy.eq_ignore_ascii_case("LAZY") => Err(Error::invalid(format!(
                "{}={policy} beside other writers: under {MODE}=OPTIMISTIC_CONCURRENCY_CONTROL it has to be LAZY, \
                 or each writer would roll back what the others are writing",
                POLICY[0]
            ))),
            _ => Ok(()),
        }
    }
}

/// Text properties, read as what they have to be.
struct Options<'a>(&'a BTreeMap<String, String>);

impl Options<'_> {
    fn text(&self, key: &str) -> Option<String> {
        let text = self.0.get(key)?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn parsed<T: FromStr>(&self, key: &str, default: T) -> Result<T> {
        match self.text(key) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| {
                let wanted = if key == EARLY_DETECTION {
                    "true or false"
                } else {
                    "a number"
                };
                Error::invalid(format!("{key}={text}: expected {wanted}"))
            }),
        }
    }

    fn millis(&self, key: &str, default: Duration) -> Result<Duration> {
        let default = u32::try_from(default.as_millis()).unwrap_or(u32::MAX);
        Ok(Duration::from_millis(
            self.parsed::<u32>(key, default)?.into(),
        ))
    }

    fn seconds(&self, keys: &[&str], default: Duration) -> Result<Duration> {
        match keys.iter().find(|key| self.text(key).is_some()) {
            None => Ok(default),
            Some(key) => Ok(Duration::from_secs(self.parsed::<u32>(key, 0)?.into())),
        }
    }

    fn is_optimistic(&self) -> Result<bool> {
        match self
            .text(MODE)
            .unwrap_or_default()
            .to_ascii_uppercase()
            .as_str()
        {
            "" | "SINGLE_WRITER" => Ok(false),
            "OPTIMISTIC_CONCURRENCY_CONTROL" => Ok(true),
            other => Err(Error::unsupported(format!(
                "{MODE}={other}: this version knows SINGLE_WRITER and OPTIMISTIC_CONCURRENCY_CONTROL"
            ))),
        }
    }

    fn provider(&self) -> Result<Option<LockProviderKind>> {
        let Some(name) = self.text(PROVIDER) else {
            return Ok(None);
        };
        let class = name
            .strip_prefix(PACKAGE)
            .and_then(|class| class.strip_prefix('.'));
        Ok(Some(match class {
            Some("InProcessLockProvider") => LockProviderKind::InProcess,
            Some("FileSystemBasedLockProvider") => LockProviderKind::FileSystem,
            Some("StorageBasedLockProvider") => LockProviderKind::Storage,
            _ => {
                return Err(Error::unsupported(format!(
                    "{PROVIDER}={name}: this version has InProcessLockProvider, FileSystemBasedLockProvider and \
                     StorageBasedLockProvider of {PACKAGE}"
                )));
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::error::ErrorKind;

    fn settings(pairs: &[(&str, &str)]) -> Result<LockSettings> {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        LockSettings::from_properties(&pairs.collect())
    }

    const FILE_SYSTEM: &str = "org.apache.hudi.client.transaction.lock.FileSystemBasedLockProvider";

    #[test]
    fn reads_hudi_keys() {
        assert_eq!(
            settings(&[("hoodie.other", "x")]).unwrap(),
            LockSettings::default()
        );
        let set = settings(&[
            (MODE, "optimistic_concurrency_control"),
            (PROVIDER, FILE_SYSTEM),
            ("hoodie.write.lock.filesystem.expire", "2"),
            ("hoodie.write.lock.filesystem.path", "/locks"),
            ("hoodie.write.lock.wait_time_ms", "100"),
            ("hoodie.write.lock.client.num_retries", "3"),
            ("hoodie.write.lock.storage.heartbeat.poll.secs", "1"),
            ("hoodie.write.lock.storage.validity.timeout.secs", "10"),
            (EARLY_DETECTION, "true"),
        ])
        .unwrap();
        assert!(set.is_optimistic && set.detects_early);
        assert_eq!(set.provider, Some(LockProviderKind::FileSystem));
        assert_eq!(set.filesystem_expiry, Some(Duration::from_secs(120)));
        assert_eq!(set.filesystem_path.as_deref(), Some("/locks"));
        assert_eq!(
            (set.patience.round, set.patience.rounds),
            (Duration::from_millis(100), 4)
        );
        assert_eq!(set.storage_renewal, Duration::from_secs(1));
    }

    #[rstest]
    #[case(&[(MODE, "OPTIMISTIC_CONCURRENCY_CONTROL")], ErrorKind::Invalid)]
    #[case(&[(MODE, "NON_BLOCKING_CONCURRENCY_CONTROL")], ErrorKind::Unsupported)]
    #[case(&[(PROVIDER, "org.apache.hudi.client.transaction.lock.ZookeeperBasedLockProvider")], ErrorKind::Unsupported)]
    #[case(&[("hoodie.write.lock.wait_time_ms", "soon")], ErrorKind::Invalid)]
    #[case(&[("hoodie.write.lock.storage.validity.timeout.secs", "60")], ErrorKind::Invalid)]
    #[case(&[("hoodie.write.lock.storage.renew.interval.secs", "0")], ErrorKind::Invalid)]
    #[case(&[(MODE, "OPTIMISTIC_CONCURRENCY_CONTROL"), (PROVIDER, FILE_SYSTEM), (POLICY[0], "EAGER")], ErrorKind::Invalid)]
    #[case(&[(MODE, "OPTIMISTIC_CONCURRENCY_CONTROL"), (PROVIDER, FILE_SYSTEM), (POLICY[1], "NEVER")], ErrorKind::Invalid)]
    fn refuses_what_does_not_go_together(#[case] pairs: &[(&str, &str)], #[case] kind: ErrorKind) {
        assert_eq!(settings(pairs).unwrap_err().kind(), kind);
    }
}
