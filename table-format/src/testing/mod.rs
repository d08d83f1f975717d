//! What tests of this crate and of those above it share: stores that fail on demand or note what is listed, and a naive
//! reading of tables.

mod faulty_store;
mod listing_log;
mod read_back;
#[cfg(all(test, feature = "aws"))]
mod s3_server;
#[cfg(test)]
mod storage_contract;

pub use faulty_store::{Fault, FaultyStore};
pub use listing_log::ListingLog;
pub use read_back::{Row, cell, read_table};
#[cfg(all(test, feature = "aws"))]
pub(crate) use s3_server::S3Server;
#[cfg(test)]
pub(crate) use storage_contract::storage_contract;
