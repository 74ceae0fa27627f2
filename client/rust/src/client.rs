//! The client.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio_stream::Stream;

use crate::body::Body;
use crate::builder::Builder;
use crate::chunks::ALWAYS_FITS;
use crate::connection::{Connection, Stub};
use crate::deadline::Deadline;
use crate::element::Float;
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::info::ServerInfo;
use crate::options::{Progress, Transport};
use crate::parts::Parts;
use crate::problem::Problem;
use crate::reply::Outputs;
use crate::summary::{Combined, Summary};
use crate::{many, proto, stream};

/// More than this goes by stream, where the transport is not chosen.
const UNARY_BYTES: usize = 1 << 20;

/// A connection to a lossd server.
///
/// A clone is cheap and shares the connection; one serves any number of tasks. A connection that broke
/// is made anew by the next call. Calls are cancelled by dropping their futures. A call that does not
/// reach the server, or finds it busy, is made again: four attempts at most, within the timeout.
#[derive(Clone)]
pub struct Client {
    pub(crate) connection: Connection,
    pub(crate) timeout: Option<Duration>,
}

impl Client {
    /// Connects to `"HOST:PORT"` or `"unix:PATH"` with default settings.
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub async fn connect(address: impl Into<String>) -> Result<Self, Error> {
        Self::builder(address).connect().await
    }

    /// Connects to the address in the environment variable `LOSSD_ADDRESS`, or else to
    /// `127.0.0.1:50051`.
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub async fn from_env() -> Result<Self, Error> {
        let address = std::env::var("LOSSD_ADDRESS").ok().filter(|address| !address.is_empty());
        Self::connect(address.as_deref().unwrap_or("127.0.0.1:50051")).await
    }

    /// Settings for a connection to `"HOST:PORT"`, `"http://..."`, `"https://..."` or `"unix:PATH"`.
    pub fn builder(address: impl Into<String>) -> Builder {
        Builder::new(address.into())
    }

    pub(crate) fn over(connection: Connection, timeout: Option<Duration>) -> Self {
        Self { connection, timeout }
    }

    /// A client over the same connection whose calls may take this long, attempts and pauses included.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { connection: self.connection.clone(), timeout: Some(timeout) }
    }

    /// Evaluates a problem.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the problem is not valid; [`Error::field`] names the argument at fault.
    /// [`Error::Exhausted`], [`Error::Unavailable`], [`Error::DeadlineExceeded`] and the others where
    /// the call failed.
    pub async fn evaluate<T: Float, K>(
        &self,
        problem: Problem<'_, T, K>,
    ) -> Result<Evaluation<T>, Error> {
        self.outputs(&problem.body).await?.finish()
    }

    /// Evaluates many small problems over one stream, without waiting for one before the next: several
    /// times as many a second as by one call after the other.
    ///
    /// Gives the results in the problems' order, each with its own error. Each problem has to fit one
    /// message; its transport and its progress are not used. A stream that breaks is opened again for
    /// the problems that have no answer. The timeout is for all of them together: those answered by
    /// then keep their results.
    pub async fn evaluate_many<'a, T: Float, K>(
        &self,
        problems: impl IntoIterator<Item = Problem<'a, T, K>>,
    ) -> Vec<Result<Evaluation<T>, Error>> {
        let bodies: Vec<_> = problems.into_iter().map(|problem| problem.body).collect();
        let results = many::evaluate(&self.connection, &bodies, self.timeout).await;
        let finish = |outputs: Result<Outputs, Error>| outputs.and_then(Outputs::finish);
        results.into_iter().map(finish).collect()
    }

    /// Evaluates a problem of any size in bounded memory: its input comes from a stream, and its results
    /// are a stream.
    ///
    /// The problem's input is a [`TensorRef::announced`](crate::TensorRef::announced). `input` gives
    /// its little-endian bytes in row-major order, cut anywhere. Everything else lies in memory. The
    /// call begins when the results are polled, is cancelled when they are dropped, and is not made
    /// again where the connection breaks.
    pub fn evaluate_stream<'a, T: Float, K>(
        &self,
        problem: Problem<'a, T, K>,
        input: impl Stream<Item = Bytes> + Send + 'a,
    ) -> Parts<'a> {
        let deadline = Deadline::after(self.timeout);
        Parts::new(self.connection.clone(), problem.body, input, deadline)
    }

    /// Merges the summaries of shards of one batch exactly, in any order.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is none, or they are of problems that cannot be merged; others
    /// where the call failed.
    pub async fn combine<'s>(
        &self,
        summaries: impl IntoIterator<Item = &'s Summary>,
    ) -> Result<Combined, Error> {
        let summaries = summaries.into_iter().map(|summary| summary.as_proto().clone()).collect();
        let deadline = Deadline::after(self.timeout);
        let request = proto::CombineRequest { summaries };
        Combined::from_reply(deadline.run(self.connection.combine(request, deadline)).await?)
    }

    /// Asks the server what it is and accepts.
    ///
    /// # Errors
    /// Where the call failed.
    pub async fn info(&self) -> Result<ServerInfo, Error> {
        let deadline = Deadline::after(self.timeout);
        deadline.run(self.connection.info(deadline)).await
    }

    /// The generated client, over the same connection and with the same token. Types of it are those of
    /// [`crate::proto`] and of the crate tonic.
    #[must_use]
    pub fn stub(&self) -> Stub {
        self.connection.stub()
    }

    async fn outputs(&self, body: &Body<'_>) -> Result<Outputs, Error> {
        body.check()?;
        let deadline = Deadline::after(self.timeout);
        let call = async {
            if self.goes_by_stream(body, deadline).await? {
                stream::evaluate(&self.connection, body, deadline).await
            } else {
                self.by_message(body, deadline).await
            }
        };
        self.connection.watched(deadline.run(call).await)
    }

    async fn goes_by_stream(&self, body: &Body<'_>, deadline: Deadline) -> Result<bool, Error> {
        Ok(match body.transport {
            Transport::Unary => false,
            Transport::Stream => true,
            Transport::Auto if body.len() <= ALWAYS_FITS => false,
            Transport::Auto if body.len() > UNARY_BYTES => true,
            Transport::Auto => body.len() > self.connection.most_data(deadline).await?,
        })
    }

    async fn by_message(&self, body: &Body<'_>, deadline: Deadline) -> Result<Outputs, Error> {
        let reply = self.connection.evaluate(body.request(), deadline).await?;
        let mut outputs = Outputs::new(body)?;
        outputs.take_whole(reply)?;
        if let Some(report) = &body.progress {
            let (sent, received) = (body.len() as u64, outputs.size() as u64);
            report(Progress { sent, to_send: sent, received, to_receive: received });
        }
        Ok(outputs)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Client");
        debug.field("address", &self.connection.address).field("timeout", &self.timeout).finish()
    }
}
