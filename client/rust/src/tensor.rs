//! Tensors that belong to their holder: results.

use crate::element::{Dtype, Float};
use crate::error::Error;

/// A dense row-major tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor<T> {
    shape: Vec<usize>,
    data: Vec<T>,
}

impl<T> Tensor<T> {
    /// Sizes of the dimensions, outermost first; empty for a scalar.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, row-major.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.data
    }

    /// The elements, row-major, to be changed in place.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// The elements, row-major, without a copy.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        self.data
    }

    /// Shape and elements, without a copy.
    #[must_use]
    pub fn into_parts(self) -> (Vec<usize>, Vec<T>) {
        (self.shape, self.data)
    }
}

impl<T: Copy> Tensor<T> {
    /// The element of a tensor that has just one, as a reduced loss has; else `None`.
    #[must_use]
    pub fn item(&self) -> Option<T> {
        match self.data[..] {
            [value] => Some(value),
            _ => None,
        }
    }
}

/// A tensor of one of the floating types: the gradient of a class weight or of a probability target,
/// which may be `f32` beside half-precision logits.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FloatTensor {
    /// Of `f32`.
    Float32(Tensor<f32>),
    /// Of `f64`.
    Float64(Tensor<f64>),
    /// Of `half::f16`.
    #[cfg(feature = "half")]
    Float16(Tensor<half::f16>),
    /// Of `half::bf16`.
    #[cfg(feature = "half")]
    Bfloat16(Tensor<half::bf16>),
}

impl FloatTensor {
    /// The element type.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::Float32(_) => Dtype::Float32,
            Self::Float64(_) => Dtype::Float64,
            #[cfg(feature = "half")]
            Self::Float16(_) => Dtype::Float16,
            #[cfg(feature = "half")]
            Self::Bfloat16(_) => Dtype::Bfloat16,
        }
    }

    /// Sizes of the dimensions, outermost first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Float32(tensor) => tensor.shape(),
            Self::Float64(tensor) => tensor.shape(),
            #[cfg(feature = "half")]
            Self::Float16(tensor) => tensor.shape(),
            #[cfg(feature = "half")]
            Self::Bfloat16(tensor) => tensor.shape(),
        }
    }

    /// The elements, row-major, where they are of type `T`.
    #[must_use]
    pub fn as_slice<T: Float>(&self) -> Option<&[T]> {
        T::peek(self).map(Tensor::as_slice)
    }

    /// The tensor, where its elements are of type `T`.
    ///
    /// # Errors
    /// The tensor as it was, where they are of another type.
    pub fn into_tensor<T: Float>(self) -> Result<Tensor<T>, Self> {
        T::unwrap(self)
    }
}

/// For results.
impl FloatTensor {
    /// A tensor of zeros. `shape` was measured before: it fits memory.
    pub(crate) fn zeros(dtype: Dtype, shape: &[usize]) -> Result<Self, Error> {
        match dtype {
            Dtype::Float32 => Ok(Self::Float32(Tensor::zeros(shape))),
            Dtype::Float64 => Ok(Self::Float64(Tensor::zeros(shape))),
            #[cfg(feature = "half")]
            Dtype::Float16 => Ok(Self::Float16(Tensor::zeros(shape))),
            #[cfg(feature = "half")]
            Dtype::Bfloat16 => Ok(Self::Bfloat16(Tensor::zeros(shape))),
            other => Err(Error::unexpected(format_args!("a gradient cannot be of {other}"))),
        }
    }

    /// The elements' memory.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Float32(tensor) => bytemuck::cast_slice_mut(&mut tensor.data),
            Self::Float64(tensor) => bytemuck::cast_slice_mut(&mut tensor.data),
            #[cfg(feature = "half")]
            Self::Float16(tensor) => bytemuck::cast_slice_mut(&mut tensor.data),
            #[cfg(feature = "half")]
            Self::Bfloat16(tensor) => bytemuck::cast_slice_mut(&mut tensor.data),
        }
    }
}

impl<T: Float> Tensor<T> {
    fn zeros(shape: &[usize]) -> Self {
        let elements = if shape.contains(&0) { 0 } else { shape.iter().product() };
        Self { shape: shape.to_vec(), data: vec![T::zeroed(); elements] }
    }
}
