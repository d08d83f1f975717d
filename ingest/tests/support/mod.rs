//! What the tests stand on.

pub(crate) mod mariadb;

pub(crate) use mariadb::MariaDb;
