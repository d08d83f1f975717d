//! The changes that a table tells lead from each of its states to the next, whether it logs them or not.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use futures::TryStreamExt;
use proptest::prelude::*;

use crate::config::{TableType, TableVersion};
use crate::error::ErrorKind;
use crate::reader::ReadOptions;
use crate::service::compaction::Due;
use crate::storage::Storage;
use crate::table::{Table, TableSpec};
use crate::testing::{Row, cell};
use crate::timeline::InstantTime;
use crate::writer::tests::compaction::rows;
use crate::writer::tests::model::Key;
use crate::writer::tests::model::{Change, Model, Shape, batch, env, local, schema, small_writer};
use crate::writer::{TableWriter, WriteOperation};

type State = BTreeMap<String, Row>;

async fn create(
    storage: &Storage,
    shape: Shape,
    mode: Option<&str>,
    version: TableVersion,
) -> Table {
    let version = ("hoodie.write.table.version".to_owned(), version.to_string());
    let mut properties = BTreeMap::from([version]);
    if let Some(mode) = mode {
        let pairs = [
            ("hoodie.table.cdc.enabled", "true"),
            ("hoodie.table.cdc.supplemental.logging.mode", mode),
        ];
        properties.extend(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
    let spec = TableSpec {
        name: "trips".to_owned(),
        database: "shop".to_owned(),
        table_type: shape.table_type,
        schema: schema(),
        record_key: vec!["id".to_owned()],
        partition_by: vec!["region".to_owned()],
        ordering: match shape.is_event_time {
            true => vec!["ts".to_owned()],
            false => Vec::new(),
        },
        merge_mode: None,
        properties,
    };
    Table::create(storage.clone(), env(), spec).await.unwrap()
}

/// The rows of the model by their partition and key.
fn state(model: &Model) -> State {
    let rows = model.expected().into_iter();
    rows.map(|((path, key), row)| (format!("{path} {key}"), row))
        .collect()
}

/// The rows of images, and where they belong.
fn images(column: &ArrayRef) -> Vec<Option<(String, Row)>> {
    let images: &StructArray = column.as_struct();
    let (fields, columns) = (images.fields(), images.columns());
    let image = |row: usize| {
        let cells = fields.iter().zip(columns);
        let cells: Row = cells
            .map(|(field, column)| (field.name().clone(), cell(column, row).unwrap()))
            .collect();
        let key = format!("region={} {}", cells["region"], cells["id"]);
        images.is_valid(row).then_some((key, cells))
    };
    (0..images.len()).map(image).collect()
}

/// Takes the changes of a window to a state.
fn replay(state: &mut State, changes: &RecordBatch, instant: &InstantTime) {
    let ops = changes.column(0).as_string::<i32>();
    let times = changes.column(1).as_string::<i32>();
    let (before, after) = (images(changes.column(2)), images(changes.column(3)));
    for (row, (before, after)) in before.into_iter().zip(after).enumerate() {
        assert_eq!(times.value(row), instant.as_str());
        match (ops.value(row), before, after) {
            ("i", None, Some((key, after))) => assert_eq!(state.insert(key, after), None),
            ("u", Some((key, before)), Some((same, after))) => {
                assert_eq!(key, same);
                assert_eq!(state.insert(key, after), Some(before));
            }
            ("d", Some((key, before)), None) => assert_eq!(state.remove(&key), Some(before)),
            (op, before, after) => panic!("{op} {before:?} {after:?}"),
        }
    }
}

struct History {
    table: Table,
    storage: Storage,
    shape: Shape,
    writer: TableWriter,
    model: Model,
    states: Vec<(InstantTime, InstantTime, State)>,
    _dir: tempfile::TempDir,
}

impl History {
    async fn begin(shape: Shape, mode: Option<&str>) -> Self {
        Self::begin_version(shape, mode, TableVersion::Nine).await
    }

    async fn begin_version(shape: Shape, mode: Option<&str>, version: TableVersion) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage = local(&dir);
        let table = create(&storage, shape, mode, version).await;
        Self {
            writer: small_writer(&table).await,
            table,
            storage,
            shape,
            model: Model::default(),
            states: Vec::new(),
            _dir: dir,
        }
    }

    /// One instant with several batches.
    async fn write(&mut self, batches: &[Vec<Change>]) {
        let mut transaction = self.writer.begin(WriteOperation::Upsert).await.unwrap();
        for changes in batches {
            transaction.upsert(batch(changes)).await.unwrap();
        }
        let instant = transaction.commit(BTreeMap::new()).await.unwrap();
        self.model.apply_instant(self.shape, batches);
        let end = instant.end_time().clone();
        self.states.push((instant.time, end, state(&self.model)));
    }

    /// Each window of one commit leads from the state before it to the one after.
    async fn check(&self) {
        let options = ReadOptions::new(env().memory);
        let mut since: Option<InstantTime> = None;
        let mut replayed = State::new();
        for (time, end, expected) in &self.states {
            let window = self.table.change_window(since.as_ref(), Some(end));
            let window = window.await.unwrap();
            for position in 0..window.commits() {
                let commit = window.commit(position).await.unwrap();
                for group in &commit.groups {
                    let batches = commit.read(group, &options).await.unwrap();
                    for batch in batches.try_collect::<Vec<_>>().await.unwrap() {
                        assert_eq!(batch.schema(), window.changes_schema());
                        replay(&mut replayed, &batch, time);
                    }
                }
            }
            assert_eq!(&replayed, expected);
            since = Some(end.clone());
        }
        let all = self.table.change_window(None, None).await.unwrap();
        let mut ends = Vec::new();
        for position in 0..all.commits() {
            let commit = all.retained(position).await.unwrap();
            ends.push(commit.instant.end_time().clone());
        }
        assert!(ends.is_sorted());
    }
}

const MODES: [Option<&str>; 4] = [
    None,
    Some("OP_KEY_ONLY"),
    Some("DATA_BEFORE"),
    Some("DATA_BEFORE_AFTER"),
];

fn shapes() -> impl Iterator<Item = Shape> {
    let types = [TableType::CopyOnWrite, TableType::MergeOnRead];
    types.into_iter().flat_map(|table_type| {
        [false, true].map(|is_event_time| Shape {
            table_type,
            is_partitioned: true,
            key: Key::Int,
            is_event_time,
        })
    })
}

#[tokio::test]
async fn changes_lead_from_state_to_state_over_compactions_and_clusterings() {
    let versions = [TableVersion::Six, TableVersion::Nine];
    let of_versions = shapes().flat_map(|shape| versions.map(|version| (shape, version)));
    for ((shape, version), mode) in of_versions.flat_map(|it| MODES.map(|mode| (it, mode))) {
        let mut history = History::begin_version(shape, mode, version).await;
        history.write(&[rows(0..200, Some(1))]).await;
        history.write(&[rows(150..400, Some(2))]).await;
        history.write(&[rows(40..45, None)]).await;
        let services = history.table.services(env(), BTreeMap::new());
        if shape.table_type == TableType::MergeOnRead {
            services
                .schedule_compaction(Due::Now)
                .await
                .unwrap()
                .unwrap();
            services.execute_pending_compactions().await.unwrap();
        }
        history.write(&[rows(44..50, Some(3))]).await;
        services
            .schedule_clustering(Due::Now)
            .await
            .unwrap()
            .unwrap();
        services.execute_pending_clusterings().await.unwrap();
        history.write(&[rows(0..5, Some(4))]).await;
        history.write(&[rows(2..3, None)]).await;
        history.check().await;
        history.model.check(&history.storage).await;
        let services =
            crate::service::Services::unopened(history.storage.clone(), env(), BTreeMap::new());
        assert_eq!(
            services.fsck(false).await.unwrap(),
            [],
            "{shape:?} {mode:?} {version}"
        );
    }
}

#[tokio::test]
async fn a_commit_names_the_logs_of_what_it_changes() {
    let shape = shapes().next().unwrap();
    let mut history = History::begin(shape, Some("DATA_BEFORE_AFTER")).await;
    history.write(&[rows(0..20, Some(1))]).await;
    history
        .write(&[rows(10..12, Some(2)), rows(11..14, Some(3))])
        .await;
    let timeline = history.table.timeline().await.unwrap();
    let mut commits = timeline.completed_writes();
    let first = timeline
        .read_metadata(commits.next().unwrap())
        .await
        .unwrap();
    assert!(first.write_stats().all(|stat| stat.cdc_stats.is_none()));
    let second = timeline
        .read_metadata(commits.next().unwrap())
        .await
        .unwrap();
    for stat in second.write_stats() {
        let logs = stat.cdc_stats.as_ref().unwrap();
        assert!(!logs.is_empty());
        for (path, bytes) in logs {
            assert!(path.ends_with(".cdc"), "{path}");
            let length = history.storage.size(path).await.unwrap();
            assert_eq!(length, u64::try_from(*bytes).unwrap());
        }
    }
}

#[tokio::test]
async fn windows_whose_files_are_cleaned_are_refused() {
    let shape = shapes().next().unwrap();
    let mut history = History::begin(shape, None).await;
    for round in 0..5 {
        history.write(&[rows(0..20, Some(round))]).await;
    }
    let retained = [("hoodie.clean.commits.retained".to_owned(), "1".to_owned())];
    let services = history.table.services(env(), retained.into());
    services.clean().await.unwrap();
    let all = history.table.change_window(None, None).await.unwrap();
    let error = all.commit(0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let since = &history.states[3].1;
    let late = history
        .table
        .change_window(Some(since), None)
        .await
        .unwrap();
    late.commit(0).await.unwrap();
}

fn batches() -> impl Strategy<Value = Vec<Vec<Change>>> {
    let price = prop::option::weighted(0.7, 0_i64..1_000);
    let change = (0_i64..60, price, 0_i64..4).prop_map(|(id, price, ts)| Change {
        id,
        region: ["eu", "us"][usize::try_from(id % 2).unwrap()],
        price,
        ts,
    });
    let changes = prop::collection::vec(change, 1..30);
    prop::collection::vec(prop::collection::vec(changes, 1..3), 1..6)
        .prop_map(|instants| instants.into_iter().flatten().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// One batch an instant: of several the log tells each step.
    #[test]
    fn random_histories_are_told(instants in batches(), shape in 0_usize..3, mode in 0_usize..4, is_six in any::<bool>()) {
        let shape = shapes().nth(shape).unwrap();
        let version = if is_six { TableVersion::Six } else { TableVersion::Nine };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut history = History::begin_version(shape, MODES[mode], version).await;
            for changes in instants {
                history.write(&[changes]).await;
            }
            history.check().await;
        });
    }
}
