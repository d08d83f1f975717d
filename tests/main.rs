//! What Lakebed promises, tried with real parts: the built binary, private database servers, and the outside readers of its tables.
//!
//! One module per promise, helpers in `support`. Tests that need Apache Hudi on Spark, MySQL or much time are `#[ignore]`d with the reason and
//! run by `make test-interop`. A missing counterpart fails the test with the command that installs it; nothing passes silently.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod append;
mod archival;
mod bad_input;
mod changes;
mod cleaning;
mod clustering;
mod compaction;
mod concurrent_writers;
mod deploy;
mod exactly_once;
mod failover;
mod golden;
mod hudi_compat;
mod incremental;
mod indexes;
mod inspect;
mod memory;
mod object_store;
mod operations;
mod partial_updates;
mod polling;
mod query;
mod reading;
mod restore;
mod round_trip;
mod schema_evolution;
mod schema_on_read;
mod sharding;
mod sql_shell;
mod startup;
mod support;
mod table_services;
mod table_write;
mod transforms;
mod types;
mod versions;
