//! Change data that a writer has logged with both images.

use futures::TryStreamExt;
use futures::stream::{self, Stream};

use arrow::array::RecordBatch;

use super::ChangeContext;
use crate::codec::avro::RecordDecoder;
use crate::codec::log_block::{BlockKind, LogBlock, LogBlockReader};
use crate::env::run_on_cpu;
use crate::error::{Error, Result};
use crate::reader::ReadOptions;
use crate::schema::adapt::adapt_batch;

/// The changes of the logs, a batch a block.
pub(super) fn read(
    context: ChangeContext,
    paths: Vec<String>,
    options: ReadOptions,
) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
    let files = stream::iter(paths.into_iter().map(Ok::<_, Error>));
    files
        .and_then(move |path| {
            let (context, memory) = (context.clone(), options.memory.clone());
            async move {
                let bytes = context.after.storage.read(&path).await?;
                let held = memory.book(bytes.len() as u64);
                let blocks: Vec<LogBlock> = LogBlockReader::new(bytes).collect::<Result<_>>()?;
                let batches = blocks.into_iter().map(move |block| {
                    let (context, path) = (context.clone(), path.clone());
                    // Booked as long as there are blocks.
                    let _ = &held;
                    Ok::<_, Error>((context, path, block))
                });
                Ok(
                    stream::iter(batches).and_then(|(context, path, block)| async move {
                        let decoded = run_on_cpu(move || decode(&context, &block)).await;
                        decoded.map_err(|error| error.context(format!("reading {path}")))
                    }),
                )
            }
        })
        .try_flatten()
        .try_filter(|batch| std::future::ready(batch.num_rows() > 0))
}

/// Logs of older releases name other types; columns are found by name. Java: HoodieCDCDataBlock.
fn decode(context: &ChangeContext, block: &LogBlock) -> Result<RecordBatch> {
    let place = || format!("offset {}", block.offset);
    if block.kind != BlockKind::CdcData {
        let message = format!(
            "{}: a {:?} block in a log of change data",
            place(),
            block.kind
        );
        return Err(Error::corrupt("log block", message));
    }
    let schema = block.header.schema().ok_or_else(|| {
        Error::corrupt("log block", format!("{}: data without a schema", place()))
    })?;
    let mut decoder = RecordDecoder::try_new(schema)?;
    for record in block.avro_records()? {
        decoder.decode(record?)?;
    }
    adapt_batch(&decoder.finish()?, &context.schema)
}
