//! Writes one log file: data blocks, then a delete block.
//!
//! Since version 8 each write makes a log file of its own, published at once; a torn one never appears. Record positions
//! are not written: a wrong one changes the wrong row. Spec: Hudi 1.2.0, "Log files".

use arrow::array::{RecordBatch, StringArray};

use crate::codec::avro::RecordEncoder;
use crate::codec::delete_record::{DeleteRecord, OrderingValue};
use crate::codec::log_block::{DataBlockBuilder, encode_delete_block};
use crate::error::Result;

/// Turns rows and deleted keys into the blocks of one log file.
#[derive(Debug)]
pub(crate) struct LogBlocks<'a> {
    /// The delta commit.
    pub(crate) instant: &'a str,
    /// Avro JSON of the rows, meta columns included.
    pub(crate) avro_schema: &'a str,
    /// A data block is closed at about this length.
    pub(crate) block_bytes: usize,
    /// The instants of the blocks that a log compaction makes these of, with commas between.
    pub(crate) made_of: Option<&'a str>,
}

impl LogBlocks<'_> {
    /// The data blocks of `rows`, which stand behind their meta columns. Each is given to `emit` when it is full.
    pub(crate) fn encode_rows(
        &self,
        rows: &RecordBatch,
        mut emit: impl FnMut(Vec<u8>),
    ) -> Result<()> {
        let encoder = RecordEncoder::try_new(rows.schema_ref(), self.avro_schema)?.bind(rows)?;
        let mut block = self.data_block()?;
        for row in 0..rows.num_rows() {
            block.append(|out| encoder.encode(row, out))?;
            if block.len() >= self.block_bytes {
                let next = self.data_block()?;
                emit(std::mem::replace(&mut block, next).finish()?);
            }
        }
        if !block.is_empty() {
            emit(block.finish()?);
        }
        Ok(())
    }

    fn data_block(&self) -> Result<DataBlockBuilder> {
        match self.made_of {
            None => DataBlockBuilder::try_new(self.instant, self.avro_schema),
            Some(times) => DataBlockBuilder::of_compacted(self.instant, self.avro_schema, times),
        }
    }

    /// The delete block of `keys` in one partition, each with the ordering value that `value_of` gives for its row. The
    /// integer 0 says that the delete wins over all before it.
    pub(crate) fn encode_deletes(
        &self,
        keys: &StringArray,
        partition_path: &str,
        value_of: impl Fn(usize) -> Result<OrderingValue>,
    ) -> Result<Vec<u8>> {
        let records = keys.iter().enumerate().filter_map(|(row, key)| {
            let record = |key: &str| {
                Ok(DeleteRecord {
                    record_key: key.to_owned(),
                    partition_path: Some(partition_path.to_owned()),
                    ordering_value: value_of(row)?,
                })
            };
            key.map(record)
        });
        let records = records.collect::<Result<Vec<_>>>()?;
        encode_delete_block(self.instant, self.made_of, &records)
    }
}
