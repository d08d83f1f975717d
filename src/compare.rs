//! Whether a source table and its lake table hold the same rows.
//!
//! Both sides are read once, in any order: a row becomes a 128-bit digest, and the sums of the digests are compared. What
//! is held in memory does not grow with the tables.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use futures::TryStreamExt;
use ingest::batch::BatchBuilder;
use ingest::schema::SourceTable;
use ingest::source::mysql::connection::{Connection, MySqlOptions};
use table_format::env::MemoryBudget;
use table_format::reader::ReadOptions;
use table_format::record::RowKind;
use table_format::schema::adapt::adapt_batch;
use table_format::table::Table;

const BATCH_BYTES: u64 = 4 << 20;
/// What merging one file slice may take.
const MERGE_BYTES: u64 = 1 << 30;

/// Rows of a table without their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Digest {
    /// How many.
    pub(crate) rows: u64,
    sum: u128,
}

struct Digester {
    converter: RowConverter,
    schema: SchemaRef,
    digest: Digest,
}

impl Digester {
    fn try_new(schema: SchemaRef) -> Result<Self> {
        let fields = schema
            .fields()
            .iter()
            .map(|field| SortField::new(field.data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        Ok(Self {
            converter,
            schema,
            digest: Digest::default(),
        })
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = adapt_batch(batch, &self.schema)?;
        let rows = self.converter.convert_columns(batch.columns())?;
        for row in &rows {
            let half = |seed: u8| {
                let mut hasher = DefaultHasher::new();
                hasher.write_u8(seed);
                hasher.write(row.as_ref());
                u128::from(hasher.finish())
            };
            self.digest.sum = self.digest.sum.wrapping_add(half(0) << 64 | half(1));
        }
        self.digest.rows += batch.num_rows() as u64;
        Ok(())
    }
}

/// Digest of a source table as it is now.
pub(crate) async fn source_digest(
    options: &MySqlOptions,
    table: &Arc<SourceTable>,
) -> Result<Digest> {
    let mut connection = Connection::connect_snapshot(options).await?;
    let mut digester = Digester::try_new(table.arrow_schema()?)?;
    let mut builder = BatchBuilder::new(Arc::clone(table))?;
    let sql = format!(
        "SELECT {} FROM `{}`.`{}`",
        table.select_list(),
        table.database,
        table.name
    );
    let mut rows = connection.select(&sql).await?;
    while let Some(row) = rows.next_row().await? {
        builder.append_binary_row(row, RowKind::Insert)?;
        if builder.bytes() >= BATCH_BYTES {
            digester.add(&builder.finish()?.records)?;
        }
    }
    digester.add(&builder.finish()?.records)?;
    Ok(digester.digest)
}

/// Digest of the newest snapshot of a lake table, with the columns that its source table has.
pub(crate) async fn lake_digest(location: &str, source: &SourceTable) -> Result<Digest> {
    let table = Table::open(location)
        .await
        .with_context(|| format!("opening {location}"))?;
    let mut digester = Digester::try_new(source.arrow_schema()?)?;
    let snapshot = table.snapshot(None).await?;
    let options = ReadOptions::new(MemoryBudget::new(MERGE_BYTES));
    for slice in snapshot.slices() {
        let mut batches = snapshot.read_slice(slice, &options).await?;
        while let Some(batch) = batches.try_next().await? {
            digester.add(&batch)?;
        }
    }
    Ok(digester.digest)
}
