//! The conformance vectors of all languages, by message, by stream and by EvaluateMany.
//!
//! LOSSD_RESULTS names the file for the hashes that are compared between languages.

use std::sync::Arc;

use half::{bf16, f16};
use lossd_client::{
    Client, CrossEntropy, Dtype, Element, Error, Evaluation, Float, FloatTensor, Problem,
    TensorRef, Transport,
};
use ring::digest::{Context, SHA256};
use serde_json::Value;

use crate::server::Server;
use crate::vector_problems::{cross_entropy, nll_loss, options};
use crate::vectors::{Number, flat, folder, is_nll, number, reduction, shape_of, text, vectors};

const WAYS: [&str; 3] = ["unary", "stream", "many"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_vector_by_every_way() {
    let server = Server::start();
    let (tcp, unix) = (server.client().await, Client::connect(server.unix()).await.unwrap());
    let mut counts = [0; 2];
    let mut runs = Vec::new();
    for case in vectors() {
        counts[usize::from(is_nll(&case))] += 1;
        let case = Arc::new(case);
        for way in WAYS {
            let client = if way == "unary" { &unix } else { &tcp };
            runs.push(tokio::spawn(line(client.clone(), case.clone(), way)));
        }
    }
    let mut results = String::new();
    for run in runs {
        results += &run.await.unwrap();
    }
    assert!(counts[0] >= 600 && counts[1] >= 100, "the vectors are there: {counts:?}");
    if let Ok(path) = std::env::var("LOSSD_RESULTS") {
        std::fs::write(path, results).unwrap();
    }
}

/// A line of the results.
async fn line(client: Client, case: Arc<Value>, way: &str) -> String {
    let hash = match text(&case["dtype"]) {
        "float32" => run::<f32>(&client, &case, way).await,
        "float64" => run::<f64>(&client, &case, way).await,
        "float16" => run::<f16>(&client, &case, way).await,
        "bfloat16" => run::<bf16>(&client, &case, way).await,
        other => panic!("dtype {other}"),
    };
    format!("{} {way} {hash}\n", text(&case["name"]))
}

#[tokio::test]
async fn worked_examples() {
    let server = Server::start();
    let client = server.client().await;
    let file = folder().join("worked_examples.json");
    let file: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    for case in file["cases"].as_array().unwrap() {
        let (shape, logits) = flat(&case["input"]);
        let (target_shape, labels) = flat(&case["target"]);
        let labels: Vec<i64> = labels.iter().map(|value| value.as_i64().unwrap()).collect();
        let logits =
            TensorRef::from_vec(logits.iter().map(|it| number(it) as f32).collect(), shape);
        let mut problem = CrossEntropy::new(logits, TensorRef::from_vec(labels, target_shape))
            .reduction(reduction(case));
        if let Some(label) = case["ignore_index"].as_i64() {
            problem = problem.ignore_index(label);
        }
        if let Some(weight) = case["weight"].as_array() {
            problem = problem.weight(weight.iter().map(|it| number(it) as f32).collect::<Vec<_>>());
        }
        let loss = client.evaluate(problem).await.unwrap().loss;
        let (_, expected) = flat(&case["loss"]);
        let close =
            |(got, expected): (&f32, &Value)| (f64::from(*got) - number(expected)).abs() < 1e-4;
        assert!(loss.as_slice().iter().zip(&expected).all(close), "{}: {loss:?}", case["name"]);
    }
}

/// Runs a vector one way, holds it to its tolerances, and gives the hash of its results.
async fn run<T: Number>(client: &Client, case: &Value, way: &str) -> String {
    let got = if is_nll(case) {
        evaluate(client, options(nll_loss::<T>(case), case), way).await
    } else {
        let mut problem = cross_entropy::<T>(case);
        if let Some(share) = case["label_smoothing"].as_f64() {
            problem = problem.label_smoothing(share);
        }
        if case["expect"]["grad_target"].is_array() {
            problem = problem.grad_target();
        }
        evaluate(client, options(problem, case), way).await
    };
    let name = format!("{} by {way}", text(&case["name"]));
    let got = got.unwrap_or_else(|error| panic!("{name}: {error}"));
    let grad = got.grad.as_ref().expect("the gradient of the input");
    assert_eq!(grad.shape(), shape_of(&case["shape"]), "{name}");
    let expect = &case["expect"];
    let mut hash = Context::new(&SHA256);
    let loss_type = if T::DTYPE == Dtype::Float64 { "float64" } else { "float32" };
    check(&mut hash, &name, got.loss.as_slice(), &expect["loss"], loss_type);
    check(&mut hash, &name, grad.as_slice(), &expect["grad_input"], text(&case["dtype"]));
    for (gradient, of, field) in
        [(got.grad_target, "target", "grad_target"), (got.grad_weight, "weight", "grad_weight")]
    {
        let wanted = expect[field].is_array();
        assert_eq!(gradient.is_some(), wanted, "{name}: {field}");
        if let Some(gradient) = gradient {
            check_float(&mut hash, &name, &gradient, &expect[field], text(&case[of]["dtype"]));
        }
    }
    hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn evaluate<T: Float, K>(
    client: &Client,
    problem: Problem<'_, T, K>,
    way: &str,
) -> Result<Evaluation<T>, Error> {
    // Cuts fall anywhere.
    let problem = problem.chunk_bytes(24);
    match way {
        "unary" => client.evaluate(problem.transport(Transport::Unary)).await,
        "stream" => client.evaluate(problem.transport(Transport::Stream)).await,
        _ => client.evaluate_many([problem]).await.remove(0),
    }
}

fn check_float(hash: &mut Context, name: &str, got: &FloatTensor, expect: &Value, dtype: &str) {
    match got {
        FloatTensor::Float32(tensor) => check(hash, name, tensor.as_slice(), expect, dtype),
        FloatTensor::Float64(tensor) => check(hash, name, tensor.as_slice(), expect, dtype),
        FloatTensor::Float16(tensor) => check(hash, name, tensor.as_slice(), expect, dtype),
        FloatTensor::Bfloat16(tensor) => check(hash, name, tensor.as_slice(), expect, dtype),
        other => panic!("{name}: {}", other.dtype()),
    }
}

/// Holds values to those expected, within the tolerances of their type, and hashes their bytes.
fn check<T: Element + Into<f64>>(
    hash: &mut Context,
    name: &str,
    got: &[T],
    expect: &Value,
    dtype: &str,
) {
    assert_eq!(T::DTYPE.to_string(), dtype, "{name}");
    let (relative, absolute) = match dtype {
        "float64" => (1e-13, 1e-13),
        "float32" => (3e-7, 1e-7),
        "float16" => (2f64.powi(-10), 2f64.powi(-24)),
        _ => (2f64.powi(-7), 1e-9),
    };
    let expect = expect.as_array().unwrap();
    assert_eq!(got.len(), expect.len(), "{name}");
    for (&got, expect) in got.iter().zip(expect) {
        let (got, expect): (f64, f64) = (got.into(), number(expect));
        let same = got == expect || (got.is_nan() && expect.is_nan());
        let close = (got - expect).abs() <= absolute + relative * expect.abs();
        assert!(same || (close && expect.is_finite()), "{name}: {got}, expected {expect}");
    }
    hash.update(bytemuck::cast_slice(got));
}
