//! From a TCP connection to a logged-in session: greeting, TLS, authentication.
//!
//! Spec: MySQL client/server protocol, "Connection Phase"; MariaDB's `client_ed25519`.

use mysql_common::constants::CapabilityFlags;
use mysql_common::{crypto, scramble};

use super::options::{MySqlOptions, SslMode};
use super::packet::{PACKET_MAX, PacketStream};
use super::server_error::{Phase, ServerError};
use super::tls::TlsSettings;
use super::transport::Transport;
use super::wire::{Cursor, put_lenenc_bytes, put_zero_terminated};
use crate::{Error, ErrorKind, Result};

/// utf8mb4_general_ci, which every supported server knows.
const COLLATION: u8 = 45;
const ERR: u8 = 0xff;

/// What the server says of itself before anything else.
#[derive(Debug, Clone)]
pub(super) struct Greeting {
    pub(super) version: String,
    pub(super) connection_id: u32,
    nonce: Vec<u8>,
    capabilities: CapabilityFlags,
    plugin: Vec<u8>,
}

/// Connects and logs in. Under `preferred`, a TLS handshake that fails is retried in clear, as MySQL's clients do.
pub(super) async fn login(options: &MySqlOptions) -> Result<(PacketStream, Greeting)> {
    let tls = TlsSettings::try_new(options)?;
    match attempt(options, tls.as_ref()).await? {
        Attempt::Done(stream, greeting) => Ok((stream, greeting)),
        Attempt::TlsFailed(error) if options.ssl_mode == SslMode::Preferred => {
            tracing::warn!(server = options.endpoint(), %error, "TLS failed, going on unencrypted");
            match attempt(options, None).await? {
                Attempt::Done(stream, greeting) => Ok((stream, greeting)),
                Attempt::TlsFailed(error) => Err(error),
            }
        }
        Attempt::TlsFailed(error) => Err(error),
    }
}

enum Attempt {
    Done(PacketStream, Greeting),
    TlsFailed(Error),
}

async fn attempt(options: &MySqlOptions, tls: Option<&TlsSettings>) -> Result<Attempt> {
    let memory = options.memory.book(0);
    let mut stream = PacketStream::new(Transport::connect(options).await?, memory);
    let greeting = Greeting::parse(stream.read().await?, options)?;
    let mut capabilities = (CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
        | CapabilityFlags::CLIENT_CONNECT_ATTRS)
        & greeting.capabilities;
    if let Some(tls) = tls {
        if greeting.capabilities.contains(CapabilityFlags::CLIENT_SSL) {
            capabilities |= CapabilityFlags::CLIENT_SSL;
            stream.write(&response_head(capabilities)).await?;
            let sequence = stream.sequence();
            let (transport, memory) = stream.into_parts();
            let transport = match transport.upgrade(tls).await {
                Ok(transport) => transport,
                Err(error) => return Ok(Attempt::TlsFailed(tls_error(error, options))),
            };
            stream = PacketStream::resume(transport, memory, sequence);
        } else if options.ssl_mode != SslMode::Preferred {
            return Err(Error::invalid(format!(
                "server {} offers no TLS, which ssl-mode asks for; set ssl_cert and ssl_key on the \
                 server, or ssl-mode: preferred",
                options.endpoint()
            )));
        }
    }
    let mut authentication = Authentication {
        plugin: greeting.plugin.clone(),
        nonce: greeting.nonce.clone(),
        password: options.password.expose().as_bytes(),
        endpoint: options.endpoint(),
    };
    let response = handshake_response(options, capabilities, &authentication, &stream)?;
    stream.write(&response).await?;
    authentication.finish(&mut stream).await?;
    Ok(Attempt::Done(stream, greeting))
}

fn tls_error(error: std::io::Error, options: &MySqlOptions) -> Error {
    let rustls = error
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>());
    let kind = if rustls {
        ErrorKind::Invalid
    } else {
        ErrorKind::Unavailable
    };
    Error::new(
        kind,
        format!(
            "TLS with server {} failed: {error}; check ssl-mode, ssl-ca and the server's certificate",
            options.endpoint()
        ),
    )
    .with_source(error)
}

impl Greeting {
    fn parse(packet: &[u8], options: &MySqlOptions) -> Result<Self> {
        let mut cursor = Cursor::new(packet);
        match cursor.u8()? {
            ERR => {
                let error = ServerError::parse(packet);
                return Err(error.into_error(Phase::Login, &options.endpoint()));
            }
            10 => {}
            version => {
                return Err(Error::unsupported(format!(
                    "{} speaks protocol version {version}: is this port MySQL's classic protocol?",
                    options.endpoint()
                )));
            }
        }
        let version = String::from_utf8_lossy(cursor.until_zero()).into_owned();
        let connection_id = cursor.u32()?;
        let mut nonce = cursor.take(8)?.to_vec();
        cursor.take(1)?;
        let low = cursor.u16()?;
        cursor.take(3)?;
        let high = cursor.u16()?;
        let capabilities =
            CapabilityFlags::from_bits_truncate(u32::from(low) | (u32::from(high) << 16));
        let nonce_len = usize::from(cursor.u8()?);
        cursor.take(10)?;
        let second = cursor.take(nonce_len.saturating_sub(8).max(13))?;
        nonce.extend_from_slice(without_zero(second));
        let plugin = match cursor.until_zero() {
            [] => b"mysql_native_password".to_vec(),
            name => name.to_vec(),
        };
        Ok(Self {
            version,
            connection_id,
            nonce,
            capabilities,
            plugin,
        })
    }
}

fn without_zero(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(&[0]).unwrap_or(bytes)
}

/// The first 32 bytes of the response; alone, the request for TLS.
fn response_head(capabilities: CapabilityFlags) -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    head.extend_from_slice(&capabilities.bits().to_le_bytes());
    head.extend_from_slice(&u32::try_from(PACKET_MAX).unwrap_or(u32::MAX).to_le_bytes());
    head.push(COLLATION);
    head.extend_from_slice(&[0; 23]);
    head
}

fn handshake_response(
    options: &MySqlOptions,
    capabilities: CapabilityFlags,
    authentication: &Authentication<'_>,
    stream: &PacketStream,
) -> Result<Vec<u8>> {
    // A server may greet with a plugin that this account does not use: answer with a plugin that sends
    // no secret, and let the server switch.
    let secretless = matches!(
        authentication.plugin.as_slice(),
        b"mysql_native_password" | b"caching_sha2_password"
    );
    let (plugin, answer) = if secretless {
        (
            authentication.plugin.as_slice(),
            authentication.answer(stream)?,
        )
    } else {
        (b"mysql_native_password".as_slice(), Vec::new())
    };
    let mut response = response_head(capabilities);
    put_zero_terminated(&mut response, options.user.as_bytes());
    if capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA) {
        put_lenenc_bytes(&mut response, &answer);
    } else {
        // Scrambles have 20 or 32 bytes: one byte of length.
        response.push(answer.len().to_le_bytes()[0]);
        response.extend_from_slice(&answer);
    }
    if capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH) {
        put_zero_terminated(&mut response, plugin);
    }
    if capabilities.contains(CapabilityFlags::CLIENT_CONNECT_ATTRS) {
        let mut attributes = Vec::new();
        for text in [
            "program_name",
            "lakebed",
            "_client_version",
            env!("CARGO_PKG_VERSION"),
        ] {
            put_lenenc_bytes(&mut attributes, text.as_bytes());
        }
        put_lenenc_bytes(&mut response, &attributes);
    }
    Ok(response)
}

/// The dialogue in which the server picks a plugin and we prove that we know the password.
struct Authentication<'a> {
    plugin: Vec<u8>,
    nonce: Vec<u8>,
    password: &'a [u8],
    endpoint: String,
}

impl Authentication<'_> {
    async fn finish(&mut self, stream: &mut PacketStream) -> Result<()> {
        loop {
            let packet = stream.read().await?;
            match packet.split_first() {
                Some((0x00, _)) => return Ok(()),
                Some((&ERR, _)) => {
                    let error = ServerError::parse(packet);
                    return Err(error.into_error(Phase::Login, &self.endpoint));
                }
                Some((0xfe, [])) => return Err(self.unsupported("mysql_old_password")),
                Some((0xfe, request)) => {
                    let mut cursor = Cursor::new(request);
                    self.plugin = cursor.until_zero().to_vec();
                    self.nonce = without_zero(cursor.rest()).to_vec();
                    let answer = self.answer(stream)?;
                    stream.write(&answer).await?;
                }
                Some((0x01, data)) => {
                    let data = data.to_vec();
                    self.more(stream, &data).await?;
                }
                _ => {
                    return Err(Error::new(
                        ErrorKind::Corrupt,
                        format!("server {} sent an unknown packet at login", self.endpoint),
                    ));
                }
            }
        }
    }

    /// The first answer of the plugin.
    fn answer(&self, stream: &PacketStream) -> Result<Vec<u8>> {
        let scrambled = |answer: Option<&[u8]>| answer.unwrap_or_default().to_vec();
        match self.plugin.as_slice() {
            b"mysql_native_password" => {
                let answer = scramble::scramble_native(&self.nonce, self.password);
                Ok(scrambled(answer.as_ref().map(<[u8; 20]>::as_slice)))
            }
            b"caching_sha2_password" => {
                let answer = scramble::scramble_sha256(&self.nonce, self.password);
                Ok(scrambled(answer.as_ref().map(<[u8; 32]>::as_slice)))
            }
            b"client_ed25519" => {
                Ok(scramble::create_response_for_ed25519(self.password, &self.nonce).to_vec())
            }
            b"sha256_password" if self.password.is_empty() => Ok(vec![0]),
            b"sha256_password" if !stream.is_encrypted() => Ok(vec![1]),
            b"sha256_password" => Ok(self.clear_password()),
            b"mysql_clear_password" if stream.is_encrypted() => Ok(self.clear_password()),
            b"mysql_clear_password" => Err(Error::invalid(format!(
                "server {} wants the password in clear, which is only sent under TLS: set ssl-mode: required",
                self.endpoint
            ))),
            other => Err(self.unsupported(&String::from_utf8_lossy(other))),
        }
    }

    fn clear_password(&self) -> Vec<u8> {
        let mut bytes = self.password.to_vec();
        bytes.push(0);
        bytes
    }

    /// The second round of the SHA-2 plugins.
    ///
    /// Spec: MySQL "Caching SHA-2 authentication": 3 = known from the server's cache, 4 = send the password.
    async fn more(&self, stream: &mut PacketStream, data: &[u8]) -> Result<()> {
        match (self.plugin.as_slice(), data) {
            (b"caching_sha2_password", [3]) => Ok(()),
            (b"caching_sha2_password", [4]) if stream.is_encrypted() => {
                stream.write(&self.clear_password()).await
            }
            (b"caching_sha2_password", [4]) => {
                stream.write(&[2]).await?;
                let packet = stream.read().await?;
                let key = packet.get(1..).unwrap_or(&[]).to_vec();
                self.send_encrypted(stream, key).await
            }
            (b"sha256_password", key) => self.send_encrypted(stream, key.to_vec()).await,
            _ => Err(Error::new(
                ErrorKind::Corrupt,
                format!("server {} sent unexpected data at login", self.endpoint),
            )),
        }
    }

    /// Sends the password under the server's RSA key.
    async fn send_encrypted(&self, stream: &mut PacketStream, key: Vec<u8>) -> Result<()> {
        let mut secret = self.clear_password();
        let nonce = self.nonce.iter().cycle();
        secret
            .iter_mut()
            .zip(nonce)
            .for_each(|(byte, nonce)| *byte ^= nonce);
        // A damaged key makes the library panic: its own task turns that into an error.
        let encrypted = tokio::task::spawn_blocking(move || crypto::encrypt(&secret, &key))
            .await
            .map_err(|error| {
                Error::new(
                    ErrorKind::Corrupt,
                    format!("server {} sent a public key that is none", self.endpoint),
                )
                .with_source(error)
            })?;
        stream.write(&encrypted).await
    }

    fn unsupported(&self, plugin: &str) -> Error {
        Error::unsupported(format!(
            "server {} asks for the authentication plugin `{plugin}`: ALTER USER … IDENTIFIED WITH \
             caching_sha2_password (MariaDB: IDENTIFIED VIA mysql_native_password or ed25519)",
            self.endpoint
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn reads_the_greeting_of_both_flavours() {
        let options = MySqlOptions::new("db", "lake", Secret::new(""));
        let mut packet = vec![10];
        packet.extend_from_slice(b"11.4.5-MariaDB-log\0");
        packet.extend_from_slice(&7u32.to_le_bytes());
        packet.extend_from_slice(b"12345678\0");
        packet.extend_from_slice(&[0xfe, 0xf7, 45, 2, 0, 0xff, 0x81, 21]);
        packet.extend_from_slice(&[0; 10]);
        packet.extend_from_slice(b"abcdefghijkl\0mysql_native_password\0");
        let greeting = Greeting::parse(&packet, &options).unwrap();
        assert_eq!(greeting.version, "11.4.5-MariaDB-log");
        assert_eq!(greeting.connection_id, 7);
        assert_eq!(greeting.nonce, b"12345678abcdefghijkl");
        assert_eq!(greeting.plugin, b"mysql_native_password");
        assert!(
            greeting
                .capabilities
                .contains(CapabilityFlags::CLIENT_PLUGIN_AUTH)
        );
        for len in 0..packet.len() - 25 {
            assert!(
                Greeting::parse(&packet[..len], &options).is_err(),
                "cut at {len}"
            );
        }
    }

    #[test]
    fn names_a_server_that_is_none() {
        let options = MySqlOptions::new("db", "lake", Secret::new(""));
        let error = Greeting::parse(b"HTTP/1.1 400", &options).unwrap_err();
        assert!(error.to_string().contains("db:3306"), "{error}");
    }
}
