//! The active timeline: what the files of the timeline folder say, one entry per action.
//!
//! Java: HoodieActiveTimeline, TimelineUtils. The three state files of an action lie side by side; the highest state
//! counts. A compaction and the commit that completes it are one action, and so are clustering and replace commit.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::config::TableConfig;
use crate::error::{Error, Result};
use crate::file_group::join_path;
use crate::storage::Storage;
use crate::timeline::metadata::{CommitMetadata, LATEST_SCHEMA, Payload};
use crate::timeline::{Action, Instant, InstantTime, State};

/// The instants of a table that are not archived, in the order of their begin times.
#[derive(Debug, Clone)]
pub struct ActiveTimeline {
    storage: Storage,
    dir: String,
    instants: Vec<Instant>,
}

impl ActiveTimeline {
    /// Lists the timeline folder.
    ///
    /// # Errors
    /// `Unavailable` when the store gives up.
    pub async fn load(storage: &Storage, config: &TableConfig) -> Result<Self> {
        let dir = config.timeline_dir();
        let listing = storage.list(&dir).await?;
        let instants = listing
            .files
            .iter()
            .filter_map(|file| Instant::parse_file_name(&file.name));
        let instants = highest_states(instants);
        Ok(Self {
            storage: storage.clone(),
            dir,
            instants,
        })
    }

    /// All instants, by begin time.
    pub fn instants(&self) -> &[Instant] {
        &self.instants
    }

    /// The completed ones, by begin time.
    pub fn completed(&self) -> impl DoubleEndedIterator<Item = &Instant> {
        self.instants
            .iter()
            .filter(|instant| instant.state == State::Completed)
    }

    /// Those not completed, by begin time.
    pub fn pending(&self) -> impl DoubleEndedIterator<Item = &Instant> {
        self.instants
            .iter()
            .filter(|instant| instant.state != State::Completed)
    }

    /// Completed instants that may carry data (commits, delta commits, replace commits), by begin time.
    pub fn completed_writes(&self) -> impl DoubleEndedIterator<Item = &Instant> {
        self.completed().filter(|instant| instant.action.is_write())
    }

    /// The same, by completion time (begin time on layout 1).
    pub fn completed_writes_by_completion(&self) -> Vec<&Instant> {
        let mut writes: Vec<&Instant> = self.completed_writes().collect();
        writes.sort_by(|left, right| {
            (left.end_time(), &left.time).cmp(&(right.end_time(), &right.time))
        });
        writes
    }

    /// The latest time on the timeline, begin or completion; new instants must be later.
    pub fn latest_time(&self) -> Option<&InstantTime> {
        self.instants.iter().map(Instant::end_time).max()
    }

    /// Begin time of the oldest write that is no savepoint's; older writes are archived. A savepointed commit may stay
    /// behind when later ones are archived, and so may cleans and rollbacks, which are archived by rules of their own.
    ///
    /// Java: BaseHoodieTimeline#isBeforeTimelineStarts.
    pub fn first_time(&self) -> Option<&InstantTime> {
        let savepoints: BTreeSet<&InstantTime> = self
            .instants
            .iter()
            .filter(|instant| instant.action == Action::Savepoint)
            .map(|instant| &instant.time)
            .collect();
        self.instants
            .iter()
            .find(|instant| instant.action.is_write() && !savepoints.contains(&instant.time))
            .map(|instant| &instant.time)
    }

    /// The instant of an action, if it is on the timeline.
    pub fn find(&self, time: &InstantTime, action: Action) -> Option<&Instant> {
        let action = action.comparable();
        self.instants
            .iter()
            .find(|instant| instant.time == *time && instant.action.comparable() == action)
    }

    /// Table-relative path of an instant's file.
    pub fn path_of(&self, instant: &Instant) -> String {
        join_path(&self.dir, &instant.file_name())
    }

    /// The bytes of an instant's file.
    ///
    /// # Errors
    /// `NotFound` when the file is gone (archived meanwhile); `Unavailable` when the store gives up.
    pub async fn read(&self, instant: &Instant) -> Result<Bytes> {
        self.storage.read(&self.path_of(instant)).await
    }

    /// What a completed commit, delta commit or replace commit wrote.
    ///
    /// # Errors
    /// As [`ActiveTimeline::read`]; `Corrupt` when the file cannot be read.
    pub async fn read_metadata(&self, instant: &Instant) -> Result<CommitMetadata> {
        self.read_payload(instant).await
    }

    /// The payload of an instant's file: a plan, or what an action did.
    ///
    /// # Errors
    /// As [`ActiveTimeline::read_metadata`].
    pub async fn read_payload<P: Payload>(&self, instant: &Instant) -> Result<P> {
        let bytes = self.read(instant).await?;
        P::decode(&bytes).map_err(|error| error.context(self.path_of(instant)))
    }

    /// Avro JSON of the table's schema: that of the latest write that may carry a new one, among those for which `counts` is
    /// true. Latest by completion; on tables with schema on read by begin, as there are the columns.
    ///
    /// Java: TableSchemaResolver#getTableInternalSchemaFromCommitMetadata.
    ///
    /// # Errors
    /// As [`ActiveTimeline::read_metadata`].
    pub async fn latest_schema_among(
        &self,
        counts: impl Fn(&Instant) -> bool,
    ) -> Result<Option<String>> {
        let begun = self.completed_writes().filter(|instant| counts(instant));
        let Some((last, metadata)) = self.last_with_schema(begun.rev()).await? else {
            return Ok(None);
        };
        let mut metadata = metadata;
        if !metadata.extra_metadata.contains_key(LATEST_SCHEMA) {
            let mut completed = self.completed_writes_by_completion();
            completed.retain(|instant| counts(instant));
            let later = completed.into_iter().rev();
            let later = later.take_while(|instant| instant.time != last.time);
            if let Some((_, found)) = self.last_with_schema(later).await? {
                metadata = found;
            }
        }
        Ok(metadata.schema().map(str::to_owned))
    }

    /// The first of these writes that may carry a new schema.
    async fn last_with_schema<'a>(
        &self,
        writes: impl Iterator<Item = &'a Instant>,
    ) -> Result<Option<(&'a Instant, CommitMetadata)>> {
        for instant in writes {
            let metadata = self.read_metadata(instant).await?;
            if metadata.new_schema()?.is_some() {
                return Ok(Some((instant, metadata)));
            }
        }
        Ok(None)
    }

    /// The plan of a pending instant lies in its requested file, whatever state it is in.
    ///
    /// # Errors
    /// As [`ActiveTimeline::read_metadata`].
    pub async fn read_plan<P: Payload>(&self, instant: &Instant) -> Result<P> {
        let requested = Instant {
            state: State::Requested,
            completion: None,
            ..instant.clone()
        };
        self.read_payload(&requested).await.map_err(|error| {
            if error.kind() == crate::error::ErrorKind::NotFound {
                Error::corrupt(
                    self.path_of(&requested),
                    "the plan of a pending action is missing",
                )
                .with_source(error)
            } else {
                error
            }
        })
    }
}

/// Keeps one instant per begin time and comparable action.
fn highest_states(instants: impl Iterator<Item = Instant>) -> Vec<Instant> {
    let mut highest: BTreeMap<(InstantTime, Action), Instant> = BTreeMap::new();
    for instant in instants {
        let key = (instant.time.clone(), instant.action.comparable());
        match highest.get(&key) {
            Some(known) if known.state >= instant.state => {}
            _ => {
                highest.insert(key, instant);
            }
        }
    }
    highest.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_an_action_are_one_instant() {
        let names = [
            "1.compaction.requested",
            "1.compaction.inflight",
            "1_4.commit",
            "2.commit.requested",
            "2.inflight",
            "3.clustering.requested",
            "3_5.replacecommit",
            "foo.commit",
        ];
        let instants = highest_states(
            names
                .iter()
                .filter_map(|name| Instant::parse_file_name(name)),
        );
        let kept: Vec<String> = instants.iter().map(Instant::file_name).collect();
        assert_eq!(kept, ["1_4.commit", "2.inflight", "3_5.replacecommit"]);
    }
}
