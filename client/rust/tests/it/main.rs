//! Tests against a real server, and against false ones made of tonic.
//!
//! LOSSD_BIN names the folder of the program lossd.

mod arguments;
mod arrays;
mod calls;
mod conformance;
mod deadlines;
mod false_server;
mod many;
mod network;
mod parts;
mod readme;
mod replies;
mod retries;
mod server;
mod tls;
mod vector_problems;
mod vectors;
mod version;
