//! Servers, readers and the binary itself, in words that let a test read as a story.

mod columns;
mod database;
mod lakebed;
mod pipeline;
mod process;
mod proxy;
mod python;
mod rows;
mod s3;
mod shop;
mod small_lake;
mod spark;
mod timeline;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use database::{Database, Flavour};
pub(crate) use lakebed::{Daemon, lakebed, query, query_rows, run_until_current};
pub(crate) use pipeline::Pipeline;
pub(crate) use process::Finished;
pub(crate) use proxy::Proxy;
pub(crate) use python::{duckdb_rows, hudi_rs_rows, interpreter};
pub(crate) use rows::{
    Rows, assert_same_rows, lake_rows, rows_of_reader, source_rows, source_rows_where,
};
pub(crate) use s3::S3;
pub(crate) use shop::{Kinds, Shop, Writer};
pub(crate) use small_lake::{SmallLake, objects};
pub(crate) use spark::Spark;
pub(crate) use timeline::completion_times;

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder that `scripts/setup` fills: a Python venv, jars, MySQL servers.
pub(crate) fn interop() -> PathBuf {
    std::env::var_os("LAKEBED_INTEROP").map_or_else(|| root().join(".interop"), PathBuf::from)
}

/// A file that a setup script installs; the test fails with the command to run when it is missing.
pub(crate) fn installed(path: PathBuf, command: &str) -> PathBuf {
    assert!(
        path.exists(),
        "{} is missing: run `{command}`",
        path.display()
    );
    path
}

/// Lets real time pass: what the tests wait for happens in other processes.
#[expect(
    clippy::disallowed_methods,
    reason = "other processes run in real time"
)]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Waits until `condition` holds, and fails saying `what` was waited for.
pub(crate) fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !condition() {
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        pause(Duration::from_millis(50));
    }
}
