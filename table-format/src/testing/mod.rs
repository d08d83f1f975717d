//! What tests of this crate and of those above it share: a store that fails on demand, and a naive reading of tables.

mod faulty_store;
mod read_back;

pub use faulty_store::{Fault, FaultyStore};
pub use read_back::{Row, cell, read_table};
