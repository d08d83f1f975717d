//! The timeline: which actions a table has seen, in which state.

mod active;
pub mod archived;
mod instant;
pub mod metadata;

pub use active::ActiveTimeline;
pub use archived::ArchivedTimeline;
pub use instant::{Action, Instant, InstantTime, State};
