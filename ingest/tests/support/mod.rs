//! What the tests stand on.

use std::path::PathBuf;

pub(crate) mod mariadb;
mod mysql;

pub(crate) use mariadb::MariaDb;
pub(crate) use mysql::MySql;

/// Where `scripts/setup` puts what it fetches.
pub(crate) fn interop() -> PathBuf {
    std::env::var_os("LAKEBED_INTEROP").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.interop")),
        PathBuf::from,
    )
}
