//! The timeline: which actions a table has seen, in which state.

mod active;
mod instant;
pub mod metadata;

pub use active::ActiveTimeline;
pub use instant::{Action, Instant, InstantTime, State};
