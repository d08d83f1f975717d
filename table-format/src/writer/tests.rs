//! Whole writes against a naive model: what is read back is what was written, whatever the table looks like.

mod crash;
mod model;
mod operations;
mod random;
mod scenario;
