//! Many small problems over one stream.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::body::Body;
use crate::chunks::ALWAYS_FITS;
use crate::connection::Connection;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::proto::evaluate_many_response::Result as Answer;
use crate::proto::{EvaluateManyRequest, EvaluateManyResponse};
use crate::pump::pump;
use crate::reply::Outputs;
use crate::retry::Retry;
use crate::status;

/// Requests that wait for the connection, which sends those that are there together.
const WAITING: usize = 64;

type Slot = Option<Result<Outputs, Error>>;

/// Evaluates problems by EvaluateMany, in their order.
pub(crate) async fn evaluate(
    connection: &Connection,
    bodies: &[Body<'_>],
    timeout: Option<Duration>,
) -> Vec<Result<Outputs, Error>> {
    let deadline = Deadline::after(timeout);
    let mut slots: Vec<Slot> = bodies.iter().map(|body| body.check().err().map(Err)).collect();
    // Not in the future that the deadline drops: answers that came before stay.
    let call = rounds(connection, bodies, &mut slots, deadline);
    let ended = connection.watched(deadline.run(call).await);
    let failed = ended.err().unwrap_or_else(|| Error::unexpected("a problem has no answer"));
    slots.into_iter().map(|slot| slot.unwrap_or_else(|| Err(failed.clone()))).collect()
}

/// Opens streams until every problem has an answer that stays.
async fn rounds(
    connection: &Connection,
    bodies: &[Body<'_>],
    slots: &mut [Slot],
    deadline: Deadline,
) -> Result<(), Error> {
    refuse_large(connection, bodies, slots, deadline).await?;
    let mut retry = Retry::new(deadline);
    loop {
        let open: Vec<usize> = (0..slots.len()).filter(|&at| is_open(&slots[at])).collect();
        if open.is_empty() {
            return Ok(());
        }
        let ended = round(connection, bodies, &open, slots, deadline).await;
        // Of several errors that a wait may cure, one stands for all.
        let again =
            ended.err().or_else(|| slots.iter().find(|slot| is_open(slot)).and_then(reason));
        match again {
            None => return Ok(()),
            Some(error) => retry.after(error).await?,
        }
    }
}

/// A problem that has no answer, or one that a wait may cure.
fn is_open(slot: &Slot) -> bool {
    slot.as_ref().is_none_or(|result| result.as_ref().is_err_and(Error::is_transient))
}

fn reason(slot: &Slot) -> Option<Error> {
    slot.as_ref().and_then(|result| result.as_ref().err().cloned())
}

/// A message above the server's limit would end the stream for all.
async fn refuse_large(
    connection: &Connection,
    bodies: &[Body<'_>],
    slots: &mut [Slot],
    deadline: Deadline,
) -> Result<(), Error> {
    if bodies.iter().all(|body| body.len() <= ALWAYS_FITS) {
        return Ok(());
    }
    let most = connection.most_data(deadline).await?;
    for (body, slot) in bodies.iter().zip(slots) {
        if slot.is_none() && body.len() > most {
            let words = format!(
                "{} bytes with all that belongs to it, expected at most {most} in evaluate_many; \
                 evaluate takes any size",
                body.len()
            );
            *slot = Some(Err(Error::exhausted("input", "LIMIT_EXCEEDED", words)));
        }
    }
    Ok(())
}

/// One stream, with the problems at the indices `open`.
async fn round(
    connection: &Connection,
    bodies: &[Body<'_>],
    open: &[usize],
    slots: &mut [Slot],
    deadline: Deadline,
) -> Result<(), Error> {
    let (sender, receiver) = mpsc::channel(WAITING);
    // Owns the sender: the client has half-closed when it ends.
    let write = async {
        let sender = sender;
        for &at in open {
            let request = Some(bodies[at].request());
            if sender.send(EvaluateManyRequest { id: at as u64, request }).await.is_err() {
                return; // The call has ended; the reader knows why.
            }
        }
    };
    let read = async {
        let mut left = vec![false; slots.len()];
        open.iter().for_each(|&at| left[at] = true);
        let mut replies = connection.evaluate_many(receiver, deadline).await?;
        while let Some(reply) =
            replies.message().await.map_err(|status| connection.error(status))?
        {
            let at = usize::try_from(reply.id).ok().filter(|&at| left.get(at) == Some(&true));
            let at = at.ok_or_else(|| {
                Error::unexpected(format_args!("id {} is of no open problem", reply.id))
            })?;
            left[at] = false;
            slots[at] = Some(outputs(connection, &bodies[at], reply));
        }
        if left.contains(&true) {
            return Err(Error::unexpected("a problem has no answer"));
        }
        Ok(())
    };
    pump(read, write).await
}

fn outputs(
    connection: &Connection,
    body: &Body<'_>,
    reply: EvaluateManyResponse,
) -> Result<Outputs, Error> {
    match reply.result {
        Some(Answer::Response(response)) => {
            let mut outputs = Outputs::new(body)?;
            outputs.take_whole(response)?;
            Ok(outputs)
        }
        Some(Answer::Error(error)) => Err(status::from_answer(&error, &connection.address)),
        None => Err(Error::unexpected("an answer has neither results nor an error")),
    }
}
