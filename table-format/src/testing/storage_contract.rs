//! What every store has to do for the table format, as one suite that runs against each of them.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::future::join_all;

use crate::error::ErrorKind;
use crate::storage::Storage;

/// Names that stores are known to get wrong: to be kept as they are, byte by byte.
const ODD_NAMES: [&str; 9] = [
    "p=a%2Fb/c%20d",
    "p=a b/+x",
    "p=ä/漢字.parquet",
    "p=&?/=;'(x)!",
    "p=a:b/@,$",
    "p=#/x#1.log",
    ".hidden/.f_1.log.1_0-0-0",
    "p=__HIVE_DEFAULT_PARTITION__/x",
    "p=\"{}|^`/~x",
];

/// Runs the suite below `storage`, which must be empty.
///
/// # Panics
/// When the store breaks a promise.
pub(crate) async fn storage_contract(storage: &Storage) {
    reads_what_was_written(storage).await;
    creates_once(storage).await;
    writes_on_a_condition(storage).await;
    exactly_one_of_many_wins(storage).await;
    keeps_odd_names(storage).await;
    lists_more_than_a_page(storage).await;
}

fn bytes(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}

async fn reads_what_was_written(storage: &Storage) {
    let kind = |result: crate::Result<Bytes>| result.map_err(|error| error.kind());
    assert_eq!(kind(storage.read("a/b").await), Err(ErrorKind::NotFound));
    assert_eq!(storage.read_if_exists("a/b").await.unwrap(), None);
    assert!(!storage.exists("a/b").await.unwrap());
    assert!(storage.list("a").await.unwrap().files.is_empty());
    storage.overwrite("a/b", bytes("0123456789")).await.unwrap();
    assert_eq!(storage.read("a/b").await.unwrap(), "0123456789");
    assert_eq!(storage.size("a/b").await.unwrap(), 10);
    assert_eq!(storage.read_range("a/b", 3..7).await.unwrap(), "3456");
    assert_eq!(storage.read_range("a/b", 9..10).await.unwrap(), "9");
    assert!(storage.read_range("a/b", 20..30).await.is_err());
    storage.overwrite("a/b", bytes("new")).await.unwrap();
    assert_eq!(storage.read("a/b").await.unwrap(), "new");
    storage.delete("a/b").await.unwrap();
    storage.delete("a/b").await.unwrap();
    assert!(!storage.exists("a/b").await.unwrap());
    assert!(storage.list("").await.unwrap().dirs.is_empty());
}

async fn creates_once(storage: &Storage) {
    storage.create("once/a", bytes("mine")).await.unwrap();
    let other = storage.create("once/a", bytes("other")).await;
    assert_eq!(other.unwrap_err().kind(), ErrorKind::AlreadyExists);
    // The reply to the first attempt was lost: what is there is ours.
    storage.create("once/a", bytes("mine")).await.unwrap();
    assert_eq!(storage.read("once/a").await.unwrap(), "mine");
    storage.create("once/empty", Bytes::new()).await.unwrap();
    let again = storage.create("once/empty", Bytes::new()).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

async fn writes_on_a_condition(storage: &Storage) {
    let path = "condition/a";
    assert!(storage.read_version(path).await.unwrap().is_none());
    let first = storage.write_if(path, None, bytes("1")).await.unwrap();
    let kind = |result: crate::Result<_>| result.map(drop).map_err(|error| error.kind());
    let created = storage.write_if(path, None, bytes("x")).await;
    assert_eq!(kind(created), Err(ErrorKind::Conflict));
    let second = storage
        .write_if(path, Some(&first), bytes("2"))
        .await
        .unwrap();
    let stale = storage.write_if(path, Some(&first), bytes("x")).await;
    assert_eq!(kind(stale), Err(ErrorKind::Conflict));
    let (found, version) = storage.read_version(path).await.unwrap().unwrap();
    assert_eq!(found, "2");
    storage
        .write_if(path, Some(&version), bytes("3"))
        .await
        .unwrap();
    // The reply was lost: the same bytes again are ours.
    storage
        .write_if(path, Some(&second), bytes("3"))
        .await
        .unwrap();
    storage.delete(path).await.unwrap();
    let gone = storage.write_if(path, Some(&version), bytes("x")).await;
    assert_eq!(kind(gone), Err(ErrorKind::Conflict));
    assert!(storage.read_version(path).await.unwrap().is_none());
}

async fn exactly_one_of_many_wins(storage: &Storage) {
    for round in 0..5 {
        let path = format!("race/{round}");
        let create = |n: usize| storage.create(&path, bytes(format!("writer {n}")));
        let outcomes = join_all((0..20).map(create)).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        let (_, version) = storage.read_version(&path).await.unwrap().unwrap();
        let replace = |n: usize| {
            let next = bytes(format!("replaced by {n}"));
            storage.write_if(&path, Some(&version), next)
        };
        let outcomes = join_all((0..20).map(replace)).await;
        let winners: Vec<usize> = (0..20).filter(|&n| outcomes[n].is_ok()).collect();
        let [winner] = winners.as_slice() else {
            panic!("{winners:?} replaced one version")
        };
        let expected = format!("replaced by {winner}");
        assert_eq!(storage.read(&path).await.unwrap(), expected);
    }
}

async fn keeps_odd_names(storage: &Storage) {
    let place = storage.at("odd").unwrap();
    for name in ODD_NAMES {
        place.create(name, bytes(name)).await.unwrap();
    }
    let found: BTreeSet<String> = place
        .list_recursive("")
        .await
        .unwrap()
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    let expected: BTreeSet<String> = ODD_NAMES.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(found, expected);
    for name in ODD_NAMES {
        assert_eq!(place.read(name).await.unwrap(), name);
        place.delete(name).await.unwrap();
    }
    assert!(place.list_recursive("").await.unwrap().is_empty());
}

async fn lists_more_than_a_page(storage: &Storage) {
    const FILES: usize = 1100;
    let numbers: Vec<usize> = (0..FILES).collect();
    for chunk in numbers.chunks(50) {
        let created = chunk.iter().map(|n| {
            let path = format!("many/{n:05}");
            async move { storage.create(&path, bytes("x")).await }
        });
        for outcome in join_all(created).await {
            outcome.unwrap();
        }
    }
    storage.create("many/p=1/x", bytes("1")).await.unwrap();
    let listing = storage.list("many").await.unwrap();
    let names: Vec<&str> = listing
        .files
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    let expected: Vec<String> = numbers.iter().map(|n| format!("{n:05}")).collect();
    assert_eq!(names, expected);
    assert_eq!(listing.dirs, ["p=1"]);
    assert!(listing.files.iter().all(|file| file.size_bytes == 1));
}
