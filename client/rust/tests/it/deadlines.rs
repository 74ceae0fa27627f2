//! Deadlines and cancellation.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lossd_client::proto::{EvaluateManyResponse, EvaluateStreamResponse, evaluate_many_response};
use lossd_client::{Client, CrossEntropy, Error, TensorRef, Transport};

use crate::calls::{LABELS, LOGITS};
use crate::false_server::Fake;
use crate::replies::right;

/// A server that gives the first answer of a stream, and then nothing more.
fn silent() -> (Client, Arc<AtomicUsize>) {
    let some = EvaluateStreamResponse { grad_input: vec![0; 12].into(), ..Default::default() };
    let answer = evaluate_many_response::Result::Response(right());
    let answer = EvaluateManyResponse { id: 1, result: Some(answer) };
    let fake = Fake {
        pending: true,
        stream: Box::new(move |(), _| Ok(vec![Ok(some.clone())])),
        many: Box::new(move |(), _| Ok(vec![Ok(answer.clone())])),
        ..Fake::default()
    };
    let gone = fake.gone.clone();
    (fake.serve(), gone)
}

fn problem() -> CrossEntropy<'static, f32> {
    CrossEntropy::new(&LOGITS, &LABELS).grad()
}

async fn all_gone(gone: &AtomicUsize, count: usize) {
    let begin = Instant::now();
    while gone.load(Ordering::SeqCst) < count {
        assert!(begin.elapsed() < Duration::from_secs(20), "the server still holds the call");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn calls_end_at_their_timeout() {
    let (client, gone) = silent();
    let client = client.with_timeout(Duration::from_millis(300));
    let begin = Instant::now();
    for transport in [Transport::Unary, Transport::Stream] {
        let error = client.evaluate(problem().transport(transport)).await.unwrap_err();
        assert!(matches!(error, Error::DeadlineExceeded(_)), "{error}");
    }
    let many = client.evaluate_many([problem(), problem()]).await;
    assert!(matches!(many[0], Err(Error::DeadlineExceeded(_))), "{many:?}");
    assert!(many[1].is_ok(), "an answer that came before the deadline stays");
    let announced = CrossEntropy::new(TensorRef::<f32>::announced([2, 3]), &LABELS).grad();
    let mut parts = client.evaluate_stream(announced, tokio_stream::pending::<Bytes>());
    assert!(parts.next().await.unwrap().is_ok());
    assert!(matches!(parts.next().await, Some(Err(Error::DeadlineExceeded(_)))));
    assert!(parts.next().await.is_none());
    assert!(begin.elapsed() < Duration::from_secs(10));
    all_gone(&gone, 3).await;
}

#[tokio::test]
async fn dropping_a_call_cancels_it() {
    let (client, gone) = silent();
    let received = Arc::new(tokio::sync::Notify::new());
    let tell = received.clone();
    let problem = problem().transport(Transport::Stream).progress(move |progress| {
        if progress.received > 0 {
            tell.notify_one();
        }
    });
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.evaluate(problem).await }
    });
    let received = tokio::time::timeout(Duration::from_secs(20), received.notified());
    received.await.expect("a reply that is reported");
    call.abort();
    all_gone(&gone, 1).await;
    let announced = CrossEntropy::new(TensorRef::<f32>::announced([2, 3]), &LABELS).grad();
    let mut parts = client.evaluate_stream(announced, tokio_stream::pending::<Bytes>());
    parts.next().await.unwrap().unwrap();
    drop(parts);
    all_gone(&gone, 2).await;
}

#[tokio::test]
async fn a_timeout_beyond_the_clock_is_none() {
    let fake = Fake { evaluate: Box::new(|_, _| Ok(right())), ..Fake::default() };
    fake.serve().with_timeout(Duration::MAX).evaluate(problem()).await.unwrap();
}
