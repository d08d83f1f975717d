//! How to reach a server: address, account, TLS.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use table_format::env::MemoryBudget;

use crate::config::{Secret, SourceConfig};
use crate::{Error, Result};

/// Whether and how strictly the connection is encrypted; the five modes of MySQL's own clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    /// Never.
    Disabled,
    /// If the server can, without verifying it; in clear otherwise.
    #[default]
    Preferred,
    /// Always, without verifying the server.
    Required,
    /// Always, with a certificate that the given authority signed.
    VerifyCa,
    /// As `VerifyCa`, and the certificate must name the host.
    VerifyIdentity,
}

impl FromStr for SslMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text.to_ascii_lowercase().replace('_', "-").as_str() {
            "disabled" => Self::Disabled,
            "preferred" => Self::Preferred,
            "required" => Self::Required,
            "verify-ca" => Self::VerifyCa,
            "verify-identity" => Self::VerifyIdentity,
            _ => {
                return Err(Error::invalid(format!(
                    "ssl-mode `{text}` is unknown: use disabled, preferred, required, verify-ca or verify-identity"
                )));
            }
        })
    }
}

/// Where the server is and who we are there.
#[derive(Debug, Clone)]
pub struct MySqlOptions {
    /// Host name or address.
    pub host: String,
    /// TCP port; 3306 by default.
    pub port: u16,
    /// Account name.
    pub user: String,
    /// Its password; empty for none.
    pub password: Secret,
    /// Encryption of the connection.
    pub ssl_mode: SslMode,
    /// PEM file of the certificate authorities for `verify-ca` and `verify-identity`.
    pub ssl_ca: Option<PathBuf>,
    /// PEM files of the client's certificate (its chain included) and private key, for accounts that REQUIRE X509.
    pub ssl_client: Option<(PathBuf, PathBuf)>,
    /// Limit for name lookup, TCP connect, TLS and login together; 30 s by default.
    pub connect_timeout: Duration,
    /// What the buffers of the connections are booked in; by default an account that nobody looks at.
    pub memory: MemoryBudget,
}

impl MySqlOptions {
    /// Options for an account on a host; everything else at its default.
    pub fn new(host: impl Into<String>, user: impl Into<String>, password: Secret) -> Self {
        Self {
            host: host.into(),
            port: 3306,
            user: user.into(),
            password,
            ssl_mode: SslMode::default(),
            ssl_ca: None,
            ssl_client: None,
            connect_timeout: Duration::from_secs(30),
            memory: MemoryBudget::new(u64::MAX),
        }
    }

    /// The options of a pipeline's source, for a single server.
    ///
    /// # Errors
    /// `Invalid` for an unknown ssl-mode, and for a certificate without key.
    pub fn from_config(source: &SourceConfig) -> Result<Self> {
        let (host, user) = (source.hostname.clone(), source.username.clone());
        Ok(Self {
            port: source.port,
            ssl_mode: source.ssl_mode.parse()?,
            ssl_ca: source.ssl_ca.as_ref().map(PathBuf::from),
            ssl_client: match (&source.ssl_cert, &source.ssl_key) {
                (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
                (None, None) => None,
                _ => {
                    return Err(Error::invalid(
                        "ssl-cert and ssl-key go together: a certificate is of no use without its key",
                    ));
                }
            },
            ..Self::new(host, user, source.password.clone())
        })
    }

    /// `host:port`, as messages name the server.
    pub fn endpoint(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_prints_the_password() {
        let options = MySqlOptions::new("db", "lake", Secret::new("hunter2"));
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn reads_every_ssl_mode_in_both_spellings() {
        assert_eq!("VERIFY_CA".parse::<SslMode>().unwrap(), SslMode::VerifyCa);
        assert_eq!(
            "verify-identity".parse::<SslMode>().unwrap(),
            SslMode::VerifyIdentity
        );
        assert!(
            "verify"
                .parse::<SslMode>()
                .unwrap_err()
                .to_string()
                .contains("preferred")
        );
    }
}
