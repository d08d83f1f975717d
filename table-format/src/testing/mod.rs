//! What tests of this crate and of those above it share: stores that fail on demand or note what is listed, and a naive
//! reading of tables.

mod faulty_store;
mod listing_log;
mod read_back;

pub use faulty_store::{Fault, FaultyStore};
pub use listing_log::ListingLog;
pub use read_back::{Row, cell, read_table};
