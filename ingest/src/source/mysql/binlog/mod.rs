//! The binary log: raw events to typed ones, row images straight into column builders.
//!
//! Nothing here does IO. Every read of foreign bytes is checked against the end of the event.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

mod column_decoder;
mod compression;
mod decoder;
mod event;
mod gtid;
mod jsonb;
mod jsonb_scalar;
mod network_text;
mod query;
mod row_decoder;
mod row_value;
mod rows;
mod table_map;
mod table_metadata;
mod transaction_payload;

pub use decoder::BinlogDecoder;
pub use event::{BinlogEvent, EventHeader, EventType};
pub use gtid::Gtid;
pub use query::QueryEvent;
pub use row_decoder::RowDecoder;
pub use rows::{RowsEvent, RowsKind};
pub use table_map::TableMap;
pub use table_metadata::TableMetadata;
pub use transaction_payload::{PayloadEvents, TransactionPayload};

#[cfg(test)]
mod tests;
