//! The protocol as prost and tonic see it: messages of `lossd.v1`, and
//! [`loss_service_client::LossServiceClient`].
//!
//! Everything that [`crate::Client`] does can be done by hand with these, over the same connection:
//! see [`crate::Client::stub`].

#![allow(missing_docs, unreachable_pub, clippy::all)]

include!("generated/lossd.v1.rs");
