//! The suite of `testing::storage_contract` against each store that can be had here.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;

use crate::storage::Storage;
use crate::testing::storage_contract;

#[tokio::test]
async fn a_local_disk_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("with a blank");
    storage_contract(&Storage::open(place.to_str().unwrap()).unwrap()).await;
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let root = Path::parse("some/where").unwrap();
    storage_contract(&Storage::with_store(
        Arc::new(InMemory::new()),
        root,
        "memory",
    ))
    .await;
}

#[cfg(feature = "aws")]
#[tokio::test]
async fn s3_keeps_the_contract() {
    let server = crate::testing::S3Server::start();
    storage_contract(&server.storage("contract")).await;
}

#[cfg(not(feature = "aws"))]
#[test]
fn a_missing_feature_is_named() {
    let error = Storage::open("s3://bucket/table").unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Unsupported);
    assert!(error.to_string().contains("--features aws"), "{error}");
}
