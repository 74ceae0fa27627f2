//! Answers that do not fit the question are refused, whoever gave them.

use lossd_client::proto::*;
use lossd_client::{Client, Code, CrossEntropy, Error, Transport};

use crate::calls::{LABELS, LOGITS};
use crate::false_server::Fake;

pub(crate) fn summary() -> Option<Summary> {
    let dtype = DataType::Float32.into();
    Some(Summary { positions: 2, dtype, ..Default::default() })
}

fn tensor(shape: &[i64], bytes: usize) -> Option<Tensor> {
    let data = Some(tensor::Data::Raw(vec![0; bytes].into()));
    Some(Tensor { dtype: DataType::Float32.into(), shape: shape.to_vec(), data })
}

/// The right answer for a loss with gradient.
pub(crate) fn right() -> EvaluateResponse {
    EvaluateResponse {
        loss: tensor(&[], 4),
        grad_input: tensor(&[2, 3], 24),
        summary: summary(),
        ..Default::default()
    }
}

/// Turns the right answer into a wrong one.
type Spoil = fn(&mut EvaluateResponse);

fn problem() -> CrossEntropy<'static, f32> {
    CrossEntropy::new(&LOGITS, &LABELS).grad()
}

fn assert_unexpected(error: &Error, word: &str) {
    assert!(matches!(error, Error::UnexpectedReply(_)), "{error}");
    assert!(error.message().contains(word) && error.code() == Code::Internal, "{word}: {error}");
}

#[tokio::test]
async fn of_one_message() {
    let good = Fake { evaluate: Box::new(|_, _| Ok(right())), ..Fake::default() }.serve();
    assert_eq!(good.evaluate(problem()).await.unwrap().loss.item(), Some(0.0));
    let wrong: [(&str, Spoil); 9] = [
        ("loss is missing", |it| it.loss = None),
        ("loss is Float32 of shape [1]", |it| it.loss = tensor(&[1], 4)),
        ("grad_input is missing", |it| it.grad_input = None),
        ("grad_input is Float32 of shape [3, 2]", |it| it.grad_input = tensor(&[3, 2], 24)),
        ("grad_input is cut short: 23 bytes", |it| it.grad_input = tensor(&[2, 3], 23)),
        ("grad_input has at least 25", |it| it.grad_input = tensor(&[2, 3], 25)),
        ("log_sum_exp was not asked for", |it| it.log_sum_exp = tensor(&[2], 8)),
        ("summary is missing", |it| it.summary = None),
        ("summary is of another problem", |it| it.summary.as_mut().unwrap().positions = 3),
    ];
    for (word, spoil) in wrong {
        let answer = move |_, _| {
            let mut reply = right();
            spoil(&mut reply);
            Ok(reply)
        };
        let client = Fake { evaluate: Box::new(answer), ..Fake::default() }.serve();
        assert_unexpected(&client.evaluate(problem()).await.unwrap_err(), word);
    }
}

#[tokio::test]
async fn of_a_stream() {
    let piece = |loss: usize, grad: usize, summary| EvaluateStreamResponse {
        loss: vec![0; loss].into(),
        grad_input: vec![0; grad].into(),
        summary,
        ..Default::default()
    };
    let serve = |replies: Vec<EvaluateStreamResponse>| {
        let answer = move |(), _| Ok(replies.iter().cloned().map(Ok).collect());
        Fake { stream: Box::new(answer), ..Fake::default() }.serve()
    };
    let call = async |client: Client| client.evaluate(problem().transport(Transport::Stream)).await;
    call(serve(vec![piece(0, 5, None), piece(0, 19, None), piece(4, 0, summary())])).await.unwrap();
    let wrong = [
        ("summary is missing", vec![piece(4, 24, None)]),
        ("summary is missing", vec![]),
        ("something follows", vec![piece(4, 24, summary()), piece(0, 0, None)]),
        ("grad_input is cut short: 23 bytes", vec![piece(4, 23, summary())]),
        ("grad_input has at least 25", vec![piece(4, 25, summary())]),
        ("loss is cut short", vec![piece(3, 24, summary())]),
    ];
    for (word, replies) in wrong {
        assert_unexpected(&call(serve(replies)).await.unwrap_err(), word);
    }
    let mut other = piece(4, 24, summary());
    other.grad_target = vec![0].into();
    assert_unexpected(&call(serve(vec![other])).await.unwrap_err(), "grad_target was not asked");
}

#[tokio::test]
async fn of_evaluate_many() {
    use evaluate_many_response::Result as Answer;
    let answer = |id| EvaluateManyResponse { id, result: Some(Answer::Response(right())) };
    let serve = |replies: Vec<EvaluateManyResponse>| {
        let answer = move |(), _| Ok(replies.iter().cloned().map(Ok).collect());
        Fake { many: Box::new(answer), ..Fake::default() }.serve()
    };
    let call = async |client: Client| client.evaluate_many([problem(), problem()]).await;
    let got = call(serve(vec![answer(1), answer(0)])).await;
    assert!(got.iter().all(Result::is_ok));
    for (word, second) in [("id 7 is of no", answer(7)), ("id 0 is of no", answer(0))] {
        let got = call(serve(vec![answer(0), second])).await;
        assert!(got[0].is_ok());
        assert_unexpected(got[1].as_ref().unwrap_err(), word);
    }
    let got = call(serve(vec![answer(0)])).await;
    assert_unexpected(got[1].as_ref().unwrap_err(), "no answer");
    let got = call(serve(vec![EvaluateManyResponse { id: 0, result: None }, answer(1)])).await;
    assert_unexpected(got[0].as_ref().unwrap_err(), "neither results nor an error");
    assert!(got[1].is_ok());
}

#[tokio::test]
async fn of_combine() {
    let serve = |reply: CombineResponse| {
        Fake { combine: Box::new(move |(), _| Ok(reply.clone())), ..Fake::default() }.serve()
    };
    let none = CombineResponse::default();
    assert_unexpected(&serve(none).combine(&[]).await.unwrap_err(), "summary is missing");
    let lossless = CombineResponse { summary: summary(), loss: None };
    assert_unexpected(&serve(lossless).combine(&[]).await.unwrap_err(), "loss is missing");
    let two = Some(tensor::Data::FloatValues(FloatValues { values: vec![1.0, 2.0] }));
    let loss = Some(Tensor { data: two, ..Default::default() });
    let double = CombineResponse { summary: summary(), loss };
    assert_unexpected(&serve(double).combine(&[]).await.unwrap_err(), "loss has 2 values");
}
