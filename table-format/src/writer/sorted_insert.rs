//! New rows in the order of partition and key, so that files hold narrow key ranges.
//!
//! Java: GlobalSortPartitioner. As many rows are sorted together as memory allows; more make several runs, each in files of
//! its own.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use crate::env::run_on_cpu;
use crate::error::{Error, Result};
use crate::index::key_value::KeyColumn;
use crate::record::{RowKind, WriteBatch};
use crate::writer::combine::combine;
use crate::writer::context::WriteContext;
use crate::writer::prepare::Prepared;

/// The rows that are not deletes, sorted and combined as the options say.
pub(crate) async fn sorted_new_rows(
    context: &Arc<WriteContext>,
    rows: RecordBatch,
) -> Result<RecordBatch> {
    let kinds = vec![RowKind::Insert; rows.num_rows()];
    let batch = WriteBatch {
        records: rows,
        kinds,
    };
    let batch = Prepared::changes(context, batch).await?;
    let context = Arc::clone(context);
    run_on_cpu(move || arrange(&context, &batch)).await
}

fn arrange(context: &WriteContext, batch: &Prepared) -> Result<RecordBatch> {
    let field = context.range_field();
    let column = batch.records.column_by_name(field).ok_or_else(|| {
        Error::invalid(format!("record key column `{field}` is not in the batch"))
    })?;
    let column = KeyColumn::new(column);
    let mut partitions: Vec<&(String, Vec<u32>)> = batch.partitions.iter().collect();
    if context.options.inserts.sorts_bulk {
        partitions.sort_by(|a, b| a.0.cmp(&b.0));
    }
    let mut order: Vec<u32> = Vec::with_capacity(batch.records.num_rows());
    for (_, rows) in partitions {
        let start = order.len();
        if context.options.inserts.combines {
            let combined = combine(&batch.keys, &batch.kinds, batch.order.as_ref(), rows);
            order.extend(combined.upserts);
        } else {
            order.extend(batch.inserts_among(rows));
        }
        if context.options.inserts.sorts_bulk {
            order[start..].sort_by(|&a, &b| {
                let (a, b) = (a as usize, b as usize);
                let by_text = || batch.keys.value(a).cmp(batch.keys.value(b));
                column.compare_rows(a, b).then_with(by_text)
            });
        }
    }
    Ok(take_record_batch(
        &batch.records,
        &UInt32Array::from(order),
    )?)
}
