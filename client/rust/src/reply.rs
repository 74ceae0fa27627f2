//! Answers of a server, measured against the question before they are believed.

use bytes::Bytes;

use crate::body::Body;
use crate::element::{Dtype, Float};
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::filling::Filling;
use crate::options::Reduction;
use crate::proto;
use crate::tensor::{FloatTensor, Tensor};

const LOSS: usize = 0;
const LOG_SUM_EXP: usize = 1;
const GRAD_WEIGHT: usize = 2;
const GRAD_TARGET: usize = 3;
const GRAD: usize = 4;
const NAMES: [&str; 5] = ["loss", "log_sum_exp", "grad_weight", "grad_target", "grad_input"];

/// The wanted tensors of a problem, which fill up as replies come.
pub(crate) struct Outputs {
    fillings: [Option<Filling>; 5],
    positions: u64,
    dtype: proto::DataType,
    summary: Option<proto::Summary>,
}

impl Outputs {
    /// For the first reply of a problem: the server has found it valid then.
    pub(crate) fn new(body: &Body<'_>) -> Result<Self, Error> {
        let positions = positions(body)
            .ok_or_else(|| Error::unexpected("the input's shape has no such class axis"))?;
        let loss = match body.input.dtype {
            Dtype::Float64 => Dtype::Float64,
            _ => Dtype::Float32,
        };
        let wanted = &body.outputs;
        let loss_shape = if body.reduction == Reduction::None { positions.clone() } else { vec![] };
        let count =
            positions.iter().fold(1u64, |product, &size| product.saturating_mul(size as u64));
        let weight = body.weight.as_ref().filter(|_| wanted.grad_weight);
        let target = wanted.grad_target.then_some(&body.target);
        let input = wanted.grad_input.then_some(&body.input);
        Ok(Self {
            fillings: [
                Some(Filling::new(loss, loss_shape)?),
                wanted.log_sum_exp.then(|| Filling::new(loss, positions)).transpose()?,
                weight.map(|it| Filling::new(it.dtype, it.shape.clone())).transpose()?,
                target.map(|it| Filling::new(it.dtype, it.shape.clone())).transpose()?,
                input.map(|it| Filling::new(it.dtype, it.shape.clone())).transpose()?,
            ],
            positions: count,
            dtype: body.input.dtype.wire(),
            summary: None,
        })
    }

    /// Bytes of all results.
    pub(crate) fn size(&self) -> usize {
        self.fillings.iter().flatten().map(|filling| filling.size).sum()
    }

    /// Bytes that have come.
    pub(crate) fn filled(&self) -> usize {
        self.fillings.iter().flatten().map(|filling| filling.filled).sum()
    }

    /// Counts the bytes of a stream's reply, which its caller keeps.
    pub(crate) fn count(&mut self, reply: &proto::EvaluateStreamResponse) -> Result<(), Error> {
        self.each(reply, Filling::count)
    }

    /// Holds the counted bytes to those that were expected, once the call has ended with OK.
    pub(crate) fn check_counts(&self) -> Result<(), Error> {
        for (filling, name) in self.fillings.iter().zip(NAMES) {
            filling.as_ref().map_or(Ok(()), |filling| filling.check(name))?;
        }
        self.check_summary()
    }

    /// Copies the bytes of a stream's reply to their places.
    pub(crate) fn take(&mut self, reply: &proto::EvaluateStreamResponse) -> Result<(), Error> {
        self.each(reply, Filling::take)
    }

    fn each(
        &mut self,
        reply: &proto::EvaluateStreamResponse,
        step: impl Fn(&mut Filling, &Bytes, &str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.summary.is_some() {
            return Err(Error::unexpected("something follows the summary"));
        }
        let proto::EvaluateStreamResponse { loss, log_sum_exp, grad_weight, .. } = reply;
        let pieces = [loss, log_sum_exp, grad_weight, &reply.grad_target, &reply.grad_input];
        for (at, piece) in pieces.into_iter().enumerate() {
            match &mut self.fillings[at] {
                _ if piece.is_empty() => {}
                Some(filling) => step(filling, piece, NAMES[at])?,
                None => return Err(not_asked(NAMES[at])),
            }
        }
        self.summary.clone_from(&reply.summary);
        Ok(())
    }

    /// Takes the one reply of a problem that went as a message.
    pub(crate) fn take_whole(&mut self, reply: proto::EvaluateResponse) -> Result<(), Error> {
        let proto::EvaluateResponse { loss, log_sum_exp, grad_weight, .. } = reply;
        let tensors = [loss, log_sum_exp, grad_weight, reply.grad_target, reply.grad_input];
        for (at, tensor) in tensors.into_iter().enumerate() {
            match (&mut self.fillings[at], tensor) {
                (Some(filling), Some(tensor)) => filling.take_tensor(tensor, NAMES[at])?,
                (Some(_), None) => {
                    return Err(Error::unexpected(format_args!("{} is missing", NAMES[at])));
                }
                (None, Some(_)) => return Err(not_asked(NAMES[at])),
                (None, None) => {}
            }
        }
        self.summary = reply.summary;
        Ok(())
    }

    /// The result, once the call has ended with OK.
    pub(crate) fn finish<T: Float>(mut self) -> Result<Evaluation<T>, Error> {
        self.check_summary()?;
        let summary = self.summary.take().unwrap_or_default();
        let loss = self.typed::<T::Loss>(LOSS)?;
        Ok(Evaluation {
            loss: loss.ok_or_else(|| Error::unexpected("loss is missing"))?,
            grad: self.typed::<T>(GRAD)?,
            grad_target: self.whole(GRAD_TARGET)?,
            grad_weight: self.whole(GRAD_WEIGHT)?,
            log_sum_exp: self.typed::<T::Loss>(LOG_SUM_EXP)?,
            summary: summary.into(),
        })
    }

    fn check_summary(&self) -> Result<(), Error> {
        match &self.summary {
            None => Err(Error::unexpected("summary is missing")),
            Some(it) if it.positions == self.positions && it.dtype() == self.dtype => Ok(()),
            Some(_) => Err(Error::unexpected("summary is of another problem")),
        }
    }

    fn whole(&mut self, at: usize) -> Result<Option<FloatTensor>, Error> {
        self.fillings[at].take().map(|filling| filling.finish(NAMES[at])).transpose()
    }

    fn typed<T: Float>(&mut self, at: usize) -> Result<Option<Tensor<T>>, Error> {
        let of_another_type =
            |_| Error::unexpected(format_args!("{} is of no such type", NAMES[at]));
        self.whole(at)?.map(|tensor| T::unwrap(tensor).map_err(of_another_type)).transpose()
    }
}

fn not_asked(name: &str) -> Error {
    Error::unexpected(format_args!("{name} was not asked for"))
}

/// The shape of the positions; `None` where the input has no class axis or no classes.
fn positions(body: &Body<'_>) -> Option<Vec<usize>> {
    let mut shape = body.input.shape.clone();
    let axis = match body.class_axis {
        None => usize::from(shape.len() > 1),
        Some(axis) if axis < 0 => shape.len().checked_sub(axis.unsigned_abs() as usize)?,
        Some(axis) => usize::try_from(axis).ok()?,
    };
    let valid = axis < shape.len() && shape.remove(axis) > 0;
    valid.then_some(shape)
}
