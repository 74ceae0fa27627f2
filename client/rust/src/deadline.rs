//! When a call has to be over.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;

/// When a call has to be over; `None` for never.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// A timeout beyond what the clock can hold is none.
    pub(crate) fn after(timeout: Option<Duration>) -> Self {
        Self(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// The time that is left.
    pub(crate) fn left(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// A request that tells the server how much time is left.
    pub(crate) fn request<M>(self, message: M) -> tonic::Request<M> {
        let mut request = tonic::Request::new(message);
        if let Some(left) = self.left() {
            request.set_timeout(left);
        }
        request
    }

    /// Runs the call, and drops it when its time is over.
    pub(crate) async fn run<R>(
        self,
        call: impl Future<Output = Result<R, Error>>,
    ) -> Result<R, Error> {
        match self.0 {
            None => call.await,
            Some(at) => {
                tokio::time::timeout_at(at, call).await.unwrap_or_else(|_| Err(Error::deadline()))
            }
        }
    }
}
