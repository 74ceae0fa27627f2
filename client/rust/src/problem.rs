//! Problems, by builders.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::body::{Body, Kind};
use crate::element::{Element, Float};
use crate::options::{EmptyMean, Progress, Reduction, Transport};
use crate::tensor_ref::IntoTensor;

/// Markers of the losses: the third parameter of [`Problem`].
pub mod kind {
    /// Cross-entropy.
    #[derive(Debug, Clone, Copy)]
    pub enum CrossEntropy {}
    /// Negative log-likelihood.
    #[derive(Debug, Clone, Copy)]
    pub enum NllLoss {}
}

/// Cross-entropy between logits and class indices or class probabilities, as
/// `torch.nn.functional.cross_entropy`.
pub type CrossEntropy<'a, T> = Problem<'a, T, kind::CrossEntropy>;

/// Negative log-likelihood of class indices, given log-probabilities, as
/// `torch.nn.functional.nll_loss`.
pub type NllLoss<'a, T> = Problem<'a, T, kind::NllLoss>;

/// A problem: its tensors, which may be borrowed, and its options.
///
/// Make one by [`CrossEntropy::new`] or [`NllLoss::new`] and give it to
/// [`Client::evaluate`](crate::Client::evaluate). A clone borrows the same tensors.
///
/// `T` is the type of the input: `f32`, `f64`, or `half::f16` and `half::bf16` with the feature `half`.
/// The weight, a probability target and the incoming gradient are of that type too, or of `f32` beside
/// a half-precision input.
#[must_use = "a problem is evaluated by Client::evaluate"]
pub struct Problem<'a, T, K> {
    pub(crate) body: Body<'a>,
    types: PhantomData<(T, K)>,
}

impl<T, K> Clone for Problem<'_, T, K> {
    fn clone(&self) -> Self {
        Self { body: self.body.clone(), types: PhantomData }
    }
}

impl<T, K> fmt::Debug for Problem<'_, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the elements: they are many, and private.
        let body = &self.body;
        write!(f, "{:?} of {} {:?}", body.kind, body.input.dtype, body.input.shape)?;
        write!(f, " with a target of {} {:?}", body.target.dtype, body.target.shape)
    }
}

impl<'a, T: Float> CrossEntropy<'a, T> {
    /// A problem.
    ///
    /// - `logits`: (C), (N, C) or (N, C, d1, ..., dK), with at least one class C.
    /// - `target`: class indices of any integer type, of the logits' shape without the class axis; or
    ///   probabilities of the logits' shape.
    pub fn new<Logits, Target>(logits: Logits, target: Target) -> Self
    where
        Logits: IntoTensor<'a, Elem = T>,
        Target: IntoTensor<'a>,
    {
        Self::of(Kind::CrossEntropy, logits, target)
    }

    /// Share of the target's mass that is spread evenly over all classes, in [0, 1]; 0 unless set.
    pub fn label_smoothing(mut self, share: f64) -> Self {
        self.body.label_smoothing = share;
        self
    }

    /// Also asks for the gradient of a probability target, of its shape and type.
    pub fn grad_target(mut self) -> Self {
        self.body.outputs.grad_target = true;
        self
    }
}

impl<'a, T: Float> NllLoss<'a, T> {
    /// A problem.
    ///
    /// - `log_probabilities`: (C), (N, C) or (N, C, d1, ..., dK), with at least one class C. They are
    ///   taken as they are.
    /// - `target`: class indices of any integer type, of the input's shape without the class axis.
    pub fn new<Input, Target>(log_probabilities: Input, target: Target) -> Self
    where
        Input: IntoTensor<'a, Elem = T>,
        Target: IntoTensor<'a>,
    {
        Self::of(Kind::NllLoss, log_probabilities, target)
    }
}

impl<'a, T: Float, K> Problem<'a, T, K> {
    fn of<I, Target>(kind: Kind, input: I, target: Target) -> Self
    where
        I: IntoTensor<'a, Elem = T>,
        Target: IntoTensor<'a>,
    {
        let body = Body::new(kind, input.into_tensor().into(), target.into_tensor().into());
        Self { body, types: PhantomData }
    }

    /// A weight for each class: shape (C). All are 1 unless set.
    pub fn weight<W: Element>(mut self, weight: impl IntoTensor<'a, Elem = W>) -> Self {
        self.body.weight = Some(weight.into_tensor().into());
        self
    }

    /// A label whose positions neither count nor get a gradient; it need not be a class. -100 unless
    /// set. Beside a probability target it may not be 0 or above.
    pub fn ignore_index(mut self, label: i64) -> Self {
        self.body.ignore_index = Some(label);
        self
    }

    /// The reduction; the mean unless set.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.body.reduction = reduction;
        self
    }

    /// Axis of the input that holds the classes, negative from the end: -1 for classes last. Unless
    /// set it is 1, or 0 for an input of one dimension.
    pub fn class_axis(mut self, axis: i32) -> Self {
        self.body.class_axis = Some(axis);
        self
    }

    /// What the mean is where no position counts; NaN unless set.
    pub fn empty_mean(mut self, value: EmptyMean) -> Self {
        self.body.empty_mean = value;
        self
    }

    /// Divisor of the mean in place of the one that follows from the targets, so that the shards of a
    /// batch give the gradients of the whole batch. Finite and not 0.
    pub fn normalizer(mut self, divisor: f64) -> Self {
        self.body.normalizer = Some(divisor);
        self
    }

    /// Also asks for the gradient of the input.
    pub fn grad(mut self) -> Self {
        self.body.outputs.grad_input = true;
        self
    }

    /// Also asks for the gradient of the class weights, of their shape and type.
    pub fn grad_weight(mut self) -> Self {
        self.body.outputs.grad_weight = true;
        self
    }

    /// The incoming gradient, of the loss's shape; all ones unless set. It needs a gradient asked for.
    pub fn grad_output<G: Element>(mut self, gradient: impl IntoTensor<'a, Elem = G>) -> Self {
        self.body.grad_output = Some(gradient.into_tensor().into());
        self
    }

    /// Also asks for log(sum(exp(x))) of each position.
    pub fn log_sum_exp(mut self) -> Self {
        self.body.outputs.log_sum_exp = true;
        self
    }

    /// Also counts the positions whose class is among the `k` greatest logits.
    pub fn top_k(mut self, k: u32) -> Self {
        self.body.outputs.top_k = k;
        self
    }

    /// How the problem travels; by its size unless set.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.body.transport = transport;
        self
    }

    /// Bytes of tensors in one message of a stream, all tensors together; 1 MiB unless set, at least
    /// 1, and cut to what the server takes.
    pub fn chunk_bytes(mut self, bytes: usize) -> Self {
        self.body.chunk_bytes = bytes.max(1);
        self
    }

    /// Calls a function after each message that was sent or received, on the task that awaits the
    /// result. It starts anew where a broken stream is sent again. `evaluate_many` does not call it.
    pub fn progress(mut self, report: impl Fn(Progress) + Send + Sync + 'a) -> Self {
        self.body.progress = Some(Arc::new(report));
        self
    }
}
