//! The counts and exact sums of a problem.

use prost::Message as _;

use crate::error::Error;
use crate::{proto, sums};

/// Counts and exact sums of the positions of a problem, or of several that were combined.
///
/// [`Client::combine`](crate::Client::combine) merges those of shards. [`Summary::to_bytes`] carries
/// one to the process that does.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    // In a box: it is large beside all that it is moved with.
    proto: Box<proto::Summary>,
}

impl Summary {
    /// Number of positions, ignored ones included.
    #[must_use]
    pub fn positions(&self) -> u64 {
        self.proto.positions
    }

    /// Number of ignored positions.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.proto.ignored
    }

    /// Positions whose class has the greatest logit.
    #[must_use]
    pub fn correct(&self) -> u64 {
        self.proto.correct
    }

    /// Positions whose class is among the `top_k` greatest logits; 0 unless that was asked for.
    #[must_use]
    pub fn correct_top_k(&self) -> u64 {
        self.proto.correct_top_k
    }

    /// The natural divisor of the mean, whatever the reduction and the normalizer given: the sum of the
    /// weights of the positions that count, or for a probability target the number of positions.
    /// Summed exactly and rounded once.
    #[must_use]
    pub fn normalizer(&self) -> f64 {
        self.rounded(self.proto.normalizer.as_ref())
    }

    /// The sum of the losses of all positions, whatever the reduction. Summed exactly and rounded once.
    #[must_use]
    pub fn loss_sum(&self) -> f64 {
        self.rounded(self.proto.loss_sum.as_ref())
    }

    /// The message `lossd.v1.Summary`.
    #[must_use]
    pub fn as_proto(&self) -> &proto::Summary {
        &self.proto
    }

    /// The message `lossd.v1.Summary`, serialized.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.proto.encode_to_vec()
    }

    /// A summary from [`Summary::to_bytes`], or from another language's message.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the bytes are no such message.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        match proto::Summary::decode(bytes) {
            Ok(proto) => Ok(proto.into()),
            Err(error) => Err(Error::invalid("summary", "MALFORMED_MESSAGE", error)),
        }
    }

    fn rounded(&self, sum: Option<&proto::ExactSum>) -> f64 {
        let double = self.proto.dtype() == proto::DataType::Float64;
        sum.map_or(0.0, |sum| sums::to_f64(sum, double))
    }
}

impl From<proto::Summary> for Summary {
    fn from(proto: proto::Summary) -> Self {
        Self { proto: Box::new(proto) }
    }
}

impl From<Summary> for proto::Summary {
    fn from(summary: Summary) -> Self {
        *summary.proto
    }
}

/// The merged summary of shards, and the loss over all of them.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Combined {
    /// Of all positions.
    pub summary: Summary,
    /// The reduced loss, with the bits that one call over all positions would have given; one of `f32`
    /// is widened. `None` with [`Reduction::None`](crate::Reduction::None).
    pub loss: Option<f64>,
}

impl Combined {
    pub(crate) fn from_reply(reply: proto::CombineResponse) -> Result<Self, Error> {
        use proto::tensor::Data;
        let summary = reply.summary.ok_or_else(|| Error::unexpected("summary is missing"))?;
        let reduction = summary.criterion.as_ref().map(proto::Criterion::reduction);
        let loss = match reply.loss.map(|loss| loss.data) {
            None if reduction == Some(proto::Reduction::None) => None,
            Some(Some(Data::FloatValues(values))) => {
                one(&values.values).map(f64::from).map(Some)?
            }
            Some(Some(Data::DoubleValues(values))) => one(&values.values).map(Some)?,
            _ => return Err(Error::unexpected("loss is missing, or of no floating type")),
        };
        Ok(Self { summary: summary.into(), loss })
    }
}

fn one<T: Copy>(values: &[T]) -> Result<T, Error> {
    match values {
        [value] => Ok(*value),
        _ => Err(Error::unexpected(format_args!("loss has {} values, expected 1", values.len()))),
    }
}
