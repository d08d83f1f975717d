//! Random histories with overlapping writes, compactions, clusterings, overwrites and savepoints. After each clean every query
//! that the policy promises reads the files that it read before, and nothing else is left.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::ErrorKind;
use crate::file_group::FileSlice;
use crate::service::cleaning::tests::table::{HandMade, base, log, t};
use crate::table::Table;
use crate::timeline::{Action, Instant, InstantTime};

type Key = (&'static str, String);

const PARTITIONS: [&str; 3] = ["a", "b", "c"];
const STEPS: usize = 45;

/// A small generator: the same seed, the same history.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).unwrap() % limit
    }

    fn one_in(&mut self, limit: u32) -> bool {
        self.below(limit) == 0
    }
}

#[derive(Clone)]
struct Group {
    /// Base instant of the newest slice, and whether logs lie on it.
    slice: u32,
    has_logs: bool,
}

enum Pending {
    Write(u32, Vec<String>, Vec<Key>),
    Compaction(u32, Vec<Key>),
    Clustering(u32, Vec<Key>),
}

impl Pending {
    fn groups(&self) -> &[Key] {
        match self {
            Self::Write(_, _, groups)
            | Self::Compaction(_, groups)
            | Self::Clustering(_, groups) => groups,
        }
    }
}

struct World {
    table: HandMade,
    is_mor: bool,
    random: Random,
    step: u32,
    groups: BTreeMap<Key, Group>,
    pending: Vec<Pending>,
    /// When each group was replaced.
    replaced: BTreeMap<Key, u32>,
    /// Whether the savepoint was made beside older pending writes.
    has_late_writes: bool,
}

impl World {
    fn next_step(&mut self) -> u32 {
        self.step += 1;
        self.step
    }

    fn new_group(&mut self) -> Key {
        let partition = PARTITIONS[self.random.below(3) as usize];
        (
            partition,
            format!("f{}", self.groups.len() + self.replaced.len() + 1_000),
        )
    }

    fn is_busy(&self, key: &Key) -> bool {
        self.pending.iter().any(|pending| {
            let counts = !self.is_mor || matches!(pending, Pending::Clustering(..));
            counts && pending.groups().contains(key)
        })
    }

    /// Files of a write into some groups, and a new one now and then.
    fn files_of_write(&mut self, step: u32) -> (Vec<String>, Vec<Key>) {
        let keys: Vec<Key> = self.groups.keys().cloned().collect();
        let mut files = Vec::new();
        let mut touched = Vec::new();
        for key in keys {
            if self.random.one_in(2) && !self.is_busy(&key) {
                files.push(if self.is_mor {
                    log(key.0, &key.1, step)
                } else {
                    base(key.0, &key.1, step)
                });
                touched.push(key);
            }
        }
        if files.is_empty() || self.random.one_in(4) {
            let key = self.new_group();
            let is_log = self.is_mor && self.random.one_in(4);
            let file = if is_log { log } else { base };
            files.push(file(key.0, &key.1, step));
            touched.push(key);
        }
        (files, touched)
    }

    fn written(&mut self, step: u32, files: &[String], touched: &[Key]) {
        for (file, key) in files.iter().zip(touched) {
            let is_log = file.contains(".log.");
            let group = self.groups.entry(key.clone()).or_insert(Group {
                slice: step,
                has_logs: is_log,
            });
            if is_log {
                group.has_logs = true;
            } else {
                group.slice = step;
            }
        }
    }

    fn action(&self) -> Action {
        if self.is_mor {
            Action::DeltaCommit
        } else {
            Action::Commit
        }
    }

    async fn write(&mut self) {
        let step = self.next_step();
        let (files, touched) = self.files_of_write(step);
        if self.random.one_in(4) {
            self.table.pending(step, self.action(), &files).await;
            self.pending.push(Pending::Write(step, files, touched));
        } else {
            self.table.commit(step, self.action(), &files).await;
            self.written(step, &files, &touched);
        }
    }

    async fn overwrite(&mut self) {
        let partition = PARTITIONS[self.random.below(3) as usize];
        let is_idle = self
            .pending
            .iter()
            .all(|pending| pending.groups().iter().all(|key| key.0 != partition));
        let keys: Vec<Key> = self
            .groups
            .keys()
            .filter(|key| key.0 == partition)
            .cloned()
            .collect();
        if !is_idle || keys.is_empty() {
            return;
        }
        let step = self.next_step();
        let replaced: Vec<(&str, &str)> = keys.iter().map(|key| (key.0, key.1.as_str())).collect();
        let new = (partition, format!("n{step}"));
        let files = if self.random.one_in(3) {
            Vec::new()
        } else {
            vec![base(new.0, &new.1, step)]
        };
        self.table.replace(step, &replaced, &files).await;
        self.retire(step, &keys);
        self.written(step, &files, &[new]);
    }

    fn retire(&mut self, step: u32, keys: &[Key]) {
        for key in keys {
            self.groups.remove(key);
            self.replaced.insert(key.clone(), step);
        }
    }

    /// Plans a compaction of a merge-on-read table, a clustering of the other kind.
    async fn plan(&mut self) {
        let is_planned = |key: &Key| {
            self.pending.iter().any(|pending| {
                let is_write = matches!(pending, Pending::Write(..));
                (!is_write || !self.is_mor) && pending.groups().contains(key)
            })
        };
        let keys: Vec<Key> = self
            .groups
            .iter()
            .filter(|(key, group)| !is_planned(key) && (!self.is_mor || group.has_logs))
            .map(|(key, _)| key.clone())
            .collect();
        if keys.is_empty() {
            return;
        }
        let step = self.next_step();
        let slices = keys
            .iter()
            .map(|key| (key.0, key.1.as_str(), t(self.groups[key].slice)));
        let slices: Vec<_> = slices.collect();
        if self.is_mor {
            self.table.compaction(step, &slices).await;
            for key in &keys {
                let group = self.groups.get_mut(key).unwrap();
                group.slice = step;
                group.has_logs = false;
            }
            self.pending.push(Pending::Compaction(step, keys));
        } else {
            let keys = keys[..1].to_vec();
            let files: Vec<String> = keys
                .iter()
                .map(|key| base(key.0, &key.1, self.groups[key].slice))
                .collect();
            self.table.clustering(step, &files).await;
            self.pending.push(Pending::Clustering(step, keys));
        }
    }

    async fn finish(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let at = self
            .random
            .below(u32::try_from(self.pending.len()).unwrap()) as usize;
        let end = self.next_step();
        match self.pending.remove(at) {
            Pending::Write(step, files, touched) => {
                self.table.complete(step, end, self.action(), &files).await;
                self.written(step, &files, &touched);
            }
            Pending::Compaction(step, keys) => {
                let files: Vec<String> = keys.iter().map(|key| base(key.0, &key.1, step)).collect();
                self.table.files(&files).await;
                self.table.complete(step, end, Action::Commit, &files).await;
            }
            Pending::Clustering(step, keys) => {
                let new = (keys[0].0, format!("c{step}"));
                let files = [base(new.0, &new.1, step)];
                let replaced: Vec<_> = keys.iter().map(|key| (key.0, key.1.as_str())).collect();
                self.table.replace_until(step, end, &replaced, &files).await;
                self.retire(step, &keys);
                self.written(step, &files, &[new]);
            }
        }
    }

    async fn savepoint(&mut self) {
        let services = self.table.services(&[]);
        let savepoints = services.savepoints().await.unwrap();
        if let Some(first) = savepoints.first() {
            services.delete_savepoint(&first.instant).await.unwrap();
            return;
        }
        let timeline = self.table.timeline().await;
        let writes: Vec<&Instant> = timeline.completed_writes().collect();
        if writes.is_empty() {
            return;
        }
        let at = self.random.below(u32::try_from(writes.len()).unwrap()) as usize;
        let commit = &writes[at].time;
        self.has_late_writes = timeline.pending().any(|pending| pending.time <= *commit);
        match services.create_savepoint(Some(commit), "").await {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
            Ok(made) => {
                assert!(made.files > 0 || self.table.slices(Some(&made.instant)).await.is_empty())
            }
        }
    }

    /// When the commit of a savepoint completed.
    async fn completion_of(&self, savepoint: &Instant) -> InstantTime {
        let timeline = self.table.timeline().await;
        let mut writes = timeline.completed_writes();
        let commit = writes.find(|write| write.time == savepoint.time);
        commit.unwrap().end_time().clone()
    }

    /// Everything that is promised as of `earliest` and later.
    async fn promised(&self, earliest: Option<&InstantTime>) -> Vec<Vec<String>> {
        let mut answers = vec![self.table.slices(None).await];
        let timeline = self.table.timeline().await;
        for savepoint in timeline
            .completed()
            .filter(|instant| instant.action == Action::Savepoint)
        {
            answers.push(
                self.table
                    .as_completed(&self.completion_of(savepoint).await)
                    .await,
            );
            // By begin times a write that was pending when the savepoint was made shows too, once it completes.
            if !self.has_late_writes {
                answers.push(self.table.slices(Some(&savepoint.time)).await);
            }
        }
        let Some(earliest) = earliest else {
            return answers;
        };
        let mut retained = timeline.completed_writes_by_completion();
        retained.retain(|write| write.time >= *earliest);
        for write in &retained {
            answers.push(self.table.slices(Some(&write.time)).await);
        }
        for pair in retained.windows(2) {
            let (since, until) = (pair[0].end_time(), pair[1].end_time());
            answers.push(self.table.increment(since, until, earliest).await);
        }
        answers
    }

    /// Files that a query as of `earliest` or later may read, or one as of the moment before.
    async fn needed(&self, earliest: &InstantTime) -> BTreeSet<String> {
        let timeline = self.table.timeline().await;
        let step = (0..).find(|&step| t(step) == *earliest).unwrap();
        let before: InstantTime = format!("{}999", &t(step - 1).as_str()[..14])
            .parse()
            .unwrap();
        let later = timeline.completed_writes().map(|write| write.time.clone());
        let later = later.filter(|time| time >= earliest);
        let table = Table::open_storage(self.table.storage.clone())
            .await
            .unwrap();
        let mut needed = BTreeSet::new();
        for time in later.chain([before]) {
            let snapshot = table.snapshot(Some(&time)).await.unwrap();
            needed.extend(snapshot.slices().iter().flat_map(paths));
        }
        for path in self.table.left().await {
            let is_late = self.replaced.iter().any(|((partition, file_id), &at)| {
                at >= step && path.starts_with(partition) && path.contains(&format!("{file_id}_"))
            });
            if is_late {
                needed.insert(path);
            }
        }
        needed
    }
}

fn paths(slice: &FileSlice) -> Vec<String> {
    let names = slice.base_file.iter().map(ToString::to_string);
    let names = names.chain(slice.log_files.iter().map(ToString::to_string));
    names.map(|name| slice.path_of(&name)).collect()
}

async fn run(seed: u64, is_mor: bool) -> [usize; 3] {
    let mut random = Random(seed);
    let table = if is_mor {
        HandMade::mor().await
    } else {
        HandMade::cow().await
    };
    let policy = [
        ("hoodie.clean.commits.retained", 1 + random.below(4)),
        ("hoodie.clean.commits.retained", 1 + random.below(4)),
        ("hoodie.clean.fileversions.retained", 1 + random.below(3)),
    ][random.below(3) as usize];
    let mut world = World {
        table,
        is_mor,
        random,
        step: 0,
        groups: BTreeMap::new(),
        pending: Vec::new(),
        replaced: BTreeMap::new(),
        has_late_writes: false,
    };
    let mut seen = [0; 3];
    for _ in 0..STEPS {
        match world.random.below(12) {
            0..=4 => world.write().await,
            5 => world.overwrite().await,
            6 => world.plan().await,
            7 | 8 => world.finish().await,
            9 => world.savepoint().await,
            _ => {
                let number = policy.1.to_string();
                let services = world.table.services(&[(policy.0, &number)]);
                let preview = services.preview_clean().await.unwrap();
                let earliest = preview
                    .first()
                    .and_then(|clean| clean.earliest_commit_to_retain.clone());
                let earliest = earliest.map(|time| time.parse().unwrap());
                let before = world.promised(earliest.as_ref()).await;
                let done = services.clean().await.unwrap();
                let after = world.promised(earliest.as_ref()).await;
                assert_eq!(before, after, "seed {seed}: {done:?}");
                assert_eq!(
                    preview.iter().map(|clean| &clean.files).collect::<Vec<_>>(),
                    done.iter().map(|clean| &clean.files).collect::<Vec<_>>()
                );
                seen[0] += done.len();
                let has_savepoint = !services.savepoints().await.unwrap().is_empty();
                if has_savepoint || !world.pending.is_empty() {
                    continue;
                }
                seen[1] += 1;
                if let Some(earliest) = earliest {
                    let (left, needed) = (world.table.left().await, world.needed(&earliest).await);
                    assert_eq!(left, needed, "seed {seed}");
                    seen[2] += 1;
                }
            }
        }
    }
    seen
}

#[tokio::test]
async fn promised_queries_read_on_and_nothing_else_is_left() {
    let mut seen = [0; 3];
    for seed in 0..16 {
        for is_mor in [false, true] {
            let one = run(seed, is_mor).await;
            seen = [0, 1, 2].map(|at| seen[at] + one[at]);
        }
    }
    assert!(seen[0] > 25 && seen[1] > 10 && seen[2] > 5, "{seen:?}");
}
