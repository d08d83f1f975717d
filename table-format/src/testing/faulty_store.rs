//! An object store that fails at a chosen call, and from then on: what a process that dies there would leave behind.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// What happens at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call does nothing and fails.
    Fail,
    /// The call does its work, and its reply is lost.
    ApplyThenFail,
}

/// Fails the `n`-th changing call (counted from 0) and all after it; reads go on.
#[derive(Debug, Clone)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    calls: Arc<AtomicU64>,
    reads: Arc<AtomicU64>,
    fail_at: u64,
    fault: Fault,
}

/// What becomes of one call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Works,
    ReplyLost,
    Fails,
}

impl FaultyStore {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>, fail_at: u64, fault: Fault) -> Self {
        Self {
            inner,
            calls: Arc::default(),
            reads: Arc::default(),
            fail_at,
            fault,
        }
    }

    /// Changing calls so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Reads of files so far, parts of files and looks at their lengths included.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    fn next(&self) -> Outcome {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            _ if call < self.fail_at => Outcome::Works,
            Fault::ApplyThenFail if call == self.fail_at => Outcome::ReplyLost,
            Fault::ApplyThenFail | Fault::Fail => Outcome::Fails,
        }
    }

    async fn run<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        match self.next() {
            Outcome::Works => call.await,
            Outcome::ReplyLost => call.await.and(Err(lost())),
            Outcome::Fails => Err(lost()),
        }
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

fn lost() -> object_store::Error {
    object_store::Error::Generic {
        store: "FaultyStore",
        source: "the store is gone".into(),
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.run(self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self
            .run(self.inner.put_multipart_opts(location, opts))
            .await?;
        Ok(Box::new(FaultyUpload {
            store: self.clone(),
            inner: upload,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let deleted = locations.and_then(move |location| {
            let store = store.clone();
            async move {
                store.run(store.inner.delete(&location)).await?;
                Ok(location)
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.run(self.inner.copy_opts(from, to, options)).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    store: FaultyStore,
    inner: Box<dyn MultipartUpload>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let store = self.store.clone();
        let part = self.inner.put_part(data);
        async move { store.run(part).await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let store = self.store.clone();
        store.run(self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
