//! An object store that notes which folders are listed: what an operation costs on a large table.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Notes every folder that is listed.
#[derive(Debug, Clone)]
pub struct ListingLog {
    inner: Arc<dyn ObjectStore>,
    listed: Arc<Mutex<Vec<String>>>,
}

impl ListingLog {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            listed: Arc::default(),
        }
    }

    /// The folders listed since the last call.
    pub fn take(&self) -> Vec<String> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *listed)
    }

    fn note(&self, prefix: Option<&Path>) {
        let folder = prefix.map(ToString::to_string).unwrap_or_default();
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        listed.push(folder);
    }
}

impl fmt::Display for ListingLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ListingLog({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for ListingLog {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.note(prefix);
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.note(prefix);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
