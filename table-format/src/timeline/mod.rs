//! The timeline: which actions a table has seen, in which state.

mod instant;
pub mod metadata;

pub use instant::{Action, Instant, InstantTime, State};
