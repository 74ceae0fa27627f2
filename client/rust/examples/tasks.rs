//! The tasks of README.md, which a test holds to this file.
//!
//!     cargo run --example tasks
//!
//! LOSSD_ADDRESS is the server's address, 127.0.0.1:50051 unless set.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use lossd_client::{Client, CrossEntropy, NllLoss, Part, Reduction, TensorRef};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::from_env().await?;
    loss(&client).await?;
    gradient(&client).await?;
    large_with_progress(&client).await?;
    larger_than_memory(&client).await?;
    many_small_ones(&client).await?;
    shards(&client).await?;
    an_error(&client).await
}

async fn loss(client: &Client) -> Result<(), Box<dyn Error>> {
    let log_probabilities = [[-0.5f64, -0.9], [-0.1, -2.3]];
    let problem = NllLoss::new(&log_probabilities, &[1u8, 0]).reduction(Reduction::None);
    let result = client.evaluate(problem).await?;
    assert_eq!(result.loss.as_slice(), [0.9, 0.1]);
    Ok(())
}

async fn gradient(client: &Client) -> Result<(), Box<dyn Error>> {
    let logits = vec![0.5f32; 32 * 10];
    let probabilities = vec![0.1f32; 32 * 10];
    let weight = [1.0f32; 10];
    let problem = CrossEntropy::new(
        TensorRef::new(&logits, [32, 10]),
        TensorRef::new(&probabilities, [32, 10]),
    );
    let result = client.evaluate(problem.weight(&weight).grad().grad_target()).await?;
    let gradient: Vec<f32> = result.grad.expect("asked for").into_vec();
    assert_eq!(gradient.len(), 32 * 10);
    Ok(())
}

async fn large_with_progress(client: &Client) -> Result<(), Box<dyn Error>> {
    let logits = vec![0.5f32; 2048 * 1000];
    let labels = vec![7usize; 2048];
    let problem = CrossEntropy::new(TensorRef::new(&logits, [2048, 1000]), &labels)
        .grad()
        .progress(|progress| eprint!("\r{} of {} bytes", progress.sent, progress.to_send));
    let result = client.with_timeout(Duration::from_secs(60)).evaluate(problem).await?;
    eprintln!("\r{} positions, loss {:?}", result.summary.positions(), result.loss.item());
    Ok(())
}

async fn larger_than_memory(client: &Client) -> Result<(), Box<dyn Error>> {
    let labels = vec![7usize; 2048];
    let problem = CrossEntropy::new(TensorRef::<f32>::announced([2048, 1000]), &labels).grad();
    // Bytes from anywhere: a file, another service.
    let rows = (0..2048).map(|_| Bytes::from(vec![0; 4000]));
    let mut parts = client.evaluate_stream(problem, tokio_stream::iter(rows));
    let mut gradient_bytes = 0;
    while let Some(part) = parts.next().await {
        if let Part::Grad(bytes) = part? {
            gradient_bytes += bytes.len();
        }
    }
    assert_eq!(gradient_bytes, 2048 * 1000 * 4);
    Ok(())
}

async fn many_small_ones(client: &Client) -> Result<(), Box<dyn Error>> {
    let batches: Vec<[f32; 3]> = vec![[0.5, 1.5, 2.5]; 1000];
    let problems = batches.iter().map(|logits| CrossEntropy::new(logits, 2u8).grad());
    for result in client.evaluate_many(problems).await {
        let result = result?; // Each problem has its own error.
        assert!(result.loss.as_slice()[0] < 0.5);
    }
    Ok(())
}

async fn shards(client: &Client) -> Result<(), Box<dyn Error>> {
    let (first, second) = ([[1.0f32, 2.0]], [[0.5f32, 0.0]]);
    let first = client.evaluate(CrossEntropy::new(&first, &[1u8])).await?.summary;
    let second = client.evaluate(CrossEntropy::new(&second, &[0u8])).await?.summary;
    let whole = client.combine([&first, &second]).await?;
    println!("loss of both shards {:?}", whole.loss);
    Ok(())
}

async fn an_error(client: &Client) -> Result<(), Box<dyn Error>> {
    let problem = CrossEntropy::new(&[[1.0f32, 2.0, 3.0], [3.0, 1.0, 0.0]], &[2i64, 7]);
    let error = client.evaluate(problem).await.expect_err("7 is no class");
    assert_eq!(error.field(), "target[1]");
    assert_eq!(error.reason(), "LABEL_OUT_OF_RANGE");
    assert_eq!(error.metadata()["classes"], "3");
    eprintln!("{error}");
    Ok(())
}
