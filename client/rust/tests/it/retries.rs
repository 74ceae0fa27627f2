//! Calls that are made again, and calls that are not.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lossd_client::proto::*;
use lossd_client::{CrossEntropy, Error, Transport};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::calls::{LABELS, LOGITS};
use crate::false_server::Fake;
use crate::replies::{right, summary};

fn problem() -> CrossEntropy<'static, f32> {
    CrossEntropy::new(&LOGITS, &LABELS).grad()
}

fn busy(delay: Duration) -> Status {
    let mut details = ErrorDetails::new();
    details.set_retry_info(Some(delay)).set_error_info("MEMORY_BUSY", "lossd.v1", []);
    Status::with_error_details(Code::ResourceExhausted, "input: others hold too much", details)
}

fn pieces() -> Vec<Result<EvaluateStreamResponse, Status>> {
    let grad_input = vec![0; 24].into();
    let reply = EvaluateStreamResponse {
        loss: vec![0; 4].into(),
        grad_input,
        summary: summary(),
        ..Default::default()
    };
    vec![Ok(reply)]
}

#[tokio::test]
async fn a_message_is_sent_again() {
    let evaluate = |_, number| match number {
        0 | 1 => Err(Status::unavailable("going away")),
        2 => Err(busy(Duration::from_millis(1))),
        _ => Ok(right()),
    };
    let client = Fake { evaluate: Box::new(evaluate), ..Fake::default() }.serve();
    client.evaluate(problem()).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_breaks_is_sent_again() {
    let stream = |(), number| {
        Ok(match number {
            // Half of the results come, and then none.
            0 => vec![
                Ok(EvaluateStreamResponse { grad_input: vec![0; 12].into(), ..Default::default() }),
                Err(Status::unavailable("broken")),
            ],
            1 => vec![Err(busy(Duration::from_millis(1)))],
            _ => pieces(),
        })
    };
    let client = Fake { stream: Box::new(stream), ..Fake::default() }.serve();
    client.evaluate(problem().transport(Transport::Stream)).await.unwrap();
}

#[tokio::test]
async fn many_sends_those_again_that_have_no_answer() {
    use evaluate_many_response::Result as Answer;
    let good = |id| Ok(EvaluateManyResponse { id, result: Some(Answer::Response(right())) });
    let bad = |id, status: Status| {
        let code = status.code().into();
        let error = tonic_types::Status {
            code,
            message: status.message().into(),
            details: prost::Message::decode(status.details())
                .map(|it: tonic_types::Status| it.details)
                .unwrap_or_default(),
        };
        Ok(EvaluateManyResponse { id, result: Some(Answer::Error(error)) })
    };
    let many = move |(), number| {
        Ok(match number {
            0 => vec![
                good(1),
                bad(3, Status::invalid_argument("no")),
                Err(Status::unavailable("broken")),
            ],
            1 => vec![good(0), bad(2, busy(Duration::from_millis(1)))],
            // An id that has its answer would be refused here.
            _ => vec![good(2)],
        })
    };
    let client = Fake { many: Box::new(many), ..Fake::default() }.serve();
    let got = client.evaluate_many([problem(), problem(), problem(), problem()]).await;
    assert!(got[..3].iter().all(Result::is_ok), "{got:?}");
    assert!(matches!(got[3], Err(Error::Invalid(_))));
}

#[tokio::test]
async fn four_attempts_are_enough() {
    let fake = Fake {
        evaluate: Box::new(|_, _| Err(Status::unavailable("gone for good"))),
        ..Fake::default()
    };
    let calls = fake.calls.clone();
    let error = fake.serve().evaluate(problem()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)));
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn others_are_made_once() {
    for status in [Status::resource_exhausted("a limit"), Status::internal("a fault")] {
        let fake = Fake { evaluate: Box::new(move |_, _| Err(status.clone())), ..Fake::default() };
        let calls = fake.calls.clone();
        fake.serve().evaluate(problem()).await.unwrap_err();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_delay_beyond_the_timeout_is_told_at_once() {
    let fake =
        Fake { evaluate: Box::new(|_, _| Err(busy(Duration::from_secs(60)))), ..Fake::default() };
    let client = fake.serve().with_timeout(Duration::from_secs(20));
    let begin = Instant::now();
    let error = client.evaluate(problem()).await.unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
    assert_eq!((error.reason(), error.metadata().len()), ("MEMORY_BUSY", 0));
}

#[tokio::test]
async fn limits_are_asked_again_after_one_was_passed() {
    let fake = Fake {
        info: Box::new(|(), _| {
            let limits = Some(Limits { max_message_bytes: 4 << 20, ..Default::default() });
            Ok(GetServerInfoResponse { limits, ..Default::default() })
        }),
        evaluate: Box::new(|_, _| Err(Status::resource_exhausted("larger than max"))),
        ..Fake::default()
    };
    let calls = fake.calls.clone();
    let client = fake.serve();
    // Larger than every server takes, and smaller than what always goes as a stream.
    let x = vec![0f32; 50_000];
    for _ in 0..2 {
        let large = CrossEntropy::new(lossd_client::TensorRef::new(&x, [1, 50_000]), &[0u8]);
        client.evaluate(large).await.unwrap_err();
    }
    assert_eq!(calls.load(Ordering::SeqCst), 4, "info and evaluate, twice");
}
