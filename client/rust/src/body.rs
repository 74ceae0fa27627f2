//! A problem without its Rust types, and the messages that carry it.

use std::sync::Arc;

use crate::element::Dtype;
use crate::error::Error;
use crate::options::{EmptyMean, Progress, Reduction, Transport};
use crate::proto;
use crate::tensor_ref::{Data, Operand};

/// Which loss.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    CrossEntropy,
    NllLoss,
}

pub(crate) type Report<'a> = Arc<dyn Fn(Progress) + Send + Sync + 'a>;

/// A problem.
#[derive(Clone)]
pub(crate) struct Body<'a> {
    pub(crate) kind: Kind,
    pub(crate) input: Operand<'a>,
    pub(crate) target: Operand<'a>,
    pub(crate) weight: Option<Operand<'a>>,
    pub(crate) grad_output: Option<Operand<'a>>,
    pub(crate) ignore_index: Option<i64>,
    pub(crate) reduction: Reduction,
    pub(crate) label_smoothing: f64,
    pub(crate) class_axis: Option<i32>,
    pub(crate) empty_mean: EmptyMean,
    pub(crate) normalizer: Option<f64>,
    pub(crate) outputs: proto::Outputs,
    pub(crate) transport: Transport,
    pub(crate) chunk_bytes: usize,
    pub(crate) progress: Option<Report<'a>>,
}

impl<'a> Body<'a> {
    pub(crate) fn new(kind: Kind, input: Operand<'a>, target: Operand<'a>) -> Self {
        Self {
            kind,
            input,
            target,
            weight: None,
            grad_output: None,
            ignore_index: None,
            reduction: Reduction::default(),
            label_smoothing: 0.0,
            class_axis: None,
            empty_mean: EmptyMean::default(),
            normalizer: None,
            outputs: proto::Outputs::default(),
            transport: Transport::default(),
            chunk_bytes: 1 << 20,
            progress: None,
        }
    }

    /// Holds each tensor to its shape. Results are sized by these shapes, so this is not left to the
    /// server.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.input.check("input")?;
        self.check_companions()
    }

    /// As check(), for an input whose bytes come later. Gives their number.
    pub(crate) fn check_announced(&self) -> Result<usize, Error> {
        if !matches!(self.input.data, Data::Announced) {
            let words = "expected TensorRef::announced, since its bytes come from the stream";
            return Err(Error::invalid("input", "", words));
        }
        self.check_companions()?;
        self.input.expected("input")
    }

    fn check_companions(&self) -> Result<(), Error> {
        self.target.check("target")?;
        self.weight.iter().try_for_each(|weight| weight.check("weight"))?;
        self.grad_output.iter().try_for_each(|gradient| gradient.check("grad_output"))
    }

    /// Bytes of all operands.
    pub(crate) fn len(&self) -> usize {
        let others = self.weight.iter().chain(&self.grad_output);
        let operands = others.chain([&self.input, &self.target]);
        operands.fold(0, |sum, operand| sum.saturating_add(operand.data.len()))
    }

    /// True where the target is class indices.
    pub(crate) fn has_labels(&self) -> bool {
        self.target.dtype.is_integer()
    }

    /// The problem as one message.
    pub(crate) fn request(&self) -> proto::EvaluateRequest {
        proto::EvaluateRequest {
            criterion: Some(self.criterion(true)),
            outputs: Some(self.outputs),
            target: Some(self.target.tensor(true)),
            grad_output: self.grad_output.as_ref().map(|gradient| gradient.tensor(true)),
            input: Some(self.input.tensor(true)),
        }
    }

    /// The header of a stream; the weight's bytes follow it unless they are inside.
    pub(crate) fn header(&self, weight_inside: bool) -> proto::EvaluateStreamHeader {
        proto::EvaluateStreamHeader {
            criterion: Some(self.criterion(weight_inside)),
            outputs: Some(self.outputs),
            input: Some(self.input.spec()),
            target: Some(self.target.spec()),
            grad_output: self.grad_output.as_ref().map(Operand::spec),
        }
    }

    fn criterion(&self, weight_inside: bool) -> proto::Criterion {
        let weight = self.weight.as_ref().map(|weight| weight.tensor(weight_inside));
        let (ignore_index, class_axis) = (self.ignore_index, self.class_axis);
        let kind = match self.kind {
            Kind::CrossEntropy => {
                let label_smoothing = self.label_smoothing;
                let options =
                    proto::CrossEntropy { weight, ignore_index, label_smoothing, class_axis };
                proto::criterion::Kind::CrossEntropy(options)
            }
            Kind::NllLoss => {
                let options = proto::NllLoss { weight, ignore_index, class_axis };
                proto::criterion::Kind::NllLoss(options)
            }
        };
        proto::Criterion {
            kind: Some(kind),
            reduction: self.reduction.wire().into(),
            empty_mean: self.empty_mean.wire().into(),
            normalizer: self.normalizer,
        }
    }
}

impl Operand<'_> {
    fn check(&self, name: &str) -> Result<(), Error> {
        let size = self.dtype.size();
        let (expected, got) = (self.expected(name)?, self.data.len());
        if matches!(self.data, Data::Announced) {
            let words = "its bytes were announced; evaluate_stream takes those of the input";
            return Err(Error::invalid(name, "", words));
        }
        if expected == got {
            return Ok(());
        }
        let of = format!("shape {:?} of {}", self.shape, self.dtype);
        let words = if got % size == 0 {
            format!("expected {} elements for {of}, got {}", expected / size, got / size)
        } else {
            format!("expected {expected} bytes for {of}, got {got}")
        };
        Err(Error::invalid(name, "LENGTH_MISMATCH", words))
    }

    /// The bytes that the shape asks for.
    fn expected(&self, name: &str) -> Result<usize, Error> {
        bytes_of(&self.shape, self.dtype).ok_or_else(|| {
            let words = format_args!("expected one that fits memory, got {:?}", self.shape);
            Error::invalid(&format!("{name}.shape"), "SHAPE_OVERFLOW", words)
        })
    }

    fn tensor(&self, with_data: bool) -> proto::Tensor {
        let spec = self.spec();
        let data = with_data.then(|| proto::tensor::Data::Raw(self.data.whole()));
        proto::Tensor { dtype: spec.dtype, shape: spec.shape, data }
    }

    fn spec(&self) -> proto::TensorSpec {
        // Sizes beyond i64 belong to tensors without elements: check() has let no other pass.
        let size = |&size: &usize| i64::try_from(size).unwrap_or(i64::MAX);
        proto::TensorSpec {
            dtype: self.dtype.wire().into(),
            shape: self.shape.iter().map(size).collect(),
        }
    }
}

/// Bytes of a tensor, or `None` where memory could not hold them.
pub(crate) fn bytes_of(shape: &[usize], dtype: Dtype) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    let bytes = shape.iter().try_fold(dtype.size(), |product, &size| product.checked_mul(size))?;
    isize::try_from(bytes).is_ok().then_some(bytes)
}
