//! The worked example of the project's README: prints "loss 1.4502885".
//!
//!     cargo run --example worked
//!
//! LOSSD_ADDRESS is the server's address, 127.0.0.1:50051 unless set.

use lossd_client::{Client, CrossEntropy, Error};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let client = Client::from_env().await?;
    let logits = [[-1.1011f32, 0.6231], [0.2384, -0.3223]];
    let labels = [0i64, 1];
    let result = client.evaluate(CrossEntropy::new(&logits, &labels)).await?;
    println!("loss {:?}", result.loss.as_slice()[0]);
    Ok(())
}
