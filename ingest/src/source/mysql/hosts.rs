//! The servers that a pipeline may read from: a primary and those that may take its place.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::connection::{Connection, MySqlOptions};
use crate::config::SourceConfig;
use crate::{Error, ErrorKind, Result};

/// Servers in the order in which they are tried.
#[derive(Debug)]
pub struct Hosts {
    options: Vec<MySqlOptions>,
    /// The one that is tried first: that which answered last.
    preferred: AtomicUsize,
}

impl Hosts {
    /// The servers of `hostname`: one, or several separated by commas, each with a port of its own if need be.
    ///
    /// # Errors
    /// `Invalid` for a port that is none, an unknown ssl-mode, and a certificate without key.
    pub fn from_config(source: &SourceConfig) -> Result<Self> {
        let common = MySqlOptions::from_config(source)?;
        let names = source.hostname.split(',').map(str::trim);
        let options = names.map(|name| {
            let (host, port) = split_port(name, common.port)?;
            Ok(MySqlOptions {
                host,
                port,
                ..common.clone()
            })
        });
        Ok(Self {
            options: options.collect::<Result<_>>()?,
            preferred: AtomicUsize::new(0),
        })
    }

    /// How to reach each of them.
    pub fn all(&self) -> &[MySqlOptions] {
        &self.options
    }

    /// Connects to the first that answers, and says how it is reached.
    ///
    /// # Errors
    /// `Unavailable` when none answers; the error of one that answers and refuses.
    pub async fn connect(&self) -> Result<(MySqlOptions, Connection)> {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for step in 0..self.options.len() {
            let number = (preferred + step) % self.options.len();
            let Some(options) = self.options.get(number) else {
                continue;
            };
            match Connection::connect(options).await {
                Ok(connection) => {
                    if number != preferred {
                        tracing::warn!(server = options.endpoint(), "reading from another server");
                    }
                    self.preferred.store(number, Ordering::Relaxed);
                    return Ok((options.clone(), connection));
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => failures.push(error),
                Err(error) => return Err(error),
            }
        }
        let messages: Vec<_> = failures.iter().map(ToString::to_string).collect();
        let error = Error::new(ErrorKind::Unavailable, messages.join("; "));
        Err(match failures.pop() {
            Some(last) => error.with_source(last),
            None => error,
        })
    }

    /// Begins with the next one from now on: the preferred one does not know where to go on.
    pub(crate) fn turn_away(&self) {
        let next = self.preferred.load(Ordering::Relaxed) + 1;
        self.preferred
            .store(next % self.options.len(), Ordering::Relaxed);
    }
}

/// `host`, `host:port` or `[host]:port`.
fn split_port(name: &str, default: u16) -> Result<(String, u16)> {
    let (host, port) = match name.rsplit_once(':') {
        // An IPv6 address without brackets has more than one colon.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (name, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.map_or(Ok(default), str::parse);
    match port {
        Ok(port) if !host.is_empty() => Ok((host.to_owned(), port)),
        _ => Err(Error::invalid(format!(
            "`{name}` in source.hostname is no server: write HOST or HOST:PORT, several of them separated by commas"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_may_have_ports_of_their_own() {
        let split = |name| split_port(name, 3306).unwrap();
        assert_eq!(split("db1"), ("db1".to_owned(), 3306));
        assert_eq!(split("db1:3307"), ("db1".to_owned(), 3307));
        assert_eq!(split("fe80::1"), ("fe80::1".to_owned(), 3306));
        assert_eq!(split("[fe80::1]:3307"), ("fe80::1".to_owned(), 3307));
        for name in ["", "db1:", "db1:many", ":3306"] {
            let message = split_port(name, 3306).unwrap_err().to_string();
            assert!(message.contains("source.hostname"), "{message}");
        }
    }
}
