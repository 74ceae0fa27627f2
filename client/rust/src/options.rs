//! Options of a problem that are words.

use crate::proto;

/// How the losses of the positions become the loss that is returned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// The sum over the rounded sum of the weights of the positions that count (class indices), or
    /// over the number of positions (probabilities).
    #[default]
    Mean,
    /// The exact sum of the losses, rounded once.
    Sum,
    /// No reduction: one loss for each position.
    None,
}

impl Reduction {
    pub(crate) fn wire(self) -> proto::Reduction {
        match self {
            Self::Mean => proto::Reduction::Mean,
            Self::Sum => proto::Reduction::Sum,
            Self::None => proto::Reduction::None,
        }
    }
}

/// What the mean is where no position counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum EmptyMean {
    /// NaN, as PyTorch. Gradients are zero all the same.
    #[default]
    Nan,
    /// Zero. Positions that count with zero weights still give NaN.
    Zero,
}

impl EmptyMean {
    pub(crate) fn wire(self) -> proto::EmptyMean {
        match self {
            Self::Nan => proto::EmptyMean::Nan,
            Self::Zero => proto::EmptyMean::Zero,
        }
    }
}

/// How a problem travels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// In one message up to 1 MiB (less, where the server takes no more), else as a stream.
    #[default]
    Auto,
    /// In one message. The server refuses one above its limit with RESOURCE_EXHAUSTED.
    Unary,
    /// As a stream, in bounded memory at the server.
    Stream,
}

/// How far a call is, in bytes of tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that were handed to the connection.
    pub sent: u64,
    /// Bytes of all operands.
    pub to_send: u64,
    /// Bytes of results that came.
    pub received: u64,
    /// Bytes of all results.
    pub to_receive: u64,
}
