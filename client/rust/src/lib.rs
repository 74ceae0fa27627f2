//! Client of lossd: cross-entropy and NLL losses and their gradients over gRPC, with PyTorch's
//! semantics.

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
pub use error::{Error, Failure};
pub use evaluation::Evaluation;
pub use info::{Limits, ServerInfo};
pub use options::{EmptyMean, Progress, Reduction, Transport};
pub use parts::{Part, Parts};
pub use problem::{CrossEntropy, NllLoss, Problem, kind};
pub use summary::{Combined, Summary};
pub use tensor::{FloatTensor, Tensor};
pub use tensor_ref::{IntoTensor, TensorRef};
#[cfg(feature = "tls")]
pub use tls::Tls;
