//! Calls of every kind against a real server.

use std::sync::Mutex;

use lossd_client::{
    Client, CrossEntropy, EmptyMean, NllLoss, Progress, Reduction, Summary, TensorRef, Transport,
};

use crate::server::Server;

pub(crate) const LOGITS: [[f32; 3]; 2] = [[1.0, 2.0, 3.0], [3.0, 1.0, 0.0]];
pub(crate) const LABELS: [i64; 2] = [2, 0];

/// Logits that are all different, and labels for them.
pub(crate) fn large(rows: usize, classes: usize) -> (Vec<f32>, Vec<u32>) {
    let logit = |at: usize| (at * 7919 % 1009) as f32 / 97.0 - 5.0;
    let label = |row: usize| (row * 31 % classes) as u32;
    ((0..rows * classes).map(logit).collect(), (0..rows).map(label).collect())
}

#[tokio::test]
async fn everything_that_can_be_asked_for() {
    let server = Server::start();
    let client = Client::connect(server.unix()).await.unwrap();
    let probabilities = [[0.25f32, 0.25, 0.5], [0.0, 1.0, 0.0]];
    let problem = CrossEntropy::new(&LOGITS, &probabilities)
        .weight(&[1.0f32, 2.0, 0.5])
        .reduction(Reduction::None)
        .label_smoothing(0.1)
        .grad()
        .grad_target()
        .grad_weight()
        .grad_output(&[1.0f32, 0.5])
        .log_sum_exp()
        .top_k(2);
    let got = client.evaluate(problem).await.unwrap();
    assert_eq!(got.loss.shape(), [2]);
    assert_eq!(got.grad.unwrap().shape(), [2, 3]);
    assert_eq!(got.grad_target.as_ref().unwrap().shape(), [2, 3]);
    assert_eq!(got.grad_target.unwrap().as_slice::<f32>().unwrap().len(), 6);
    assert!(got.grad_weight.unwrap().into_tensor::<f64>().is_err(), "it is of float32");
    let expected: f32 = LOGITS[0].iter().map(|x| x.exp()).sum::<f32>().ln();
    assert!((got.log_sum_exp.unwrap().as_slice()[0] - expected).abs() < 1e-6);
    // The second row's class has the second greatest logit.
    assert_eq!((got.summary.positions(), got.summary.correct()), (2, 1));
    assert_eq!((got.summary.correct_top_k(), got.summary.ignored()), (2, 0));
    assert_eq!(got.summary.normalizer(), 2.0);
}

#[tokio::test]
async fn options_reach_the_server() {
    let server = Server::start();
    let client = server.client().await;
    let all_ignored = || CrossEntropy::new(&LOGITS, &[1usize, 1]).ignore_index(1);
    let nan = client.evaluate(all_ignored()).await.unwrap();
    assert!(nan.loss.item().unwrap().is_nan());
    assert_eq!(nan.summary.ignored(), 2);
    let zero = client.evaluate(all_ignored().empty_mean(EmptyMean::Zero)).await.unwrap();
    assert_eq!(zero.loss.item(), Some(0.0));
    let log_probabilities = [[-1.0f64, -2.0], [-3.0, -4.0]];
    let last = NllLoss::new(&log_probabilities, &[1u8, 0]).class_axis(-1).normalizer(4.0);
    assert_eq!(client.evaluate(last).await.unwrap().loss.item(), Some(5.0 / 4.0));
    let first = NllLoss::new(&log_probabilities, &[1u8, 0]).class_axis(0).reduction(Reduction::Sum);
    assert_eq!(client.evaluate(first).await.unwrap().loss.item(), Some(5.0));
    let single = CrossEntropy::new(&[0.0f32, 0.0], 1u16).reduction(Reduction::Sum);
    let loss = client.evaluate(single).await.unwrap().loss;
    assert_eq!((loss.shape(), loss.item()), (&[][..], Some(2f32.ln())));
}

#[tokio::test]
async fn tensors_without_elements() {
    let server = Server::start();
    let client = server.client().await;
    for transport in [Transport::Unary, Transport::Stream] {
        let none: [f32; 0] = [];
        let problem = CrossEntropy::new(TensorRef::new(&none, [0, 3]), &[0i64; 0]).grad();
        let got = client.evaluate(problem.transport(transport)).await.unwrap();
        assert!(got.loss.item().unwrap().is_nan());
        assert_eq!(got.grad.unwrap().shape(), [0, 3]);
        let soft = CrossEntropy::new(TensorRef::new(&none, [0, 3]), TensorRef::new(&none, [0, 3]));
        let soft = soft.grad().grad_target().reduction(Reduction::None).transport(transport);
        assert_eq!(client.evaluate(soft).await.unwrap().loss.shape(), [0]);
    }
}

#[tokio::test]
async fn a_large_problem_has_the_bits_of_a_small_one_whichever_way_it_goes() {
    let server = Server::start();
    let client = server.client().await;
    let (x, y) = large(64, 4000);
    let problem = || CrossEntropy::new(TensorRef::new(&x, [64, 4000]), &y).grad();
    let one = client.evaluate(problem().transport(Transport::Unary)).await.unwrap();
    for size in [999, 4096, 1 << 20] {
        let problem = problem().transport(Transport::Stream).chunk_bytes(size);
        let other = client.evaluate(problem).await.unwrap();
        assert!(one == other, "chunks of {size} bytes");
    }
}

#[tokio::test]
async fn a_stream_tells_how_far_it_is() {
    let server = Server::start();
    let client = server.client().await;
    let (x, y) = large(600, 1000);
    let seen = Mutex::new(Vec::<Progress>::new());
    let problem = CrossEntropy::new(TensorRef::new(&x, [600, 1000]), &y)
        .weight(vec![1.0f32; 1000])
        .grad()
        .progress(|progress| seen.lock().unwrap().push(progress));
    client.evaluate(problem).await.unwrap();
    let seen = seen.into_inner().unwrap();
    let bytes = (600 * 1000 + 600 + 1000) * 4;
    assert!(seen.len() > 5, "more than one message each way: {seen:?}");
    assert!(seen.is_sorted_by_key(|it| (it.sent, it.received)));
    let last = seen.last().unwrap();
    assert_eq!((last.sent, last.to_send), (bytes, bytes));
    assert_eq!((last.received, last.to_receive), (600 * 1000 * 4 + 4, 600 * 1000 * 4 + 4));
    assert!(seen.iter().any(|it| it.received == 0 && it.sent < it.to_send));
}

#[tokio::test]
async fn messages_are_cut_to_what_the_server_takes() {
    let server = Server::with(&["--max-message-bytes", "64KiB"]);
    let client = server.client().await;
    let limits = client.info().await.unwrap().limits;
    assert_eq!(limits.max_message_bytes, 64 << 10);
    // Above that limit, and below 1 MiB; the weight alone is above it too.
    let (x, y) = large(2, 40_000);
    let problem = || {
        CrossEntropy::new(TensorRef::new(&x, [2, 40_000]), &y)
            .weight(vec![0.5f32; 40_000])
            .grad_weight()
    };
    let got = client.evaluate(problem()).await.unwrap();
    assert_eq!(got.grad_weight.unwrap().shape(), [40_000]);
    let error = client.evaluate(problem().transport(Transport::Unary)).await.unwrap_err();
    assert_eq!(error.code(), lossd_client::Code::ResourceExhausted);
    assert!(error.message().contains("Transport::Stream"), "{error}");
}

#[tokio::test]
async fn shards_combine_to_the_bits_of_the_whole() {
    let server = Server::start();
    let client = server.client().await;
    let (x, y) = large(10, 17);
    let part = |from: usize, to: usize| {
        CrossEntropy::new(TensorRef::new(&x[from * 17..to * 17], [to - from, 17]), &y[from..to])
    };
    let whole = client.evaluate(part(0, 10)).await.unwrap();
    let mut shards = Vec::new();
    for (from, to) in [(0, 3), (3, 4), (4, 10)] {
        let summary = client.evaluate(part(from, to)).await.unwrap().summary;
        shards.push(Summary::from_bytes(&summary.to_bytes()).unwrap());
    }
    let combined = client.combine(&shards).await.unwrap();
    assert_eq!(combined.loss, whole.loss.item().map(f64::from));
    assert_eq!(combined.summary, whole.summary);
    let mean = combined.summary.loss_sum() / combined.summary.normalizer();
    assert_eq!(Some(mean as f32), whole.loss.item());
    let error = client.combine(&[]).await.unwrap_err();
    assert_eq!((error.field(), error.reason()), ("summaries", "FIELD_MISSING"));
    assert!(Summary::from_bytes(&[0xff]).is_err());
}

#[tokio::test]
async fn a_server_says_what_it_is() {
    let server = Server::start();
    let info = server.client().await.info().await.unwrap();
    assert_eq!(info.threads, 2);
    assert_eq!(info.version.split('.').count(), 3);
    assert_eq!(info.limits.max_message_bytes, 4 << 20);
}

#[tokio::test]
async fn the_stubs_are_reachable() {
    let server = Server::start();
    let client = server.client().await;
    let request = lossd_client::proto::GetServerInfoRequest {};
    let info = client.stub().get_server_info(request).await.unwrap().into_inner();
    assert_eq!(info.version, client.info().await.unwrap().version);
}

#[test]
fn calls_can_be_spawned_and_clients_shared() {
    fn send<T: Send>(_: T) {}
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Client>();
    let call = async |client: Client| {
        let problem = CrossEntropy::new(&LOGITS, &LABELS).progress(|_| ());
        client.evaluate(problem.clone()).await.ok();
        client.evaluate_many([problem]).await;
        client.combine(&[]).await.ok();
    };
    let spawnable = |client: Client| send(call(client));
    let _: &dyn Fn(Client) = &spawnable;
}
