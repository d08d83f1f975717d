//! MySQL and MariaDB: our own wire client, the snapshot's chunks and the binary log.

pub mod backlog;
pub mod binlog;
pub mod chunk;
pub mod connection;
pub mod ddl;
pub mod discovery;
pub mod dump;
mod handshake;
pub mod hosts;
mod options;
mod packet;
pub mod polling;
pub mod preflight;
pub mod result_set;
pub mod safe_position;
pub mod server;
pub mod server_error;
mod sql;
pub mod start_position;
mod tls;
mod transport;
mod wire;
