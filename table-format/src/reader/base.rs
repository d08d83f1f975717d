//! The rows of a base file, adapted to the columns that are wanted.

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};

use crate::error::{Error, Result};
use crate::file_group::ParquetSource;
use crate::file_group::{BaseFile, FileSlice, PartitionValues};
use crate::schema::adapt::adapt_batch;
use crate::schema::evolution::Renames;

use super::columns::Columns;
use super::filter::BaseFileFilter;
use super::{ReadContext, ReadOptions};

/// A base file that is being read.
pub(crate) struct BaseRows {
    stream: ParquetRecordBatchStream<ParquetSource>,
    columns: Columns,
    renames: Option<Renames>,
    partition_values: Option<PartitionValues>,
    path: String,
}

impl BaseRows {
    pub(super) async fn open(
        context: &ReadContext,
        slice: &FileSlice,
        file: &BaseFile,
        columns: &Columns,
        options: &ReadOptions,
    ) -> Result<Self> {
        let path = slice.path_of(&file.to_string());
        if file.extension != "parquet" {
            return Err(Error::unsupported(format!(
                "{path}: base files of format {} are not read",
                file.extension
            )));
        }
        let source = ParquetSource::new(context.storage.clone(), path.clone(), file.size_bytes);
        let mut builder = source.clone().open().await?;
        let renames = context.renames_since(&file.instant)?;
        // The statistics of a file go by the names of its time.
        if let Some(filter) = options.filter.as_ref().filter(|_| renames.is_none()) {
            builder = select(builder, source, filter.as_ref()).await?;
        }
        let roots: Vec<usize> = builder
            .schema()
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, field)| {
                let name = match &renames {
                    Some(renames) => renames.new_name(field.name()),
                    None => Some(field.name().as_str()),
                };
                name.is_some_and(|name| columns.schema.index_of(name).is_ok())
            })
            .map(|(position, _)| position)
            .collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let stream = builder
            .with_projection(mask)
            .with_batch_size(options.batch_rows_max)
            .build()
            .map_err(|error| Error::from(error).context(format!("reading {path}")))?;
        let partition_values = if context.config.drops_partition_columns() {
            Some(PartitionValues::parse(
                &context.config,
                &slice.partition_path,
            )?)
        } else {
            None
        };
        Ok(Self {
            stream,
            columns: columns.clone(),
            renames,
            partition_values,
            path,
        })
    }

    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let read = self.stream.try_next().await;
        let Some(batch) =
            read.map_err(|error| Error::from(error).context(format!("reading {}", self.path)))?
        else {
            return Ok(None);
        };
        let batch = match &self.renames {
            Some(renames) => renames.apply(&batch)?,
            None => batch,
        };
        let batch = match &self.partition_values {
            Some(values) => values.fill(&batch, &self.columns.schema)?,
            None => batch,
        };
        let adapted = adapt_batch(&batch, &self.columns.schema);
        adapted
            .map(Some)
            .map_err(|error| error.context(format!("reading {}", self.path)))
    }
}

/// Leaves out row groups, and the pages of the others that cannot hold a wanted row.
async fn select(
    builder: ParquetRecordBatchStreamBuilder<ParquetSource>,
    source: ParquetSource,
    filter: &dyn BaseFileFilter,
) -> Result<ParquetRecordBatchStreamBuilder<ParquetSource>> {
    let groups = filter.row_groups(builder.metadata(), builder.schema());
    if groups.is_empty() {
        return Ok(builder.with_row_groups(groups));
    }
    let builder = source.open_indexed(builder.metadata()).await?;
    let rows = filter.rows(builder.metadata(), builder.schema(), &groups);
    let builder = builder.with_row_groups(groups);
    Ok(match rows {
        Some(rows) => builder.with_row_selection(rows),
        None => builder,
    })
}

impl std::fmt::Debug for BaseRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BaseRows")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
