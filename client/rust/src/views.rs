//! Arrays of the crate ndarray as tensors, and results as arrays.

use ndarray::{ArrayBase, ArrayD, ArrayView, Data, Dimension, IxDyn};

use crate::element::Element;
use crate::tensor::Tensor;
use crate::tensor_ref::{IntoTensor, TensorRef};

impl<'a, T: Element, D: Dimension> IntoTensor<'a> for ArrayView<'a, T, D> {
    type Elem = T;

    /// Lends an array in row-major order as it is; others are copied into that order.
    fn into_tensor(self) -> TensorRef<'a, T> {
        let shape = self.shape().to_vec();
        match self.to_slice() {
            Some(data) => TensorRef::new(data, shape),
            None => TensorRef::<T>::from_vec(self.iter().copied().collect(), shape),
        }
    }
}

impl<'a, T: Element, S: Data<Elem = T>, D: Dimension> IntoTensor<'a> for &'a ArrayBase<S, D> {
    type Elem = T;

    fn into_tensor(self) -> TensorRef<'a, T> {
        self.view().into_tensor()
    }
}

impl<T> From<Tensor<T>> for ArrayD<T> {
    /// Without a copy.
    fn from(tensor: Tensor<T>) -> Self {
        let (shape, data) = tensor.into_parts();
        // A tensor has as many elements as its shape says.
        ArrayD::from_shape_vec(IxDyn(&shape), data).expect("the tensor's own shape")
    }
}
