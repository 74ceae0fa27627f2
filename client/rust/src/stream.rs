//! A problem as a stream.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::mpsc;

use crate::body::Body;
use crate::chunks::{ALWAYS_FITS, Chunks};
use crate::connection::Connection;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::options::Progress;
use crate::proto::EvaluateStreamRequest;
use crate::pump::pump;
use crate::reply::Outputs;
use crate::retry::Retry;

/// Messages that wait for the connection: enough that it never waits for one.
const WAITING: usize = 2;

/// Evaluates a problem by EvaluateStream; a stream that breaks is sent again.
pub(crate) async fn evaluate(
    connection: &Connection,
    body: &Body<'_>,
    deadline: Deadline,
) -> Result<Outputs, Error> {
    let mut size = body.chunk_bytes;
    if size.min(body.len()) > ALWAYS_FITS {
        size = size.min(connection.most_data(deadline).await?);
    }
    let mut retry = Retry::new(deadline);
    loop {
        match attempt(connection, body, size, deadline).await {
            Err(error) => retry.after(error).await?,
            outputs => return outputs,
        }
    }
}

async fn attempt(
    connection: &Connection,
    body: &Body<'_>,
    size: usize,
    deadline: Deadline,
) -> Result<Outputs, Error> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut outputs = Outputs::new(body);
    let to_receive = outputs.as_ref().map_or(0, Outputs::size);
    let meter = Meter::new(body, body.len(), to_receive);
    // Owns the sender: the client has half-closed when it ends.
    let write = async {
        let sender = sender;
        for message in Chunks::new(body, size) {
            let bytes = meter.bytes_of(&message);
            if sender.send(message).await.is_err() {
                return; // The call has ended; the reader knows why.
            }
            meter.sent(bytes);
        }
    };
    let read = async {
        let mut replies = connection.evaluate_stream(receiver, deadline).await?;
        while let Some(reply) =
            replies.message().await.map_err(|status| connection.error(status))?
        {
            // Held back till now: where the shape was at fault, the server says it better.
            let outputs = outputs.as_mut().map_err(|error| error.clone())?;
            outputs.take(&reply)?;
            meter.received(outputs.filled());
        }
        Ok::<(), Error>(())
    };
    pump(read, write).await?;
    outputs
}

/// Tells the caller how far the call is.
pub(crate) struct Meter<'p, 'a> {
    body: &'p Body<'a>,
    to_send: usize,
    to_receive: usize,
    sent: AtomicUsize,
    received: AtomicUsize,
}

impl<'p, 'a> Meter<'p, 'a> {
    pub(crate) fn new(body: &'p Body<'a>, to_send: usize, to_receive: usize) -> Self {
        Self { body, to_send, to_receive, sent: 0.into(), received: 0.into() }
    }

    /// Bytes of tensors in a message.
    pub(crate) fn bytes_of(&self, message: &EvaluateStreamRequest) -> usize {
        let weight = self.body.weight.as_ref().map_or(0, |weight| weight.data.len());
        let inside = message.header.is_some() && weight <= ALWAYS_FITS;
        let EvaluateStreamRequest { target, grad_output, weight: piece, input, .. } = message;
        let pieces = target.len() + grad_output.len() + piece.len() + input.len();
        pieces + if inside { weight } else { 0 }
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes, Relaxed);
        self.report();
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received.store(bytes, Relaxed);
        self.report();
    }

    fn report(&self) {
        if let Some(report) = &self.body.progress {
            report(Progress {
                sent: self.sent.load(Relaxed) as u64,
                to_send: self.to_send as u64,
                received: self.received.load(Relaxed) as u64,
                to_receive: self.to_receive as u64,
            });
        }
    }
}
