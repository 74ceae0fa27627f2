//! Tests against a real server, and against false ones made of tonic.
//!
//! LOSSD_BIN names the folder of the program lossd.

mod conformance;
mod server;
mod vectors;
