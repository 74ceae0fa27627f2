//! Bad input: errors that name the field.

use lossd_client::{Client, Code, CrossEntropy, Error, NllLoss, Problem, TensorRef, Transport};

use crate::calls::{LABELS, LOGITS};
use crate::server::Server;

async fn refused<K>(
    client: &Client,
    problem: Problem<'_, f32, K>,
    field: &str,
    reason: &str,
) -> Error {
    let one = client.evaluate(problem.clone().transport(Transport::Unary)).await.unwrap_err();
    let stream = client.evaluate(problem.clone().transport(Transport::Stream)).await.unwrap_err();
    let many = client.evaluate_many([problem]).await.remove(0).unwrap_err();
    for error in [&one, &stream, &many] {
        assert_eq!((error.field(), error.reason()), (field, reason), "{error}");
        assert!(error.message().starts_with(field), "{error}");
    }
    one
}

#[tokio::test]
async fn the_server_names_the_argument() {
    let server = Server::start();
    let client = server.client().await;
    let with = |labels| CrossEntropy::new(&LOGITS, labels);
    let fine = || with(&LABELS);

    let error = refused(&client, with(&[2, 9]), "target[1]", "LABEL_OUT_OF_RANGE").await;
    assert!(matches!(error, Error::Invalid(_)) && error.code() == Code::InvalidArgument);
    assert_eq!(error.metadata()["value"], "9");
    assert_eq!(error.status().unwrap().code(), tonic::Code::InvalidArgument);
    assert!(std::error::Error::source(&error).is_some());

    let smoothing = "label_smoothing";
    refused(&client, fine().label_smoothing(1.5), smoothing, "LABEL_SMOOTHING_RANGE").await;
    refused(&client, fine().class_axis(7), "class_axis", "CLASS_AXIS_RANGE").await;
    refused(&client, fine().normalizer(0.0), "normalizer", "NORMALIZER_RANGE").await;
    refused(&client, fine().grad_target(), "grad_target", "GRAD_TARGET_OF_CLASS_INDEX").await;
    refused(&client, fine().grad_weight(), "grad_weight", "GRAD_WEIGHT_WITHOUT_WEIGHT").await;
    refused(&client, fine().grad_output(1.0f32), "grad_output", "GRAD_OUTPUT_UNUSED").await;
    let weight = fine().weight(&[1.0f64, 1.0, 1.0]);
    refused(&client, weight, "weight.dtype", "DTYPE_MISMATCH").await;
    refused(&client, fine().weight(&[1.0f32]), "weight.shape", "SHAPE_MISMATCH").await;
    let three = NllLoss::new(&LOGITS, &[0i8, 1, 2]);
    refused(&client, three, "target.shape", "SHAPE_MISMATCH").await;
    let weight = NllLoss::new(&LOGITS, &LABELS).weight(&[1.0f32]);
    refused(&client, weight, "weight.shape", "SHAPE_MISMATCH").await;
    refused(&client, NllLoss::new(&LOGITS, &LOGITS), "target.dtype", "DTYPE_MISMATCH").await;
    let scalar = CrossEntropy::new(1.0f32, 0i32);
    refused(&client, scalar, "input.shape", "RANK_MISMATCH").await;
    let empty = CrossEntropy::new(TensorRef::new(&[0f32; 0], [2, 0]), &LABELS);
    refused(&client, empty.log_sum_exp(), "input.shape", "CLASSES_EMPTY").await;
}

#[tokio::test]
async fn lengths_are_held_to_shapes_before_anything_is_sent() {
    let client = Client::builder("127.0.0.1:1").connect_lazy().unwrap();
    let x = [0.0f32; 5];
    let labels = [0u8; 2];
    let short = || CrossEntropy::new(TensorRef::new(&x, [2, 3]), &labels);
    let error = refused(&client, short(), "input", "LENGTH_MISMATCH").await;
    assert_eq!(
        error.to_string(),
        "INVALID_ARGUMENT: input: expected 6 elements for shape [2, 3] of \
        float32, got 5 [LENGTH_MISMATCH]"
    );
    assert!(error.status().is_none());
    let target = CrossEntropy::new(&LOGITS, TensorRef::new(&labels, [3]));
    refused(&client, target, "target", "LENGTH_MISMATCH").await;
    let weight = CrossEntropy::new(&LOGITS, &LABELS).weight(TensorRef::new(&x, [3]));
    refused(&client, weight, "weight", "LENGTH_MISMATCH").await;
    let gradient = CrossEntropy::new(&LOGITS, &LABELS).grad_output(TensorRef::new(&x, []));
    refused(&client, gradient, "grad_output", "LENGTH_MISMATCH").await;
    let torn = TensorRef::<f32>::from_bytes(vec![0u8; 13], [1, 3]);
    let error = refused(&client, CrossEntropy::new(torn, &[0u8]), "input", "LENGTH_MISMATCH").await;
    assert!(error.message().contains("expected 12 bytes"), "{error}");
    let huge = TensorRef::new(&x, [usize::MAX, 2]);
    refused(&client, CrossEntropy::new(huge, &labels), "input.shape", "SHAPE_OVERFLOW").await;
    let announced = CrossEntropy::new(TensorRef::<f32>::announced([2, 3]), &labels);
    refused(&client, announced, "input", "").await;
}

#[tokio::test]
async fn bytes_may_lie_anywhere() {
    let server = Server::start();
    let client = server.client().await;
    let bytes: Vec<u8> = LOGITS.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
    let file = bytes::Bytes::from([&[0u8][..], &bytes].concat());
    let odd = TensorRef::<f32>::from_bytes(file.slice(1..), [2, 3]);
    let odd = client.evaluate(CrossEntropy::new(odd, &LABELS)).await.unwrap();
    let even = client.evaluate(CrossEntropy::new(&LOGITS, &LABELS)).await.unwrap();
    assert_eq!(odd, even);
}

#[tokio::test]
async fn tokens_and_addresses_are_checked() {
    let field =
        |builder: lossd_client::Builder| builder.connect_lazy().unwrap_err().field().to_owned();
    assert_eq!(field(Client::builder("nowhere")), "address");
    assert_eq!(field(Client::builder("127.0.0.1:1").token("secret")), "token");
    let error = Client::builder("unix:/x").token("se cret\n").connect_lazy().unwrap_err();
    assert_eq!(error.field(), "token");
    assert!(!error.to_string().contains("cret"), "a token is not said: {error}");
}
