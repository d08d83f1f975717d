//! A table of empty data files with a real timeline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use object_store::memory::InMemory;
use object_store::path::Path;

use crate::codec::properties::Properties;
use crate::config::{TableConfig, TableVersion};
use crate::env::{Clock, Env, MemoryBudget};
use crate::file_group::{BaseFile, LogFile, join_path};
use crate::service::{CleanSummary, Services};
use crate::storage::Storage;
use crate::table::{PROPERTIES_PATH, Table};
use crate::timeline::metadata::{
    ClusteringGroup, ClusteringPlan, CommitMetadata, CompactionOperation, CompactionPlan, Payload,
    RequestedReplaceMetadata, SliceInfo, WriteOperation, WriteStat,
};
use crate::timeline::{Action, ActiveTimeline, Instant, InstantTime, State};

/// The time of step `n`, a second after the one before.
pub(super) fn t(n: u32) -> InstantTime {
    format!("20260101{:02}{:02}{:02}000", n / 3_600, n / 60 % 60, n % 60)
        .parse()
        .unwrap()
}

#[derive(Debug)]
struct FixedClock(DateTime<Utc>);

impl Clock for FixedClock {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}

/// A table and its place.
pub(super) struct HandMade {
    pub(super) storage: Storage,
    pub(super) config: TableConfig,
    clock: Arc<FixedClock>,
}

impl HandMade {
    pub(super) async fn new(version: u32, table_type: &str) -> Self {
        let storage = Storage::with_store(Arc::new(InMemory::new()), Path::from("t"), "/t");
        let layout = if version == 6 { "1" } else { "2" };
        let number = version.to_string();
        let schema = r#"{"type":"record","name":"t","fields":[{"name":"id","type":"long"}]}"#;
        let properties: Properties = [
            ("hoodie.table.name", "t"),
            ("hoodie.table.type", table_type),
            ("hoodie.table.version", number.as_str()),
            ("hoodie.timeline.layout.version", layout),
            ("hoodie.table.partition.fields", "p"),
            ("hoodie.table.timeline.timezone", "UTC"),
            ("hoodie.table.create.schema", schema),
        ]
        .into_iter()
        .collect();
        let config = TableConfig::try_new(properties).unwrap();
        let bytes = config.properties().encode(&[]);
        storage.create(PROPERTIES_PATH, bytes.into()).await.unwrap();
        let begin = DateTime::parse_from_rfc3339("2026-01-01T12:00:00Z").unwrap();
        let clock = Arc::new(FixedClock(begin.to_utc()));
        Self {
            storage,
            config,
            clock,
        }
    }

    /// Copy-on-write, version 9.
    pub(super) async fn cow() -> Self {
        Self::new(9, "COPY_ON_WRITE").await
    }

    /// Merge-on-read, version 9.
    pub(super) async fn mor() -> Self {
        Self::new(9, "MERGE_ON_READ").await
    }

    /// The same at another time of day.
    pub(super) fn at(mut self, later: TimeDelta) -> Self {
        self.clock = Arc::new(FixedClock(self.clock.0 + later));
        self
    }

    pub(super) fn env(&self) -> Env {
        let clock = Arc::<FixedClock>::clone(&self.clock);
        Env {
            clock,
            ..Env::system(MemoryBudget::new(1 << 20))
        }
    }

    pub(super) fn services_on(&self, storage: Storage, settings: &[(&str, &str)]) -> Services {
        let properties: BTreeMap<String, String> = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Table::new(storage, self.config.clone()).services(self.env(), properties)
    }

    pub(super) fn services(&self, settings: &[(&str, &str)]) -> Services {
        self.services_on(self.storage.clone(), settings)
    }

    /// Cleans with a policy and its number.
    pub(super) async fn clean(&self, kept: (&str, u32)) -> Vec<CleanSummary> {
        let number = kept.1.to_string();
        self.services(&[(kept.0, &number)]).clean().await.unwrap()
    }

    pub(super) async fn timeline(&self) -> ActiveTimeline {
        ActiveTimeline::load(&self.storage, &self.config)
            .await
            .unwrap()
    }

    async fn put(&self, time: &InstantTime, action: Action, state: State, bytes: Vec<u8>) {
        let keeps = state == State::Completed && self.config.keeps_completion_times();
        let instant = Instant {
            time: time.clone(),
            action,
            state,
            completion: keeps.then(|| self.completion(time)),
        };
        let path = join_path(&self.config.timeline_dir(), &instant.file_name());
        self.storage.create(&path, bytes.into()).await.unwrap();
    }

    /// Half a second after the begin, unless [`HandMade::complete`] says otherwise.
    fn completion(&self, begin: &InstantTime) -> InstantTime {
        let text = begin.as_str();
        format!("{}500", &text[..14]).parse().unwrap()
    }

    /// Creates data files and the metadata of their partitions.
    pub(super) async fn files(&self, paths: &[String]) {
        for path in paths {
            let (partition, _) = path.rsplit_once('/').unwrap();
            let metadata = format!("{partition}/.hoodie_partition_metadata");
            if !self.storage.exists(&metadata).await.unwrap() {
                let text = Bytes::from_static(b"commitTime=0\npartitionDepth=1\n");
                self.storage.create(&metadata, text).await.unwrap();
            }
            let content = Bytes::from(path.clone());
            self.storage.create(path, content).await.unwrap();
        }
    }

    pub(super) fn metadata(&self, paths: &[String]) -> CommitMetadata {
        let mut metadata = CommitMetadata::new(WriteOperation::Upsert);
        for path in paths {
            let (partition, name) = path.rsplit_once('/').unwrap();
            let base = BaseFile::parse(name, 0).map(|file| file.file_id);
            metadata.add_stat(WriteStat {
                file_id: base.or_else(|| LogFile::parse(name, 0).map(|file| file.file_id)),
                path: Some(path.clone()),
                partition_path: Some(partition.to_owned()),
                ..WriteStat::default()
            });
        }
        metadata
    }

    /// A completed commit or delta commit of step `n` that wrote these files.
    pub(super) async fn commit(&self, n: u32, action: Action, paths: &[String]) {
        self.files(paths).await;
        let metadata = self.metadata(paths).encode_avro().unwrap();
        self.put(&t(n), action, State::Completed, metadata).await;
    }

    /// The same, completed at step `end`.
    pub(super) async fn complete(&self, n: u32, end: u32, action: Action, paths: &[String]) {
        let instant = Instant {
            time: t(n),
            action,
            state: State::Completed,
            completion: Some(t(end)),
        };
        let metadata = self.metadata(paths).encode_avro().unwrap();
        let path = join_path(&self.config.timeline_dir(), &instant.file_name());
        self.storage.create(&path, metadata.into()).await.unwrap();
    }

    /// A completed replace commit of step `n`: new files instead of the groups `(partition, file id)`.
    pub(super) async fn replace(&self, n: u32, groups: &[(&str, &str)], paths: &[String]) {
        self.files(paths).await;
        let bytes = self.replace_metadata(groups, paths);
        self.put(&t(n), Action::ReplaceCommit, State::Completed, bytes)
            .await;
    }

    /// The same, completed at step `end`.
    pub(super) async fn replace_until(
        &self,
        n: u32,
        end: u32,
        groups: &[(&str, &str)],
        paths: &[String],
    ) {
        self.files(paths).await;
        let bytes = self.replace_metadata(groups, paths);
        let name = format!("{}_{}.replacecommit", t(n), t(end));
        let path = join_path(&self.config.timeline_dir(), &name);
        self.storage.create(&path, bytes.into()).await.unwrap();
    }

    fn replace_metadata(&self, groups: &[(&str, &str)], paths: &[String]) -> Vec<u8> {
        let mut metadata = self.metadata(paths);
        metadata.operation_type = Some(WriteOperation::InsertOverwrite.as_str().to_owned());
        for (partition, file_id) in groups {
            let replaced = &mut metadata.partition_to_replace_file_ids;
            let ids = replaced.entry((*partition).to_owned()).or_default();
            ids.push((*file_id).to_owned());
        }
        metadata.encode_replace_avro().unwrap()
    }

    /// An instant that has begun and left files.
    pub(super) async fn pending(&self, n: u32, action: Action, paths: &[String]) {
        self.files(paths).await;
        self.put(&t(n), action, State::Requested, Vec::new()).await;
        self.put(&t(n), action, State::Inflight, Vec::new()).await;
    }

    /// A plan to compact the slices `(partition, file id, base instant)`.
    pub(super) async fn compaction(&self, n: u32, slices: &[(&str, &str, InstantTime)]) {
        let operations = slices
            .iter()
            .map(|(partition, file_id, base)| CompactionOperation {
                base_instant_time: Some(base.to_string()),
                file_id: Some((*file_id).to_owned()),
                partition_path: Some((*partition).to_owned()),
                ..CompactionOperation::default()
            });
        let plan = CompactionPlan {
            operations: Some(operations.collect()),
            ..CompactionPlan::default()
        };
        let bytes = plan.encode_avro().unwrap();
        self.put(&t(n), Action::Compaction, State::Requested, bytes)
            .await;
    }

    /// A plan to cluster the files.
    pub(super) async fn clustering(&self, n: u32, paths: &[String]) {
        let slices = paths.iter().map(|path| SliceInfo {
            data_file_path: Some(self.storage.location_of(path)),
            ..SliceInfo::default()
        });
        let group = ClusteringGroup {
            slices: Some(slices.collect()),
            ..ClusteringGroup::default()
        };
        let plan = RequestedReplaceMetadata {
            operation_type: Some("CLUSTER".to_owned()),
            clustering_plan: Some(ClusteringPlan {
                input_groups: Some(vec![group]),
                ..ClusteringPlan::default()
            }),
            ..RequestedReplaceMetadata::default()
        };
        let (action, bytes) = (self.clustering_action(), plan.encode_avro().unwrap());
        self.put(&t(n), action, State::Requested, bytes).await;
    }

    fn clustering_action(&self) -> Action {
        match self.config.version() {
            TableVersion::Six => Action::ReplaceCommit,
            TableVersion::Eight | TableVersion::Nine => Action::Clustering,
        }
    }

    /// The data files that are there.
    pub(super) async fn left(&self) -> BTreeSet<String> {
        let files = self.storage.list_recursive("").await.unwrap();
        files
            .into_iter()
            .filter(|(path, file)| {
                !path.starts_with(".hoodie/") && !file.name.starts_with(".hoodie_partition")
            })
            .map(|(path, _)| path)
            .collect()
    }

    /// Asserts which data files are left.
    pub(super) async fn assert_left(&self, paths: &[String]) {
        let expected: BTreeSet<String> = paths.iter().cloned().collect();
        assert_eq!(self.left().await, expected);
    }

    /// The slices that a query as of `time` reads, or as of now.
    pub(super) async fn slices(&self, time: Option<&InstantTime>) -> Vec<String> {
        let table = Table::open_storage(self.storage.clone()).await.unwrap();
        let snapshot = table.snapshot(time).await.unwrap();
        shown(snapshot.slices())
    }

    /// The slices of everything that had completed by `time`.
    pub(super) async fn as_completed(&self, time: &InstantTime) -> Vec<String> {
        let table = Table::open_storage(self.storage.clone()).await.unwrap();
        let snapshot = table.incremental(Some(&t(0)), Some(time)).await.unwrap();
        shown(snapshot.slices())
    }

    /// The files that show an incremental query what changed, of instants from `earliest` on.
    pub(super) async fn increment(
        &self,
        since: &InstantTime,
        until: &InstantTime,
        earliest: &InstantTime,
    ) -> Vec<String> {
        let table = Table::open_storage(self.storage.clone()).await.unwrap();
        let snapshot = table.incremental(Some(since), Some(until)).await.unwrap();
        let mut names = Vec::new();
        for slice in snapshot.slices() {
            let base = slice.base_file.iter();
            let base = base.filter(|file| file.instant >= *earliest);
            names.extend(base.map(ToString::to_string));
            let logs = slice.log_files.iter();
            let logs = logs.filter(|file| file.instant >= *earliest);
            names.extend(logs.map(ToString::to_string));
        }
        names
    }

    /// The table's properties name a metadata table.
    pub(super) async fn name_metadata_table(&self) {
        let bytes = self.storage.read(PROPERTIES_PATH).await.unwrap();
        let mut text = String::from_utf8(bytes.to_vec()).unwrap();
        text.push_str("hoodie.table.metadata.partitions=files\n");
        let text = text.into();
        self.storage.overwrite(PROPERTIES_PATH, text).await.unwrap();
    }

    /// Whether they do.
    pub(super) async fn names_metadata_table(&self) -> bool {
        let table = Table::open_storage(self.storage.clone()).await.unwrap();
        !table.config().metadata_partitions().is_empty()
    }

    /// The completed cleans.
    pub(super) async fn cleans(&self) -> usize {
        let timeline = self.timeline().await;
        timeline
            .completed()
            .filter(|instant| instant.action == Action::Clean)
            .count()
    }
}

fn shown(slices: &[crate::file_group::FileSlice]) -> Vec<String> {
    slices
        .iter()
        .map(|slice| {
            let base = slice.base_file.as_ref().map(ToString::to_string);
            let logs: Vec<String> = slice.log_files.iter().map(ToString::to_string).collect();
            format!("{} {base:?} {logs:?}", slice.partition_path)
        })
        .collect()
}

/// Path of a base file of step `n`.
pub(super) fn base(partition: &str, file_id: &str, n: u32) -> String {
    format!("{partition}/{file_id}_0-0-0_{}.parquet", t(n))
}

/// Path of a log file of step `n`; on version 6, of the slice of step `n`.
pub(super) fn log(partition: &str, file_id: &str, n: u32) -> String {
    format!("{partition}/.{file_id}_{}.log.1_0-0-0", t(n))
}
