//! What the tests stand on.

pub(crate) mod mariadb;
mod mysql;

pub(crate) use mariadb::MariaDb;
pub(crate) use mysql::MySql;
