//! How a connection uses TLS.

use std::fmt;

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::error::Error;

/// How a connection uses TLS: by default with the certificate authorities of the system.
///
/// ```
/// # fn f(ca: Vec<u8>, cert: Vec<u8>, key: Vec<u8>) -> lossd_client::Tls {
/// use lossd_client::Tls;
///
/// Tls::new().roots(ca).identity(cert, key).server_name("loss.example.org")
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Tls {
    roots: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    server_name: Option<String>,
}

impl Tls {
    /// TLS with the certificate authorities of the system.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts these certificates (PEM) in place of the system's.
    pub fn roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Shows this certificate and its key (PEM), where the server asks for one.
    pub fn identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Expects a certificate of this name in place of the address's host.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    pub(crate) fn checked(self) -> Result<ClientTlsConfig, Error> {
        let mut config = ClientTlsConfig::new();
        config = match self.roots {
            None => config.with_native_roots(),
            Some(pem) => {
                holds(&pem, "-----BEGIN CERTIFICATE-----", "tls.roots")?;
                config.ca_certificate(Certificate::from_pem(pem))
            }
        };
        if let Some((certificate, key)) = self.identity {
            holds(&certificate, "-----BEGIN CERTIFICATE-----", "tls.identity")?;
            holds(&key, "PRIVATE KEY-----", "tls.identity")?;
            config = config.identity(Identity::from_pem(certificate, key));
        }
        if let Some(name) = self.server_name {
            config = config.domain_name(name);
        }
        Ok(config)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the key.
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// rustls takes PEM without a certificate for an empty list, and no server would be trusted.
fn holds(pem: &[u8], header: &str, field: &str) -> Result<(), Error> {
    if pem.windows(header.len()).any(|window| window == header.as_bytes()) {
        return Ok(());
    }
    Err(Error::invalid(field, "", format_args!("expected PEM with {header}; there is none")))
}

/// An error of the configuration and its causes.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", words(cause)));
    format!("{error}{}", cause.unwrap_or_default())
}
