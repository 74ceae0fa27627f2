//! What a server is and accepts.

use crate::proto;

/// What a server is and accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// Version of the server: "major.minor.patch".
    pub version: String,
    /// Instruction set that its kernels use, such as "AVX2". Results do not depend on it.
    pub instruction_set: String,
    /// Worker threads.
    pub threads: u32,
    /// Limits in force.
    pub limits: Limits,
}

/// Limits of a server. A call that passes one ends with [`Error::Exhausted`](crate::Error::Exhausted).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one message. A larger problem goes as a stream.
    pub max_message_bytes: u64,
    /// Dimensions of a tensor.
    pub max_rank: u32,
    /// Classes.
    pub max_classes: i64,
    /// Positions.
    pub max_positions: i64,
    /// Bytes that the class indices of one stream may take, in the narrowest unsigned type that holds
    /// the number of classes.
    pub max_label_bytes: u64,
    /// Bytes that one tensor of a stream may be ahead of what it is evaluated with.
    pub max_stream_skew_bytes: u64,
    /// Bytes of input that a stream holds at once; or one sample, where that is more.
    pub stream_window_bytes: u64,
    /// Bytes that all calls in flight may hold together.
    pub max_memory_bytes: u64,
}

impl From<proto::GetServerInfoResponse> for ServerInfo {
    fn from(reply: proto::GetServerInfoResponse) -> Self {
        Self {
            version: reply.version,
            instruction_set: reply.instruction_set,
            threads: reply.threads,
            limits: reply.limits.map(Limits::from).unwrap_or_default(),
        }
    }
}

impl From<proto::Limits> for Limits {
    fn from(limits: proto::Limits) -> Self {
        Self {
            max_message_bytes: limits.max_message_bytes,
            max_rank: limits.max_rank,
            max_classes: limits.max_classes,
            max_positions: limits.max_positions,
            max_label_bytes: limits.max_label_bytes,
            max_stream_skew_bytes: limits.max_stream_skew_bytes,
            stream_window_bytes: limits.stream_window_bytes,
            max_memory_bytes: limits.max_memory_bytes,
        }
    }
}
