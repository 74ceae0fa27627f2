//! The messages of EvaluateStream, and how large messages may be.

use bytes::Bytes;

use crate::body::Body;
use crate::proto::EvaluateStreamRequest;
use crate::tensor_ref::{Data, Operand};

/// Every server takes messages of this size: its flag goes no lower.
const SMALLEST_LIMIT: usize = 1 << 16;

/// Room in a message for all that is not data: tags, lengths, and a header without its weight.
const OVERHEAD: usize = 1 << 12;

/// Data of this size fits a message of every server. A class weight of this size goes in the header.
pub(crate) const ALWAYS_FITS: usize = SMALLEST_LIMIT - OVERHEAD;

/// How much data fits a message of a server with this limit.
pub(crate) fn most_data(max_message_bytes: u64) -> usize {
    let limit = usize::try_from(max_message_bytes).unwrap_or(usize::MAX);
    limit.saturating_sub(OVERHEAD).max(ALWAYS_FITS)
}

/// The messages of a problem, in an order that every server accepts: the header, a large weight, class
/// indices, then the input with the companions that go along with it in step.
pub(crate) struct Chunks<'p, 'a> {
    body: &'p Body<'a>,
    /// Data in a message, all operands together. Rounding adds a few bytes.
    size: usize,
    next: Next,
}

/// What comes next, and how many bytes of it have gone.
#[derive(Clone, Copy)]
enum Next {
    Header,
    Weight(usize),
    Labels(usize),
    Input(usize),
    End,
}

impl<'p, 'a> Chunks<'p, 'a> {
    pub(crate) fn new(body: &'p Body<'a>, size: usize) -> Self {
        Self { body, size, next: Next::Header }
    }

    fn header(&mut self) -> EvaluateStreamRequest {
        let inside = self.body.weight.as_ref().is_none_or(|it| it.data.len() <= ALWAYS_FITS);
        self.next = if inside { self.labels(0) } else { Next::Weight(0) };
        let header = Some(self.body.header(inside));
        EvaluateStreamRequest { header, ..Default::default() }
    }

    fn labels(&self, sent: usize) -> Next {
        let more = self.body.has_labels() && sent < self.body.target.data.len();
        if more { Next::Labels(sent) } else { Next::Input(0) }
    }

    fn piece(&self, operand: &Operand<'_>, begin: usize) -> (Bytes, usize) {
        let end = operand.data.len().min(begin.saturating_add(self.size));
        (operand.data.part(begin..end), end)
    }

    /// A piece of the input, and the same share of its companions.
    fn in_step(&mut self, begin: usize) -> EvaluateStreamRequest {
        let input = &self.body.input.data;
        let end = input.len().min(begin.saturating_add(self.step(input.len())));
        self.next = if end < input.len() { Next::Input(end) } else { Next::End };
        self.with_companions(input.part(begin..end), begin, input.len())
    }

    /// The message of a piece of the input that begins at a byte of `total`.
    pub(crate) fn with_companions(
        &self,
        input: Bytes,
        begin: usize,
        total: usize,
    ) -> EvaluateStreamRequest {
        let end = begin.saturating_add(input.len()).min(total);
        let part = |data: &Data<'_>| {
            let gone = if begin == 0 { 0 } else { share(data.len(), begin.min(total), total) };
            data.part(gone..share(data.len(), end, total))
        };
        let target = (!self.body.has_labels()).then(|| part(&self.body.target.data));
        let gradient = self.body.grad_output.as_ref().map(|gradient| part(&gradient.data));
        EvaluateStreamRequest {
            target: target.unwrap_or_default(),
            grad_output: gradient.unwrap_or_default(),
            input,
            ..Default::default()
        }
    }

    /// True once all that comes before the input has gone.
    pub(crate) fn is_at_input(&self) -> bool {
        matches!(self.next, Next::Input(_) | Next::End)
    }

    /// Bytes of input in a message that carries its share of the companions too.
    pub(crate) fn step(&self, input: usize) -> usize {
        let gradient = self.body.grad_output.as_ref().map_or(0, |gradient| gradient.data.len());
        let target = if self.body.has_labels() { 0 } else { self.body.target.data.len() };
        let total = (input as u128 + target as u128 + gradient as u128).max(1);
        let step = self.size as u128 * input as u128 / total;
        usize::try_from(step).unwrap_or(usize::MAX).max(1)
    }
}

impl Iterator for Chunks<'_, '_> {
    type Item = EvaluateStreamRequest;

    fn next(&mut self) -> Option<EvaluateStreamRequest> {
        let body = self.body;
        match (self.next, &body.weight) {
            (Next::Header, _) => Some(self.header()),
            (Next::Weight(sent), Some(operand)) => {
                let (weight, end) = self.piece(operand, sent);
                let more = end < operand.data.len();
                self.next = if more { Next::Weight(end) } else { self.labels(0) };
                Some(EvaluateStreamRequest { weight, ..Default::default() })
            }
            (Next::Labels(sent), _) => {
                let (target, end) = self.piece(&body.target, sent);
                self.next = self.labels(end);
                Some(EvaluateStreamRequest { target, ..Default::default() })
            }
            (Next::Input(begin), _) => Some(self.in_step(begin)),
            (Next::Weight(_), None) | (Next::End, _) => None,
        }
    }
}

/// How many bytes of a companion have gone when `end` of `total` bytes of the input have. A scalar goes
/// at once.
fn share(companion: usize, end: usize, total: usize) -> usize {
    if companion <= 8 || end == total {
        return companion;
    }
    // The share of a usize is one.
    (companion as u128 * end as u128 / total as u128) as usize
}
