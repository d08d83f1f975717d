//! MySQL and MariaDB: our own wire client, the snapshot's chunks and the binary log.

pub mod connection;
mod handshake;
pub mod options;
mod packet;
pub mod result_set;
pub mod server_error;
mod tls;
mod transport;
mod wire;
