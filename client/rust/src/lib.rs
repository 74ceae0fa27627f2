//! Client of lossd: cross-entropy and NLL losses and their gradients over gRPC, with PyTorch's
//! semantics.
//!
//! ```
//! use lossd_client::{Client, CrossEntropy, Error, TensorRef};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     let client = Client::from_env().await?; // LOSSD_ADDRESS, or 127.0.0.1:50051
//!     let logits = vec![0.5f32; 512 * 1000];
//!     let labels = vec![7usize; 512];
//!     let problem = CrossEntropy::new(TensorRef::new(&logits, [512, 1000]), &labels);
//!     let result = client.evaluate(problem.label_smoothing(0.1).grad()).await?;
//!     assert!((result.loss.item().unwrap() - 1000f32.ln()).abs() < 1e-5);
//!     assert_eq!(result.grad.unwrap().shape(), [512, 1000]);
//!     Ok(())
//! }
//! ```
//!
//! - [`CrossEntropy`] and [`NllLoss`] are problems: tensors, by [`IntoTensor`], and options.
//! - [`Client::evaluate`] sends one, as a message or as a stream by its size.
//! - [`Client::evaluate_many`] pipelines many small ones over one stream.
//! - [`Client::evaluate_stream`] takes an input that is larger than memory.
//! - [`Client::combine`] merges the [`Summary`]s of shards.
//! - [`Error`] names the field, the reason and when to try again.
//! - [`proto`] and [`Client::stub`] are the protocol itself.
//!
//! The features `ndarray`, `half` and `tls` are off unless named.

#![forbid(unsafe_code)]

mod address;
mod body;
mod builder;
mod chunks;
mod client;
mod code;
mod connection;
mod deadline;
mod element;
mod error;
mod evaluation;
mod failure;
mod filling;
mod info;
mod many;
mod options;
mod parts;
mod problem;
pub mod proto;
mod pump;
mod reply;
mod retry;
mod status;
mod stream;
mod summary;
mod sums;
mod tensor;
mod tensor_ref;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "ndarray")]
mod views;

pub use builder::Builder;
pub use client::Client;
pub use code::Code;
pub use connection::{Bearer, Stub};
pub use element::{Dtype, Element, Float};
pub use error::Error;
pub use evaluation::Evaluation;
pub use failure::Failure;
pub use info::{Limits, ServerInfo};
pub use options::{EmptyMean, Progress, Reduction, Transport};
pub use parts::{Part, Parts};
pub use problem::{CrossEntropy, NllLoss, Problem, kind};
pub use summary::{Combined, Summary};
pub use tensor::{FloatTensor, Tensor};
pub use tensor_ref::{IntoTensor, TensorRef};
#[cfg(feature = "tls")]
pub use tls::Tls;
