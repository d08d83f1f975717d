//! The contract of locks against each provider, and what leases do when owners die, sleep or differ.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use object_store::memory::InMemory;
use object_store::path::Path;

use super::file_system::FileSystemLock;
use super::in_process::InProcessLock;
use super::lease::{Claim, Lease, LeaseFile, LeaseRecord};
use super::on_machine::OnMachineLock;
use super::provider::{Attempt, HeldLock, LockProvider};
use super::storage_based::StorageBasedLock;
use super::table_lock::TableLock;
use super::writer_lease::WriterLease;
use crate::config::LockSettings;
use crate::env::{Clock, Env, MemoryBudget};
use crate::error::ErrorKind;
use crate::storage::Storage;
use crate::testing::{Fault, FaultyStore};

const PACKAGE: &str = "org.apache.hudi.client.transaction.lock";
const MINUTE: Duration = Duration::from_secs(60);

/// A clock that is set by hand.
#[derive(Debug)]
struct SetClock(Mutex<DateTime<Utc>>);

impl SetClock {
    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += TimeDelta::from_std(by).unwrap();
    }
}

impl Clock for SetClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

fn env() -> Env {
    Env::system(MemoryBudget::new(1 << 20))
}

/// An environment whose clock is set by hand, from now on.
fn env_at_will() -> (Env, Arc<SetClock>) {
    let clock = Arc::new(SetClock(Mutex::new(env().clock.now())));
    let env = Env {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        ..env()
    };
    (env, clock)
}

fn with_settings(env: Env, pairs: &[(&str, &str)]) -> Env {
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let properties: BTreeMap<String, String> = pairs.collect();
    env.with_locks(LockSettings::from_properties(&properties).unwrap())
}

fn local(dir: &tempfile::TempDir) -> Storage {
    Storage::open(dir.path().to_str().unwrap()).unwrap()
}

fn in_memory() -> Storage {
    let root = Path::parse("table").unwrap();
    Storage::with_store(Arc::new(InMemory::new()), root, "memory")
}

async fn acquired(lock: &dyn LockProvider) -> Box<dyn HeldLock> {
    match lock.try_acquire().await.unwrap() {
        Attempt::Acquired(held) => held,
        Attempt::HeldBy(holder) => panic!("{} is held by {holder}", lock.name()),
    }
}

async fn is_held(lock: &dyn LockProvider) -> bool {
    matches!(lock.try_acquire().await.unwrap(), Attempt::HeldBy(_))
}

/// What every lock promises; `make` gives another writer's view of the same lock at each call.
async fn contract(make: impl Fn() -> Box<dyn LockProvider>) {
    let (ours, theirs) = (make(), make());
    let held = acquired(ours.as_ref()).await;
    assert!(is_held(theirs.as_ref()).await);
    assert!(is_held(ours.as_ref()).await, "locks are not taken twice");
    held.check().await.unwrap();
    held.release().await.unwrap();
    let held = acquired(theirs.as_ref()).await;
    assert!(is_held(ours.as_ref()).await);
    held.release().await.unwrap();
}

/// The same, and that one at a time is inside however many come.
async fn contract_of_many(make: impl Fn() -> Box<dyn LockProvider>) {
    contract(&make).await;
    let is_inside = Arc::new(AtomicBool::new(false));
    let sections = Arc::new(AtomicUsize::new(0));
    let tasks = (0..6).map(|_| {
        let (lock, is_inside, sections) = (make(), Arc::clone(&is_inside), Arc::clone(&sections));
        tokio::spawn(async move {
            for _ in 0..5 {
                let held = loop {
                    match lock.try_acquire().await.unwrap() {
                        Attempt::Acquired(held) => break held,
                        Attempt::HeldBy(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                    }
                };
                assert!(!is_inside.swap(true, Ordering::SeqCst), "two are inside");
                tokio::time::sleep(Duration::from_micros(300)).await;
                assert!(is_inside.swap(false, Ordering::SeqCst));
                sections.fetch_add(1, Ordering::SeqCst);
                held.release().await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(sections.load(Ordering::SeqCst), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_lock_within_the_process_keeps_the_contract() {
    contract_of_many(|| Box::new(InProcessLock::new("/lake/in-process-contract"))).await;
    let other = InProcessLock::new("/lake/other");
    let _held = acquired(&InProcessLock::new("/lake/in-process-contract")).await;
    assert!(!is_held(&other).await, "another table has another lock");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_lock_on_the_machine_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract_of_many(|| Box::new(OnMachineLock::try_new(&local(&dir)).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_file_lock_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract_of_many(|| Box::new(FileSystemLock::try_new(&local(&dir), &env()).unwrap())).await;
    assert!(!local(&dir).exists(".hoodie/lock").await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_storage_based_lock_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract_of_many(|| Box::new(StorageBasedLock::new(&local(&dir), &env()))).await;
    let memory = in_memory();
    contract_of_many(|| Box::new(StorageBasedLock::new(&memory, &env()))).await;
}

#[cfg(feature = "aws")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_storage_based_lock_keeps_the_contract_on_s3() {
    let server = crate::testing::S3Server::start();
    let storage = server.storage("locked");
    // Not of many: under load, moto's conditional writes have let two through.
    contract(|| Box::new(StorageBasedLock::new(&storage, &env()))).await;
}

#[tokio::test]
async fn hudis_file_lock_keeps_us_out_until_it_expires() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    // Spark's is empty while it is held.
    storage.create(".hoodie/lock", "".into()).await.unwrap();
    let (env, clock) = env_at_will();
    let for_ever = FileSystemLock::try_new(&storage, &env).unwrap();
    let env = with_settings(env, &[("hoodie.write.lock.filesystem.expire", "1")]);
    let expiring = FileSystemLock::try_new(&storage, &env).unwrap();
    assert!(is_held(&for_ever).await && is_held(&expiring).await);
    clock.advance(MINUTE + Duration::from_secs(5));
    assert!(is_held(&for_ever).await, "without an expiry it stays");
    let held = acquired(&expiring).await;
    held.check().await.unwrap();
    storage.overwrite(".hoodie/lock", "".into()).await.unwrap();
    let lost = held.check().await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Fenced);
    held.release().await.unwrap();
    assert!(
        storage.exists(".hoodie/lock").await.unwrap(),
        "it is another's now"
    );
}

#[tokio::test]
async fn the_file_lock_of_a_dead_process_of_ours_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let lock = FileSystemLock::try_new(&local(&dir), &env()).unwrap();
    // Dropped, not released: what a process leaves that is killed.
    drop(acquired(&lock).await);
    assert!(local(&dir).exists(".hoodie/lock").await.unwrap());
    acquired(&lock).await.release().await.unwrap();
}

#[tokio::test]
async fn the_file_lock_lies_where_it_is_told_and_is_refused_on_object_stores() {
    let (table, locks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = locks.path().to_str().unwrap();
    let env = with_settings(env(), &[("hoodie.write.lock.filesystem.path", path)]);
    let held = acquired(&FileSystemLock::try_new(&local(&table), &env).unwrap()).await;
    assert!(locks.path().join("lock").exists());
    held.release().await.unwrap();
    let env = with_settings(env, &[]);
    let bucket = Storage::with_store(
        Arc::new(InMemory::new()),
        Path::default(),
        "s3://bucket/table",
    );
    let error = FileSystemLock::try_new(&bucket, &env).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

fn lease_file(storage: &Storage, env: &Env) -> LeaseFile {
    LeaseFile {
        storage: storage.clone(),
        path: "lease.json".to_owned(),
        validity: MINUTE,
        // Longer than a test takes: renewals are asked for.
        renewal: MINUTE,
        env: env.clone(),
    }
}

async fn ours(file: &LeaseFile) -> Lease {
    match file.claim("us").await.unwrap() {
        Claim::Ours(lease) => lease,
        Claim::Theirs(record, _) => panic!("it belongs to {record:?}"),
    }
}

async fn theirs(file: &LeaseFile) -> LeaseRecord {
    match file.claim("us").await.unwrap() {
        Claim::Ours(_) => panic!("nobody had it"),
        Claim::Theirs(record, _) => record,
    }
}

#[tokio::test]
async fn a_lease_is_what_hudi_reads_and_is_given_back_as_hudi_does() {
    let dir = tempfile::tempdir().unwrap();
    for storage in [in_memory(), local(&dir)] {
        let file = lease_file(&storage, &env());
        let lease = ours(&file).await;
        let json =
            |bytes: bytes::Bytes| serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
        let held = json(storage.read("lease.json").await.unwrap());
        assert_eq!(held["expired"], false);
        let left = held["validUntil"].as_i64().unwrap() - env().clock.now().timestamp_millis();
        assert!((55_000..=60_000).contains(&left), "{left}");
        assert_eq!(held["owner"].as_str().unwrap().len(), 36);
        lease.release().await.unwrap();
        let freed = json(storage.read("lease.json").await.unwrap());
        assert_eq!(
            (&freed["expired"], &freed["owner"]),
            (&true.into(), &held["owner"])
        );
        ours(&file).await.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_lease_of_hudi_is_respected_until_it_is_over_by_more_than_the_clocks_may_differ() {
    let storage = in_memory();
    let (env, clock) = env_at_will();
    let until = env.clock.now().timestamp_millis() + 1000;
    let text = format!(r#"{{"expired":false,"validUntil":{until},"owner":"spark","later":1}}"#);
    storage.overwrite("lease.json", text.into()).await.unwrap();
    let file = lease_file(&storage, &env);
    assert_eq!(theirs(&file).await.owner, "spark");
    clock.advance(Duration::from_millis(1499));
    theirs(&file).await;
    clock.advance(Duration::from_millis(2));
    ours(&file).await.release().await.unwrap();
    storage.overwrite("lease.json", "{}".into()).await.unwrap();
    assert_eq!(
        file.claim("us").await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
}

#[tokio::test]
async fn whoever_sleeps_past_its_lease_is_fenced_if_another_came_and_goes_on_if_not() {
    let dir = tempfile::tempdir().unwrap();
    for storage in [in_memory(), local(&dir)] {
        let (env, clock) = env_at_will();
        let file = lease_file(&storage, &env);
        let sleeper = ours(&file).await;
        clock.advance(2 * MINUTE);
        sleeper.check().await.unwrap();
        theirs(&file).await;
        clock.advance(2 * MINUTE);
        let taker = ours(&file).await;
        let error = sleeper.check().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert!(error.to_string().contains("us has taken over"), "{error}");
        assert_eq!(sleeper.lost().await.kind(), ErrorKind::Fenced);
        sleeper.release().await.unwrap();
        taker.check().await.unwrap();
        theirs(&file).await;
    }
}

#[tokio::test]
async fn a_lease_that_is_nearly_over_is_renewed_before_anything_is_done_under_it() {
    let storage = in_memory();
    let (env, clock) = env_at_will();
    let file = lease_file(&storage, &env);
    let lease = ours(&file).await;
    let until = |record: Option<LeaseRecord>| record.unwrap().valid_until;
    let first = until(file.read().await.unwrap());
    clock.advance(MINUTE / 2);
    lease.check().await.unwrap();
    assert_eq!(until(file.read().await.unwrap()), first);
    clock.advance(MINUTE / 3);
    lease.check().await.unwrap();
    assert_eq!(until(file.read().await.unwrap()), first + 50_000);
}

#[tokio::test]
async fn a_lease_renews_itself() {
    let storage = in_memory();
    let file = LeaseFile {
        validity: Duration::from_millis(400),
        renewal: Duration::from_millis(50),
        ..lease_file(&storage, &env())
    };
    let lease = ours(&file).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    theirs(&file).await;
    lease.release().await.unwrap();
}

#[tokio::test]
async fn the_lease_of_a_dead_process_is_free_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for storage in [in_memory(), local(&dir)] {
        let file = lease_file(&storage, &env());
        let lease = ours(&file).await;
        theirs(&file).await;
        drop(lease);
        ours(&file).await.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_reply_does_not_lose_the_lease() {
    for fail_at in 0..3 {
        let store = FaultyStore::new(Arc::new(InMemory::new()), fail_at, Fault::ApplyThenFail);
        let root = Path::parse("table").unwrap();
        let storage = Storage::with_store(Arc::new(store), root, "memory");
        let (env, clock) = env_at_will();
        let file = lease_file(&storage, &env);
        let lease = ours(&file).await;
        clock.advance(MINUTE);
        if fail_at > 0 {
            lease.check().await.unwrap();
        }
        if fail_at > 1 {
            lease.release().await.unwrap();
            assert!(file.read().await.unwrap().unwrap().expired);
        }
    }
}

#[tokio::test]
async fn a_second_daemon_is_refused_with_the_name_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, env) = (local(&dir), env());
    let first = WriterLease::acquire(&storage, &env, "pipeline `shop`", MINUTE)
        .await
        .unwrap();
    let refused = WriterLease::acquire(&storage, &env, "pipeline `other`", MINUTE)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fenced);
    let text = refused.to_string();
    for part in [
        "pipeline `shop`",
        &format!("process {}", std::process::id()),
        "valid for 60 s more",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let refused = WriterLease::require_none(&storage, &env).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fenced);
    first.check().await.unwrap();
    first.release().await.unwrap();
    WriterLease::require_none(&storage, &env).await.unwrap();
    let next = WriterLease::acquire(&storage, &env, "pipeline `other`", MINUTE)
        .await
        .unwrap();
    next.release().await.unwrap();
    let left = storage.list(".hoodie/.locks").await.unwrap();
    assert!(
        left.files.iter().all(|file| !file.name.ends_with(".alive")),
        "{left:?}"
    );
}

#[tokio::test]
async fn an_owner_elsewhere_is_waited_for_until_it_shows_life_or_its_lease_is_over() {
    let storage = in_memory();
    let env = env();
    let path = ".hoodie/.locks/lakebed_writer.json";
    let record = |millis: i64| {
        let until = env.clock.now().timestamp_millis() + millis;
        format!(r#"{{"expired":false,"validUntil":{until},"owner":"elsewhere"}}"#)
    };
    storage.overwrite(path, record(300).into()).await.unwrap();
    let lease = WriterLease::acquire(&storage, &env, "us", MINUTE)
        .await
        .unwrap();
    lease.release().await.unwrap();
    storage
        .overwrite(path, record(60_000).into())
        .await
        .unwrap();
    let renewed = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        storage
            .overwrite(path, record(61_000).into())
            .await
            .unwrap();
    };
    let (refused, ()) = tokio::join!(WriterLease::acquire(&storage, &env, "us", MINUTE), renewed);
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fenced);
    assert!(refused.to_string().contains("owner elsewhere"), "{refused}");
}

#[tokio::test]
async fn nobody_takes_over_while_an_instant_is_being_completed() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, env) = (local(&dir), env());
    let guard = TableLock::try_new(&storage, &env)
        .unwrap()
        .acquire()
        .await
        .unwrap();
    let taking = WriterLease::acquire(&storage, &env, "us", MINUTE);
    let early = tokio::time::timeout(Duration::from_millis(200), taking).await;
    assert!(early.is_err());
    guard.release().await;
    WriterLease::acquire(&storage, &env, "us", MINUTE)
        .await
        .unwrap();
}

#[tokio::test]
async fn whoever_waits_in_vain_for_a_lock_learns_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let storage = local(&dir);
    storage.create(".hoodie/lock", "".into()).await.unwrap();
    let provider = format!("{PACKAGE}.FileSystemBasedLockProvider");
    let env = with_settings(
        env(),
        &[
            ("hoodie.write.lock.provider", provider.as_str()),
            ("hoodie.write.lock.wait_time_ms", "30"),
            ("hoodie.write.lock.client.num_retries", "2"),
            ("hoodie.write.lock.client.wait_time_ms_between_retry", "10"),
        ],
    );
    let lock = TableLock::try_new(&storage, &env).unwrap();
    let error = lock.acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error
            .to_string()
            .contains(".hoodie/lock is not to be had: another engine"),
        "{error}"
    );
    storage.delete(".hoodie/lock").await.unwrap();
    let guard = lock.acquire().await.unwrap();
    guard.check().await.unwrap();
    // Dropped in the middle of a section: given back all the same.
    drop(guard);
    lock.acquire().await.unwrap().release().await;
}
