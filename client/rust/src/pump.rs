//! Reading while writing.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// Runs both on this task until the reader ends. Neither waits for the other: a call's headers may come
/// after its first message only.
pub(crate) async fn pump<R>(read: impl Future<Output = R>, write: impl Future<Output = ()>) -> R {
    let (mut read, mut write) = (pin!(read), pin!(write));
    let mut writing = true;
    poll_fn(|context| {
        if writing {
            writing = write.as_mut().poll(context) == Poll::Pending;
        }
        read.as_mut().poll(context)
    })
    .await
}
