//! A problem whose input comes from a stream, and whose results go to one: neither is ever whole in
//! memory.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _};

use crate::body::Body;
use crate::chunks::{ALWAYS_FITS, Chunks};
use crate::connection::Connection;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::proto::{EvaluateStreamRequest, EvaluateStreamResponse};
use crate::pump::pump;
use crate::reply::Outputs;
use crate::stream::Meter;
use crate::summary::Summary;

/// Messages, or parts, that wait for the other side.
const WAITING: usize = 2;

/// A piece of the results: little-endian bytes that follow those of the same kind before it. Pieces
/// have at most some 1 MiB, and may begin and end within an element.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Part {
    /// Of the loss: `f64` for an input of `f64`, else `f32`.
    Loss(Bytes),
    /// Of the log-sum-exps, of the loss's type.
    LogSumExp(Bytes),
    /// Of the gradient of the class weights.
    GradWeight(Bytes),
    /// Of the gradient of a probability target.
    GradTarget(Bytes),
    /// Of the gradient of the input.
    Grad(Bytes),
    /// Counts and exact sums; the last part.
    Summary(Summary),
}

type Call<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

/// The results of [`Client::evaluate_stream`](crate::Client::evaluate_stream) as they come: a
/// [`Stream`]. Dropping it cancels the call.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Parts<'a> {
    call: Option<Call<'a>>,
    parts: mpsc::Receiver<Part>,
    error: Option<Error>,
}

impl<'a> Parts<'a> {
    pub(crate) fn new(
        connection: Connection,
        body: Body<'a>,
        source: impl Stream<Item = Bytes> + Send + 'a,
        deadline: Deadline,
    ) -> Self {
        let (sender, parts) = mpsc::channel(WAITING);
        let call = async move {
            let call = run(&connection, &body, source, sender, deadline);
            connection.watched(deadline.run(call).await)
        };
        Self { call: Some(Box::pin(call)), parts, error: None }
    }

    /// The next part, or `None` once the call has ended with OK.
    ///
    /// # Errors
    /// As [`Client::evaluate`](crate::Client::evaluate). Parts that came before the error are void.
    pub async fn next(&mut self) -> Option<Result<Part, Error>> {
        tokio_stream::StreamExt::next(self).await
    }
}

impl Stream for Parts<'_> {
    type Item = Result<Part, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(call) = &mut self.call {
            if let Poll::Ready(ended) = call.as_mut().poll(context) {
                self.error = ended.err();
                self.call = None; // Its end of the channel goes with it.
            }
        }
        match self.parts.poll_recv(context) {
            Poll::Ready(Some(part)) => Poll::Ready(Some(Ok(part))),
            Poll::Ready(None) => Poll::Ready(self.error.take().map(Err)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("ended", &self.call.is_none()).finish_non_exhaustive()
    }
}

async fn run(
    connection: &Connection,
    body: &Body<'_>,
    source: impl Stream<Item = Bytes> + Send,
    parts: mpsc::Sender<Part>,
    deadline: Deadline,
) -> Result<(), Error> {
    let total = body.check_announced()?;
    let mut size = body.chunk_bytes;
    if size > ALWAYS_FITS {
        size = size.min(connection.most_data(deadline).await?);
    }
    let mut outputs = Outputs::new(body);
    let to_receive = outputs.as_ref().map_or(0, Outputs::size);
    let meter = Meter::new(body, body.len().saturating_add(total), to_receive);
    let (sender, receiver) = mpsc::channel(WAITING);
    // Owns the sender: the client has half-closed when it ends.
    let write = async {
        let out = Out { sender, meter: &meter };
        // An error is the end of the call; the reader knows why.
        let _ = send(out, Chunks::new(body, size), source, total).await;
    };
    let read = async {
        let mut replies = connection.evaluate_stream(receiver, deadline).await?;
        while let Some(reply) =
            replies.message().await.map_err(|status| connection.error(status))?
        {
            let outputs = outputs.as_mut().map_err(|error| error.clone())?;
            outputs.count(&reply)?;
            meter.received(outputs.filled());
            for part in split(reply) {
                // The receiver lives as long as this.
                let _ = parts.send(part).await;
            }
        }
        Ok::<(), Error>(())
    };
    pump(read, write).await?;
    outputs?.check_counts()
}

/// The sending side of a call.
struct Out<'m, 'p, 'a> {
    sender: mpsc::Sender<EvaluateStreamRequest>,
    meter: &'m Meter<'p, 'a>,
}

/// The call has ended before everything was sent.
struct Ended;

impl Out<'_, '_, '_> {
    async fn send(&self, message: EvaluateStreamRequest) -> Result<(), Ended> {
        let bytes = self.meter.bytes_of(&message);
        self.sender.send(message).await.map_err(|_| Ended)?;
        self.meter.sent(bytes);
        Ok(())
    }
}

/// Sends all that comes before the input, and then the input with its companions.
async fn send(
    out: Out<'_, '_, '_>,
    mut chunks: Chunks<'_, '_>,
    source: impl Stream<Item = Bytes>,
    total: usize,
) -> Result<(), Ended> {
    while !chunks.is_at_input() {
        let Some(message) = chunks.next() else { break };
        out.send(message).await?;
    }
    if total == 0 {
        // Its companions go all the same.
        out.send(chunks.with_companions(Bytes::new(), 0, 0)).await?;
    }
    let (mut source, mut begin, step) = (pin!(source), 0usize, chunks.step(total));
    while let Some(mut piece) = source.next().await {
        while !piece.is_empty() {
            let input = piece.split_to(piece.len().min(step));
            let end = begin.saturating_add(input.len());
            out.send(chunks.with_companions(input, begin, total)).await?;
            begin = end;
        }
    }
    Ok(())
}

fn split(reply: EvaluateStreamResponse) -> impl Iterator<Item = Part> {
    let some = |bytes: Bytes, part: fn(Bytes) -> Part| (!bytes.is_empty()).then(|| part(bytes));
    let pieces = [
        some(reply.loss, Part::Loss),
        some(reply.log_sum_exp, Part::LogSumExp),
        some(reply.grad_weight, Part::GradWeight),
        some(reply.grad_target, Part::GradTarget),
        some(reply.grad_input, Part::Grad),
        reply.summary.map(|summary| Part::Summary(summary.into())),
    ];
    pieces.into_iter().flatten()
}
