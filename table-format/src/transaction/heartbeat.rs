//! Heartbeats: how writers that share a table tell a slow one from a dead one.
//!
//! Under the LAZY policy a writer creates `.hoodie/.heartbeat/<instant>` before its requested file and writes it anew at an
//! interval; who finds the file too old rolls the write back. The time of the last beat is the file's modification time, so
//! the clock of the store counts for others, and our own clock for ourselves: a writer that was suspended past the
//! tolerance must not complete, for its files may be gone. Spec: Hudi 1.2.0, "Heartbeats"; Java: HoodieHeartbeatClient.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;

use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::Storage;
use crate::timeline::InstantTime;

const HEARTBEAT_ROOT: &str = ".hoodie/.heartbeat";
/// The key of Hudi 1, and the older one.
const POLICY_KEYS: [&str; 2] = [
    "hoodie.clean.failed.writes.policy",
    "hoodie.cleaner.policy.failed.writes",
];
const INTERVAL_KEY: &str = "hoodie.client.heartbeat.interval_in_ms";
const MISSES_KEY: &str = "hoodie.client.heartbeat.tolerable.misses";

/// Which pending writes of others count as failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum FailedWritesPolicy {
    /// All: there is one writer at a time.
    #[default]
    Eager,
    /// Those whose heartbeat has expired.
    Lazy,
    /// None.
    Never,
}

/// What happens to failed writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailedWrites {
    pub(crate) policy: FailedWritesPolicy,
    /// Between two beats.
    pub(crate) interval: Duration,
    /// Beats that may be missed.
    pub(crate) tolerable_misses: u32,
}

impl Default for FailedWrites {
    fn default() -> Self {
        Self {
            policy: FailedWritesPolicy::Eager,
            interval: Duration::from_secs(60),
            tolerable_misses: 2,
        }
    }
}

impl FailedWrites {
    /// The settings that `properties` hold.
    ///
    /// # Errors
    /// `Invalid` for a value that is none.
    pub(crate) fn from_properties(properties: &BTreeMap<String, String>) -> Result<Self> {
        let mut settings = Self::default();
        let refuse = |key: &str, value: &str, expected: &str| {
            Error::invalid(format!("{key}={value}: expected {expected}"))
        };
        for key in POLICY_KEYS {
            let Some(value) = properties.get(key) else {
                continue;
            };
            settings.policy = match value.to_ascii_uppercase().as_str() {
                "EAGER" => FailedWritesPolicy::Eager,
                "LAZY" => FailedWritesPolicy::Lazy,
                "NEVER" => FailedWritesPolicy::Never,
                _ => return Err(refuse(key, value, "EAGER, LAZY or NEVER")),
            };
            break;
        }
        if let Some(value) = properties.get(INTERVAL_KEY) {
            let millis = value.parse().ok().filter(|&millis: &u64| millis > 0);
            let millis = millis.ok_or_else(|| refuse(INTERVAL_KEY, value, "milliseconds"))?;
            settings.interval = Duration::from_millis(millis);
        }
        if let Some(value) = properties.get(MISSES_KEY) {
            let misses = value.parse().ok().filter(|&misses: &u32| misses > 0);
            settings.tolerable_misses =
                misses.ok_or_else(|| refuse(MISSES_KEY, value, "a number of beats"))?;
        }
        Ok(settings)
    }

    /// Which writes have failed when everything is brought to rest: all of them, unless writers may be alive.
    ///
    /// # Errors
    /// As [`FailedWrites::from_properties`].
    pub(crate) fn at_rest(env: &Env, properties: &BTreeMap<String, String>) -> Result<Self> {
        let policy = if env.locks.is_optimistic() {
            FailedWritesPolicy::Lazy
        } else {
            FailedWritesPolicy::Eager
        };
        Ok(Self {
            policy,
            ..Self::from_properties(properties)?
        })
    }

    /// Since a beat at `beat`, has the writer been silent for too long?
    fn is_expired(&self, beat: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        let silence = (now - beat).to_std().unwrap_or(Duration::ZERO);
        silence > self.interval * self.tolerable_misses
    }
}

/// Table-relative path of an instant's heartbeat.
pub(crate) fn heartbeat_path(instant: &InstantTime) -> String {
    format!("{HEARTBEAT_ROOT}/{instant}")
}

/// The heartbeats of a table, as they were when they were listed.
#[derive(Debug)]
pub(crate) struct Heartbeats(HashMap<InstantTime, DateTime<Utc>>);

impl Heartbeats {
    /// Lists the heartbeats.
    pub(crate) async fn load(storage: &Storage) -> Result<Self> {
        let listing = storage.list(HEARTBEAT_ROOT).await?;
        let beats = listing
            .files
            .iter()
            .filter_map(|file| Some((file.name.parse().ok()?, file.modified)));
        Ok(Self(beats.collect()))
    }

    /// The instants that have one.
    pub(crate) fn instants(&self) -> impl Iterator<Item = &InstantTime> {
        self.0.keys()
    }

    /// Whether an instant's writer has been heard of lately; one without heartbeat has not.
    pub(crate) fn is_alive(
        &self,
        instant: &InstantTime,
        now: DateTime<Utc>,
        settings: &FailedWrites,
    ) -> bool {
        self.0
            .get(instant)
            .is_some_and(|beat| !settings.is_expired(*beat, now))
    }
}

/// The heartbeat of a write of ours; it beats until it is dropped.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    storage: Storage,
    env: Env,
    instant: InstantTime,
    settings: FailedWrites,
    /// Begin of the last beat that the store took.
    last: Arc<Mutex<DateTime<Utc>>>,
    task: JoinHandle<()>,
}

impl Heartbeat {
    /// Begins to beat for `instant`, if the policy asks for it. The file is there when this returns.
    pub(crate) async fn start(
        storage: &Storage,
        env: &Env,
        instant: &InstantTime,
        settings: &FailedWrites,
    ) -> Result<Option<Self>> {
        if settings.policy != FailedWritesPolicy::Lazy {
            return Ok(None);
        }
        let begun = env.clock.now();
        storage
            .overwrite(&heartbeat_path(instant), Bytes::new())
            .await?;
        let last = Arc::new(Mutex::new(begun));
        let task = tokio::spawn(beat(
            storage.clone(),
            env.clone(),
            instant.clone(),
            settings.clone(),
            Arc::clone(&last),
        ));
        Ok(Some(Self {
            storage: storage.clone(),
            env: env.clone(),
            instant: instant.clone(),
            settings: settings.clone(),
            last,
            task,
        }))
    }

    /// Fails when the heartbeat has lapsed: others may have rolled the write back, or be about to.
    ///
    /// # Errors
    /// `Conflict`, after which the write must be begun anew.
    pub(crate) fn check(&self) -> Result<()> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if self.settings.is_expired(last, self.env.clock.now()) {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "instant {}: its heartbeat stopped at {last}, so other writers take it for dead; write its rows again",
                    self.instant
                ),
            ));
        }
        Ok(())
    }

    /// Ends the heartbeat of a write that is completed.
    ///
    /// # Errors
    /// What the store says; a heartbeat that stays behind harms nobody.
    pub(crate) async fn stop(self) -> Result<()> {
        self.task.abort();
        self.storage.delete(&heartbeat_path(&self.instant)).await
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Beats until it is stopped, or has been kept from it for so long that the write is lost: beating on then would make a
/// rolled back write look alive.
async fn beat(
    storage: Storage,
    env: Env,
    instant: InstantTime,
    settings: FailedWrites,
    last: Arc<Mutex<DateTime<Utc>>>,
) {
    loop {
        tokio::time::sleep(settings.interval).await;
        let begun = env.clock.now();
        let before = *last.lock().unwrap_or_else(PoisonError::into_inner);
        if settings.is_expired(before, begun) {
            tracing::warn!(%instant, "the heartbeat has lapsed");
            return;
        }
        match storage
            .overwrite(&heartbeat_path(&instant), Bytes::new())
            .await
        {
            Ok(()) => *last.lock().unwrap_or_else(PoisonError::into_inner) = begun,
            Err(error) => tracing::warn!(%instant, %error, "a heartbeat failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<FailedWrites> {
        let properties = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        FailedWrites::from_properties(&properties.collect())
    }

    #[test]
    fn both_keys_are_read_and_the_newer_one_counts() {
        let [newer, older] = POLICY_KEYS;
        assert_eq!(settings(&[]).unwrap().policy, FailedWritesPolicy::Eager);
        assert_eq!(
            settings(&[(older, "lazy")]).unwrap().policy,
            FailedWritesPolicy::Lazy
        );
        let both = settings(&[(older, "LAZY"), (newer, "NEVER"), (INTERVAL_KEY, "500")]).unwrap();
        assert_eq!(both.policy, FailedWritesPolicy::Never);
        assert_eq!(both.interval, Duration::from_millis(500));
        for (key, value) in [
            (newer, "SOMETIMES"),
            (INTERVAL_KEY, "0"),
            (MISSES_KEY, "-1"),
        ] {
            assert_eq!(
                settings(&[(key, value)]).unwrap_err().kind(),
                ErrorKind::Invalid
            );
        }
    }

    #[test]
    fn a_writer_is_alive_within_the_tolerance() {
        let settings = FailedWrites::default();
        let beat = DateTime::<Utc>::UNIX_EPOCH;
        for (seconds, is_expired) in [(-5, false), (0, false), (120, false), (121, true)] {
            let now = beat + chrono::TimeDelta::seconds(seconds);
            assert_eq!(settings.is_expired(beat, now), is_expired, "{seconds} s");
        }
        assert!(!Heartbeats(HashMap::new()).is_alive(&"1".parse().unwrap(), beat, &settings));
    }
}
