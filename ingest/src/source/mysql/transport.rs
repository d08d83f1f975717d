//! The byte stream below the packets: TCP, in clear or under TLS.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_rustls::client::TlsStream;

use super::options::MySqlOptions;
use super::tls::TlsSettings;
use crate::{Error, ErrorKind, Result};

/// A connected socket.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// Connects to the first address of the host that answers.
    pub(super) async fn connect(options: &MySqlOptions) -> Result<Self> {
        let unreachable = |error: io::Error| {
            Error::new(
                ErrorKind::Unavailable,
                format!(
                    "cannot reach the server at {}: {error}; check that it runs, its port and \
                     bind_address, name resolution and firewalls",
                    options.endpoint()
                ),
            )
            .with_source(error)
        };
        let addresses = lookup_host((options.host.as_str(), options.port))
            .await
            .map_err(unreachable)?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match connect_one(address).await {
                Ok(stream) => return Ok(Self::Plain(stream)),
                Err(error) => last = error,
            }
        }
        Err(unreachable(last))
    }

    /// Goes on under TLS.
    pub(super) async fn upgrade(self, tls: &TlsSettings) -> io::Result<Self> {
        match self {
            Self::Plain(stream) => Ok(Self::Tls(Box::new(tls.connect(stream).await?))),
            Self::Tls(_) => Ok(self),
        }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Reads what is there; 0 at the end of the stream. Cancel-safe.
    pub(super) async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into).await,
            Self::Tls(stream) => stream.read(into).await,
        }
    }

    /// Writes all of it and flushes.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }
}

async fn connect_one(address: std::net::SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_keepalive(true)?;
    socket.set_nodelay(true)?;
    socket.connect(address).await
}
