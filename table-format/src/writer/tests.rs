//! Whole writes against a naive model: what is read back is what was written, whatever the table looks like.

mod concurrent;
mod crash;
mod model;
mod random;
mod scenario;
