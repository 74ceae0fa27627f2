//! Element types of tensors, and which Rust types stand for them.

use std::fmt;

use bytemuck::Pod;

use crate::proto::DataType;
use crate::tensor::{FloatTensor, Tensor};

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dtype {
    /// `f32`.
    Float32,
    /// `f64`.
    Float64,
    /// IEEE 754 binary16: `half::f16`.
    Float16,
    /// The upper half of an `f32`: `half::bf16`.
    Bfloat16,
    /// `i8`.
    Int8,
    /// `i16`.
    Int16,
    /// `i32`.
    Int32,
    /// `i64`.
    Int64,
    /// `u8`.
    Uint8,
    /// `u16`.
    Uint16,
    /// `u32`.
    Uint32,
    /// `u64`.
    Uint64,
}

impl Dtype {
    /// Bytes of an element.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Int8 | Self::Uint8 => 1,
            Self::Float16 | Self::Bfloat16 | Self::Int16 | Self::Uint16 => 2,
            Self::Float32 | Self::Int32 | Self::Uint32 => 4,
            Self::Float64 | Self::Int64 | Self::Uint64 => 8,
        }
    }

    /// True for the types of class indices.
    #[must_use]
    pub const fn is_integer(self) -> bool {
        !matches!(self, Self::Float32 | Self::Float64 | Self::Float16 | Self::Bfloat16)
    }

    pub(crate) const fn wire(self) -> DataType {
        match self {
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Float16 => DataType::Float16,
            Self::Bfloat16 => DataType::Bfloat16,
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Uint8 => DataType::Uint8,
            Self::Uint16 => DataType::Uint16,
            Self::Uint32 => DataType::Uint32,
            Self::Uint64 => DataType::Uint64,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Float16 => "float16",
            Self::Bfloat16 => "bfloat16",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Uint8 => "uint8",
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
        })
    }
}

/// A Rust type that a tensor can be made of. Its memory is sent as it is.
pub trait Element: Pod + Send + Sync + sealed::Sealed {
    /// The element type that it is sent as.
    const DTYPE: Dtype;
}

/// A type of logits: `f32`, `f64`, and with the feature `half` its `f16` and `bf16`.
pub trait Float: Element + fmt::Debug + PartialEq + Into<f64> {
    /// The type of losses: `f64` for `f64`, else `f32`.
    type Loss: Float<Loss = Self::Loss>;

    #[doc(hidden)]
    fn wrap(tensor: Tensor<Self>) -> FloatTensor;
    #[doc(hidden)]
    fn unwrap(tensor: FloatTensor) -> Result<Tensor<Self>, FloatTensor>;
    #[doc(hidden)]
    fn peek(tensor: &FloatTensor) -> Option<&Tensor<Self>>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($type:ty => $dtype:ident),* $(,)?) => {$(
        impl sealed::Sealed for $type {}
        impl Element for $type {
            const DTYPE: Dtype = Dtype::$dtype;
        }
    )*};
}

macro_rules! floats {
    ($($type:ty => $variant:ident, $loss:ty);* $(;)?) => {$(
        impl Float for $type {
            type Loss = $loss;

            fn wrap(tensor: Tensor<Self>) -> FloatTensor {
                FloatTensor::$variant(tensor)
            }

            fn unwrap(tensor: FloatTensor) -> Result<Tensor<Self>, FloatTensor> {
                match tensor {
                    FloatTensor::$variant(tensor) => Ok(tensor),
                    other => Err(other),
                }
            }

            fn peek(tensor: &FloatTensor) -> Option<&Tensor<Self>> {
                match tensor {
                    FloatTensor::$variant(tensor) => Some(tensor),
                    _ => None,
                }
            }
        }
    )*};
}

elements! {
    f32 => Float32, f64 => Float64,
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    u8 => Uint8, u16 => Uint16, u32 => Uint32, u64 => Uint64,
}
floats! { f32 => Float32, f32; f64 => Float64, f64; }

// Labels are often indices of Rust's own.
#[cfg(target_pointer_width = "64")]
elements! { isize => Int64, usize => Uint64 }
#[cfg(target_pointer_width = "32")]
elements! { isize => Int32, usize => Uint32 }

#[cfg(feature = "half")]
elements! { half::f16 => Float16, half::bf16 => Bfloat16 }
#[cfg(feature = "half")]
floats! { half::f16 => Float16, f32; half::bf16 => Bfloat16, f32; }

// Memory goes to the wire as it is, and the wire is little-endian.
#[cfg(target_endian = "big")]
compile_error!("lossd-client does not support big-endian targets");
