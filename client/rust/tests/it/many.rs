//! EvaluateMany against a real server.

use lossd_client::{CrossEntropy, Error, Reduction, TensorRef};

use crate::calls::{LOGITS, large};
use crate::server::Server;

#[tokio::test]
async fn answers_come_in_the_problems_order() {
    let server = Server::start();
    let client = server.client().await;
    let (x, y) = large(1000, 10);
    let problem = |row: usize| {
        CrossEntropy::new(TensorRef::new(&x[row * 10..][..10], [1, 10]), &y[row..=row]).grad()
    };
    let whole = CrossEntropy::new(TensorRef::new(&x, [1000, 10]), &y).reduction(Reduction::None);
    let whole = client.evaluate(whole).await.unwrap();
    // More than a server holds at once.
    let many = client.evaluate_many((0..1000).map(problem)).await;
    assert_eq!(many.len(), 1000);
    for (got, expected) in many.into_iter().zip(whole.loss.as_slice()) {
        assert_eq!(got.unwrap().loss.item().as_ref(), Some(expected));
    }
    assert!(client.evaluate_many::<f32, lossd_client::kind::NllLoss>([]).await.is_empty());
}

#[tokio::test]
async fn each_problem_has_its_own_error() {
    let server = Server::with(&["--max-message-bytes", "64KiB"]);
    let client = server.client().await;
    let (x, y) = large(1, 30_000);
    let labels = [[2u32, 0], [2, 9], [0, 1]];
    let mut problems: Vec<_> = labels.iter().map(|it| CrossEntropy::new(&LOGITS, it)).collect();
    problems.push(CrossEntropy::new(TensorRef::new(&x, [1, 30_000]), &y));
    problems.push(CrossEntropy::new(TensorRef::new(&x, [7]), &y));
    let got = client.evaluate_many(problems).await;
    assert!(got[0].is_ok() && got[2].is_ok());
    assert_eq!(got[1].as_ref().unwrap_err().field(), "target[1]");
    let error = got[3].as_ref().unwrap_err();
    assert!(matches!(error, Error::Exhausted(_)) && error.reason() == "LIMIT_EXCEEDED", "{error}");
    assert_eq!(got[4].as_ref().unwrap_err().reason(), "LENGTH_MISMATCH");
}
