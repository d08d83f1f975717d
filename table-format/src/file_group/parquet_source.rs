//! Lets the Parquet library read a base file through the table's storage.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use crate::error::{Error, Result};
use crate::storage::Storage;

/// One file of known length.
#[derive(Debug, Clone)]
pub(crate) struct ParquetSource {
    storage: Storage,
    path: String,
    size_bytes: u64,
}

impl ParquetSource {
    /// The file at the table-relative `path`.
    pub(crate) fn new(storage: Storage, path: String, size_bytes: u64) -> Self {
        Self {
            storage,
            path,
            size_bytes,
        }
    }

    /// The footer.
    pub(crate) async fn footer(mut self) -> Result<Arc<ParquetMetaData>> {
        let path = self.path.clone();
        self.get_metadata(None)
            .await
            .map_err(|error| Error::from(error).context(format!("reading {path}")))
    }

    /// The footer read, and a stream of the rows to be configured.
    pub(crate) async fn open(self) -> Result<ParquetRecordBatchStreamBuilder<Self>> {
        let path = self.path.clone();
        ParquetRecordBatchStreamBuilder::new(self)
            .await
            .map_err(|error| Error::from(error).context(format!("reading {path}")))
    }
}

impl ParquetSource {
    /// The same for a file whose footer was read already, with its page indexes where it has them.
    pub(crate) async fn open_indexed(
        mut self,
        footer: &ParquetMetaData,
    ) -> Result<ParquetRecordBatchStreamBuilder<Self>> {
        let path = self.path.clone();
        let metadata = self
            .with_page_indexes(footer)
            .await
            .and_then(|footer| ArrowReaderMetadata::try_new(footer, ArrowReaderOptions::new()))
            .map_err(|error| Error::from(error).context(format!("reading {path}")))?;
        Ok(ParquetRecordBatchStreamBuilder::new_with_metadata(
            self, metadata,
        ))
    }

    async fn with_page_indexes(
        &mut self,
        footer: &ParquetMetaData,
    ) -> parquet::errors::Result<Arc<ParquetMetaData>> {
        let mut reader = ParquetMetaDataReader::new_with_metadata(footer.clone())
            .with_page_index_policy(PageIndexPolicy::Optional);
        reader.load_page_index(self).await?;
        Ok(Arc::new(reader.finish()?))
    }
}

impl AsyncFileReader for ParquetSource {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move {
            let read = self.storage.read_range(&self.path, range).await;
            read.map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let size_bytes = self.size_bytes;
            let reader = ParquetMetaDataReader::new()
                .with_prefetch_hint(Some(64 << 10))
                .with_metadata_options(options.map(|options| options.metadata_options().clone()));
            Ok(Arc::new(
                reader.load_and_finish(&mut *self, size_bytes).await?,
            ))
        }
        .boxed()
    }
}
