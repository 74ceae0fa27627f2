//! The results of a problem.

use crate::element::Float;
use crate::summary::Summary;
use crate::tensor::{FloatTensor, Tensor};

/// The results of a problem with an input of type `T`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Evaluation<T: Float> {
    /// The loss: a scalar, or one for each position with [`Reduction::None`](crate::Reduction::None).
    pub loss: Tensor<T::Loss>,
    /// Gradient of the input, of its shape; `None` unless asked for.
    pub grad: Option<Tensor<T>>,
    /// Gradient of a probability target, of its shape and type; `None` unless asked for.
    pub grad_target: Option<FloatTensor>,
    /// Gradient of the class weights, of their shape and type; `None` unless asked for.
    pub grad_weight: Option<FloatTensor>,
    /// log(sum(exp(x))) of each position; `None` unless asked for.
    pub log_sum_exp: Option<Tensor<T::Loss>>,
    /// Counts and exact sums.
    pub summary: Summary,
}
