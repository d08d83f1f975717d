//! The timeline: which actions a table has seen, in which state.

mod instant;

pub use instant::{Action, Instant, InstantTime, State};
