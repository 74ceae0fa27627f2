//! How a client is made.

use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};

use crate::address::Address;
use crate::client::Client;
use crate::connection::{Bearer, Connection};
use crate::error::Error;
#[cfg(feature = "tls")]
use crate::tls::Tls;

/// Settings of a [`Client`]; made by [`Client::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder connects with connect or connect_lazy"]
pub struct Builder {
    address: String,
    timeout: Option<Duration>,
    token: Option<String>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl Builder {
    pub(crate) fn new(address: String) -> Self {
        Self {
            address,
            timeout: None,
            token: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The time that a call may take, attempts and pauses included. None unless set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// A token, sent as `authorization: Bearer TOKEN` with every call. It needs TLS or a Unix socket.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Connects by TLS.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Connects, and asks the server what it accepts.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a setting, whose name [`Error::field`] gives; [`Error::Unavailable`] where
    /// nobody answers at the address, after four attempts; [`Error::Unimplemented`] where another
    /// service does.
    pub async fn connect(self) -> Result<Client, Error> {
        let client = self.connect_lazy()?;
        client.info().await?;
        Ok(client)
    }

    /// A client that connects with its first call.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a setting, whose name [`Error::field`] gives.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect_lazy(self) -> Result<Client, Error> {
        let address = Address::parse(&self.address, self.wants_tls())?;
        let token = self.bearer(&address)?;
        let channel = self.channel(address)?;
        Ok(Client::over(Connection::new(channel, &self.address, token), self.timeout))
    }

    fn bearer(&self, address: &Address) -> Result<Bearer, Error> {
        let Some(token) = &self.token else {
            return Ok(Bearer(None));
        };
        let printable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        let value = MetadataValue::try_from(format!("Bearer {token}"));
        match value {
            Ok(mut value) if printable => {
                if !address.tls && !address.unix {
                    let words = "a token is sent over TLS or a Unix socket only";
                    return Err(Error::invalid("token", "", words));
                }
                value.set_sensitive(true);
                Ok(Bearer(Some(value)))
            }
            // The token itself is not said.
            _ => Err(Error::invalid("token", "", "expected printable ASCII without blanks")),
        }
    }

    #[cfg(feature = "tls")]
    fn wants_tls(&self) -> bool {
        self.tls.is_some()
    }

    #[cfg(not(feature = "tls"))]
    fn wants_tls(&self) -> bool {
        false
    }

    #[cfg(feature = "tls")]
    fn channel(&self, address: Address) -> Result<Channel, Error> {
        let mut endpoint = configured(address.endpoint);
        if address.tls {
            let tls = self.tls.clone().unwrap_or_default();
            let refused = |error| Error::invalid("tls", "", crate::tls::words(&error));
            endpoint = endpoint.tls_config(tls.checked()?).map_err(refused)?;
        }
        Ok(endpoint.connect_lazy())
    }

    #[cfg(not(feature = "tls"))]
    fn channel(&self, address: Address) -> Result<Channel, Error> {
        if address.tls {
            let words = "https needs the feature `tls` of the crate lossd-client";
            return Err(Error::invalid("address", "", words));
        }
        Ok(configured(address.endpoint).connect_lazy())
    }
}

fn configured(endpoint: Endpoint) -> Endpoint {
    endpoint
        .user_agent(concat!("lossd-rust/", env!("CARGO_PKG_VERSION")))
        .expect("a header value of plain ASCII")
        // A stream of gradients is 10 to 20 % faster than with the default.
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .connect_timeout(Duration::from_secs(20))
        // A server that is gone without a word ends its calls.
        .http2_keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(20))
}
