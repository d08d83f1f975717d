//! Tests against real servers: each starts a private MariaDB, or shares one for the whole run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod binlog_dump;
mod chunks;
mod connection;
mod discovery;
mod mysql_server;
mod preflight;
mod row_images;
mod support;
