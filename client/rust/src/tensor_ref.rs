//! Tensors that are lent to a call, and their bytes.

use std::marker::PhantomData;
use std::ops::Range;

use bytes::Bytes;

use crate::element::{Dtype, Element};
use crate::tensor::Tensor;

/// A dense row-major tensor, borrowed from its owner or shared with it.
///
/// ```
/// use lossd_client::TensorRef;
///
/// let values = vec![0.5f32; 6];
/// let lent = TensorRef::new(&values, [2, 3]);
/// assert_eq!(lent.shape(), [2, 3]);
/// let given = TensorRef::from_vec(values, [2, 3]); // No copy is made of it.
/// ```
#[derive(Debug, Clone)]
pub struct TensorRef<'a, T> {
    operand: Operand<'a>,
    element: PhantomData<T>,
}

impl<'a, T: Element> TensorRef<'a, T> {
    /// A tensor over elements in row-major order.
    ///
    /// The call that uses it is refused, with the field's name, where `data` has not as many elements
    /// as `shape` says.
    pub fn new(data: &'a [T], shape: impl AsRef<[usize]>) -> Self {
        Self::of(Data::Lent(bytemuck::cast_slice(data)), shape)
    }

    /// A tensor that owns its elements: it outlives their maker, and is sent without another copy.
    pub fn from_vec(data: Vec<T>, shape: impl AsRef<[usize]>) -> TensorRef<'static, T> {
        TensorRef::of(Data::Shared(Bytes::from_owner(Owner(data))), shape)
    }

    /// A tensor over little-endian bytes in row-major order, which may lie anywhere in memory, such as
    /// a piece of a file or of a message. They are sent without another copy.
    pub fn from_bytes(data: impl Into<Bytes>, shape: impl AsRef<[usize]>) -> TensorRef<'static, T> {
        TensorRef::of(Data::Shared(data.into()), shape)
    }

    /// A tensor whose bytes come later, by [`Client::evaluate_stream`](crate::Client::evaluate_stream).
    pub fn announced(shape: impl AsRef<[usize]>) -> TensorRef<'static, T> {
        TensorRef::of(Data::Announced, shape)
    }

    fn of(data: Data<'_>, shape: impl AsRef<[usize]>) -> TensorRef<'_, T> {
        let shape = shape.as_ref().to_vec();
        TensorRef { operand: Operand { dtype: T::DTYPE, shape, data }, element: PhantomData }
    }
}

impl<T> TensorRef<'_, T> {
    /// Sizes of the dimensions, outermost first; empty for a scalar.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.operand.shape
    }
}

/// What can be taken as a tensor of elements [`IntoTensor::Elem`], without a copy where its elements
/// are contiguous in row-major order.
///
/// Slices, vectors and arrays are tensors of one dimension, and arrays of arrays of two. A number is a
/// scalar. Other shapes take [`TensorRef::new`], or views of the crate `ndarray` with the feature of
/// that name.
pub trait IntoTensor<'a> {
    /// Type of the elements.
    type Elem: Element;

    /// The tensor.
    fn into_tensor(self) -> TensorRef<'a, Self::Elem>;
}

impl<'a, T: Element> IntoTensor<'a> for TensorRef<'a, T> {
    type Elem = T;

    fn into_tensor(self) -> TensorRef<'a, T> {
        self
    }
}

impl<'a, T: Element> IntoTensor<'a> for &'a Tensor<T> {
    type Elem = T;

    fn into_tensor(self) -> TensorRef<'a, T> {
        TensorRef::new(self.as_slice(), self.shape())
    }
}

impl<'a, T: Element> IntoTensor<'a> for &'a [T] {
    type Elem = T;

    fn into_tensor(self) -> TensorRef<'a, T> {
        TensorRef::new(self, [self.len()])
    }
}

impl<'a, T: Element> IntoTensor<'a> for &'a Vec<T> {
    type Elem = T;

    fn into_tensor(self) -> TensorRef<'a, T> {
        self.as_slice().into_tensor()
    }
}

impl<'a, T: Element> IntoTensor<'a> for Vec<T> {
    type Elem = T;

    fn into_tensor(self) -> TensorRef<'a, T> {
        let shape = [self.len()];
        TensorRef::<T>::from_vec(self, shape)
    }
}

impl<'a, T: Element, const N: usize> IntoTensor<'a> for &'a [T; N] {
    type Elem = T;

    fn into_tensor(self) -> TensorRef<'a, T> {
        self.as_slice().into_tensor()
    }
}

impl<'a, T: Element, const N: usize, const M: usize> IntoTensor<'a> for &'a [[T; M]; N] {
    type Elem = T;

    fn into_tensor(self) -> TensorRef<'a, T> {
        TensorRef::new(self.as_flattened(), [N, M])
    }
}

impl<'a, T: Element> IntoTensor<'a> for T {
    type Elem = T;

    fn into_tensor(self) -> TensorRef<'a, T> {
        TensorRef::<T>::from_vec(vec![self], [])
    }
}

/// A tensor whose element type is known at run time only.
#[derive(Debug, Clone)]
pub(crate) struct Operand<'a> {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Data<'a>,
}

impl<'a, T: Element> From<TensorRef<'a, T>> for Operand<'a> {
    fn from(tensor: TensorRef<'a, T>) -> Self {
        tensor.operand
    }
}

/// Little-endian bytes of a tensor.
#[derive(Debug, Clone)]
pub(crate) enum Data<'a> {
    Lent(&'a [u8]),
    Shared(Bytes),
    /// They come later.
    Announced,
}

impl Data<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Announced => 0,
            Self::Lent(bytes) => bytes.len(),
            Self::Shared(bytes) => bytes.len(),
        }
    }

    /// A part of the bytes for a message, which outlives the borrow: lent ones are copied.
    pub(crate) fn part(&self, range: Range<usize>) -> Bytes {
        match self {
            Self::Lent(bytes) => Bytes::copy_from_slice(&bytes[range]),
            Self::Shared(bytes) => bytes.slice(range),
            Self::Announced => Bytes::new(),
        }
    }

    pub(crate) fn whole(&self) -> Bytes {
        self.part(0..self.len())
    }
}

/// Elements whose memory `Bytes` keeps.
struct Owner<T>(Vec<T>);

impl<T: Element> AsRef<[u8]> for Owner<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}
