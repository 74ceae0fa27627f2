//! A tensor of the results as it comes, piece by piece.

use bytes::Bytes;

use crate::body::bytes_of;
use crate::element::Dtype;
use crate::error::Error;
use crate::proto;
use crate::tensor::FloatTensor;

/// A tensor that fills up. Its memory is taken with its first byte.
pub(crate) struct Filling {
    dtype: Dtype,
    shape: Vec<usize>,
    pub(crate) size: usize,
    pub(crate) filled: usize,
    tensor: Option<FloatTensor>,
}

impl Filling {
    pub(crate) fn new(dtype: Dtype, shape: Vec<usize>) -> Result<Self, Error> {
        let size = bytes_of(&shape, dtype)
            .ok_or_else(|| Error::exhausted("input.shape", "", "the results do not fit memory"))?;
        Ok(Self { dtype, shape, size, filled: 0, tensor: None })
    }

    pub(crate) fn count(&mut self, piece: &Bytes, name: &str) -> Result<(), Error> {
        let end = self.filled.saturating_add(piece.len());
        if end > self.size {
            return Err(Error::unexpected(format_args!(
                "{name} has at least {end} bytes, expected {}",
                self.size
            )));
        }
        self.filled = end;
        Ok(())
    }

    pub(crate) fn take(&mut self, piece: &Bytes, name: &str) -> Result<(), Error> {
        let begin = self.filled;
        self.count(piece, name)?;
        let tensor = match &mut self.tensor {
            Some(tensor) => tensor,
            slot => slot.insert(FloatTensor::zeros(self.dtype, &self.shape)?),
        };
        tensor.bytes_mut()[begin..self.filled].copy_from_slice(piece);
        Ok(())
    }

    pub(crate) fn take_tensor(&mut self, tensor: proto::Tensor, name: &str) -> Result<(), Error> {
        let same_shape = tensor.shape.len() == self.shape.len()
            && tensor.shape.iter().zip(&self.shape).all(|(&a, &b)| usize::try_from(a) == Ok(b));
        if tensor.dtype() != self.dtype.wire() || !same_shape {
            return Err(Error::unexpected(format_args!(
                "{name} is {:?} of shape {:?}, expected {} of shape {:?}",
                tensor.dtype(),
                tensor.shape,
                self.dtype,
                self.shape
            )));
        }
        match tensor.data {
            Some(proto::tensor::Data::Raw(raw)) => self.take(&raw, name),
            None => Ok(()), // Of a tensor without elements; else finish() finds it short.
            Some(_) => Err(Error::unexpected(format_args!("{name} is not raw bytes"))),
        }
    }

    pub(crate) fn check(&self, name: &str) -> Result<(), Error> {
        if self.filled == self.size {
            return Ok(());
        }
        let (filled, size) = (self.filled, self.size);
        Err(Error::unexpected(format_args!("{name} is cut short: {filled} bytes, expected {size}")))
    }

    pub(crate) fn finish(self, name: &str) -> Result<FloatTensor, Error> {
        self.check(name)?;
        match self.tensor {
            Some(tensor) => Ok(tensor),
            None => FloatTensor::zeros(self.dtype, &self.shape),
        }
    }
}
