//! Input from a stream, results to a stream.

use bytes::Bytes;
use lossd_client::{CrossEntropy, Error, Part, Parts, Reduction, TensorRef};

use crate::calls::large;
use crate::server::Server;

/// The bytes of some numbers, cut at odd places.
fn cut(values: &[f32], size: usize) -> impl tokio_stream::Stream<Item = Bytes> + Send {
    let bytes = Bytes::copy_from_slice(bytemuck::cast_slice(values));
    let cuts: Vec<_> = (0..bytes.len())
        .step_by(size)
        .map(|at| bytes.slice(at..bytes.len().min(at + size)))
        .collect();
    tokio_stream::iter(cuts)
}

/// The gradient's bytes, the loss's, and the number of summaries.
async fn collect(mut parts: Parts<'_>) -> Result<(Vec<u8>, Vec<u8>, usize), Error> {
    let (mut grad, mut loss, mut summaries) = (vec![], vec![], 0);
    while let Some(part) = parts.next().await {
        match part? {
            Part::Grad(bytes) => grad.extend_from_slice(&bytes),
            Part::Loss(bytes) => loss.extend_from_slice(&bytes),
            Part::Summary(_) => summaries += 1,
            other => panic!("{other:?} was not asked for"),
        }
    }
    Ok((grad, loss, summaries))
}

#[tokio::test]
async fn have_the_bits_of_tensors_in_memory() {
    let server = Server::start();
    let client = server.client().await;
    let (x, y) = large(500, 1000);
    let soft: Vec<f32> = x.iter().map(|_| 0.001).collect();
    let announced = || TensorRef::<f32>::announced([500, 1000]);
    let whole = || TensorRef::new(&x, [500, 1000]);
    let hard = client.evaluate(CrossEntropy::new(whole(), &y).grad()).await.unwrap();
    let problem = CrossEntropy::new(announced(), &y).grad();
    let (grad, loss, summaries) =
        collect(client.evaluate_stream(problem, cut(&x, 70_001))).await.unwrap();
    assert_eq!(grad, bytemuck::cast_slice::<f32, u8>(hard.grad.unwrap().as_slice()));
    assert_eq!(loss, hard.loss.item().unwrap().to_le_bytes());
    assert_eq!(summaries, 1);
    // Companions go along in step.
    let target = || TensorRef::new(&soft, [500, 1000]);
    let ones = [1.0f32; 500];
    let none = Reduction::None;
    let options = CrossEntropy::new(whole(), target()).grad().grad_output(&ones).reduction(none);
    let soft_whole = client.evaluate(options).await.unwrap();
    let options =
        CrossEntropy::new(announced(), target()).grad().grad_output(&ones).reduction(none);
    let parts = client.evaluate_stream(options, cut(&x, 3_000_000));
    let (grad, loss, _) = collect(parts).await.unwrap();
    assert_eq!(grad, bytemuck::cast_slice::<f32, u8>(soft_whole.grad.unwrap().as_slice()));
    assert_eq!(loss, bytemuck::cast_slice::<f32, u8>(soft_whole.loss.as_slice()));
}

#[tokio::test]
async fn sources_of_a_wrong_length_are_refused() {
    let server = Server::start();
    let client = server.client().await;
    let (x, y) = large(4, 10);
    let problem = || CrossEntropy::new(TensorRef::<f32>::announced([4, 10]), &y);
    let short = collect(client.evaluate_stream(problem(), cut(&x[..39], 16))).await.unwrap_err();
    assert_eq!(short.reason(), "LENGTH_MISMATCH", "{short}");
    let longer = [&x[..], &[1.0]].concat();
    let long = collect(client.evaluate_stream(problem(), cut(&longer, 16))).await.unwrap_err();
    assert_eq!(long.reason(), "LENGTH_EXCEEDED", "{long}");
    let present = CrossEntropy::new(TensorRef::new(&x, [4, 10]), &y);
    let error = collect(client.evaluate_stream(present, cut(&x, 16))).await.unwrap_err();
    assert_eq!(error.field(), "input");
}

#[tokio::test]
async fn an_input_without_elements_ends() {
    let server = Server::start();
    let client = server.client().await;
    let none = TensorRef::<f32>::announced([0, 3]);
    let soft = CrossEntropy::new(none, TensorRef::new(&[0f32; 0], [0, 3]));
    let (_, loss, summaries) = collect(client.evaluate_stream(soft, cut(&[], 16))).await.unwrap();
    assert_eq!((loss.len(), summaries), (4, 1));
}
