//! Addresses of servers.

use std::fmt;

use tonic::transport::Endpoint;

use crate::error::Error;

const EXPECTED: &str =
    r#"expected "HOST:PORT", "http://HOST:PORT", "https://HOST:PORT" or "unix:PATH""#;

/// Where a server listens.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) endpoint: Endpoint,
    /// True where the connection has to use TLS.
    pub(crate) tls: bool,
    /// True for a Unix socket.
    pub(crate) unix: bool,
}

impl Address {
    /// An address as a caller wrote it. `tls` says whether TLS was asked for otherwise.
    pub(crate) fn parse(text: &str, tls: bool) -> Result<Self, Error> {
        if text.chars().any(|c| c == '\0' || (c.is_whitespace() && !text.starts_with("unix:"))) {
            return Err(wrong(text, "it has blanks or a NUL"));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            if path.trim_start_matches('/').is_empty() {
                return Err(wrong(text, "it has no path"));
            }
            let endpoint = Endpoint::from_shared(text.to_owned()).map_err(|e| wrong(text, e))?;
            return Ok(Self { endpoint, tls, unix: true });
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let tls = match scheme {
            "" => tls,
            "https" => true,
            "http" if tls => return Err(wrong(text, "TLS was asked for, and http has none")),
            "http" => false,
            _ => return Err(wrong(text, "it is of another scheme")),
        };
        let uri = format!("{}://{rest}", if tls { "https" } else { "http" });
        let endpoint = Endpoint::from_shared(uri).map_err(|e| wrong(text, with_cause(&e)))?;
        let authority = endpoint.uri().authority().filter(|it| !it.host().is_empty());
        let port = authority.and_then(|it| it.port_u16());
        // Schemes have a default port; a bare host is more likely a mistake.
        if authority.is_none() || (port.is_none() && (scheme.is_empty() || rest.contains(':'))) {
            return Err(wrong(text, "it has no host, or no port"));
        }
        Ok(Self { endpoint, tls, unix: false })
    }
}

fn with_cause(error: &tonic::transport::Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

fn wrong(text: &str, why: impl fmt::Display) -> Error {
    Error::invalid("address", "", format_args!("{EXPECTED}, got {text:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn addresses_of_every_form() {
        let tcp = ["localhost:50051", "127.0.0.1:50051", "[::1]:50051", "http://example.org"];
        for text in tcp {
            let address = Address::parse(text, false).unwrap();
            assert!(!address.tls && !address.unix, "{text}");
        }
        for text in ["unix:/run/lossd.sock", "unix:///run/lossd.sock", "unix:here", "unix:/a b"] {
            assert!(Address::parse(text, false).unwrap().unix, "{text}");
        }
        assert!(Address::parse("https://example.org:443", false).unwrap().tls);
        let named = Address::parse("example.org:443", true).unwrap();
        assert_eq!(named.endpoint.uri().scheme_str(), Some("https"));
    }

    #[test]
    fn others_are_refused_by_name() {
        let wrong = [
            "",
            "localhost",
            ":50051",
            "a b:1",
            "host:port",
            "host:70000",
            "ftp://a:1",
            "unix:",
            "unix:///",
            "http://",
            "a\0:1",
            "[::1:50051",
        ];
        for text in wrong {
            let error = Address::parse(text, false).unwrap_err();
            assert_eq!(error.field(), "address", "{text}: {error}");
        }
        assert!(Address::parse("http://a:1", true).is_err(), "TLS over http");
    }
}
