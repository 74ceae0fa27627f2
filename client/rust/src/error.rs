//! The error of every call.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::code::Code;
use crate::failure::Failure;

/// Why a call failed.
///
/// Every variant carries a [`Failure`] with the same facts, which the methods of this type give too.
///
/// ```no_run
/// # async fn f(client: lossd_client::Client) {
/// use lossd_client::{CrossEntropy, Error};
///
/// match client.evaluate(CrossEntropy::new(&[[1.0f32, 2.0], [3.0, 1.0]], &[7i64, 0])).await {
///     Err(Error::Invalid(failure)) => eprintln!("{}: {failure}", failure.field()),
///     Err(error) if error.retry_after().is_some() => eprintln!("busy: {error}"),
///     other => drop(other),
/// }
/// # }
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The problem or an argument is not valid; nothing was computed. [`Error::field`] names it.
    #[error(transparent)]
    Invalid(Box<Failure>),
    /// A limit was passed, or the server is busy: then [`Error::retry_after`] says when to try again.
    #[error(transparent)]
    Exhausted(Box<Failure>),
    /// The server cannot be reached, or the connection broke.
    #[error(transparent)]
    Unavailable(Box<Failure>),
    /// The call took longer than its timeout. With a reason it is the server's doing.
    #[error(transparent)]
    DeadlineExceeded(Box<Failure>),
    /// The server, or something in between, cancelled the call.
    #[error(transparent)]
    Cancelled(Box<Failure>),
    /// The server wants a token, or another one.
    #[error(transparent)]
    Unauthenticated(Box<Failure>),
    /// The token does not allow this.
    #[error(transparent)]
    PermissionDenied(Box<Failure>),
    /// The server does not offer the wanted thing.
    #[error(transparent)]
    FailedPrecondition(Box<Failure>),
    /// The server does not know the call: another service answers at this address.
    #[error(transparent)]
    Unimplemented(Box<Failure>),
    /// The server ended the call with OK, but its answer does not fit the question.
    #[error(transparent)]
    UnexpectedReply(Box<Failure>),
    /// Any other code.
    #[error(transparent)]
    Other(Box<Failure>),
}

impl Error {
    /// The facts of the failure.
    #[must_use]
    pub fn failure(&self) -> &Failure {
        match self {
            Self::Invalid(failure)
            | Self::Exhausted(failure)
            | Self::Unavailable(failure)
            | Self::DeadlineExceeded(failure)
            | Self::Cancelled(failure)
            | Self::Unauthenticated(failure)
            | Self::PermissionDenied(failure)
            | Self::FailedPrecondition(failure)
            | Self::Unimplemented(failure)
            | Self::UnexpectedReply(failure)
            | Self::Other(failure) => failure,
        }
    }

    /// The canonical gRPC code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.failure().code
    }

    /// Path of the argument at fault, such as `target[17]` or `label_smoothing`; empty where none is.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.failure().field
    }

    /// A stable word of docs/errors.md, such as `LABEL_OUT_OF_RANGE`; empty where there is none.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.failure().reason
    }

    /// What was expected and what was got, beginning with the field or the address.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.failure().message
    }

    /// After how long the call may succeed, where the server said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.failure().retry_after
    }

    /// The numbers of the message by their names (docs/errors.md), in decimal.
    #[must_use]
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.failure().metadata
    }

    /// The status as tonic gave it; `None` where the client itself found the fault.
    #[must_use]
    pub fn status(&self) -> Option<&tonic::Status> {
        self.failure().status.as_ref()
    }

    /// Whether the same call may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_)) || self.retry_after().is_some()
    }

    pub(crate) fn invalid(field: &str, reason: &str, words: impl fmt::Display) -> Self {
        Self::from(Failure {
            field: field.to_owned(),
            reason: reason.to_owned(),
            ..Failure::new(Code::InvalidArgument, format!("{field}: {words}"))
        })
    }

    pub(crate) fn unexpected(words: impl fmt::Display) -> Self {
        Self::UnexpectedReply(Box::new(Failure::new(
            Code::Internal,
            format!("the server's answer is not one to this call: {words}"),
        )))
    }

    pub(crate) fn exhausted(field: &str, reason: &str, words: impl fmt::Display) -> Self {
        Self::from(Failure {
            field: field.to_owned(),
            reason: reason.to_owned(),
            ..Failure::new(Code::ResourceExhausted, format!("{field}: {words}"))
        })
    }

    pub(crate) fn deadline() -> Self {
        let words = "the timeout passed before the call had ended";
        Self::from(Failure::new(Code::DeadlineExceeded, words.to_owned()))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let variant = match failure.code {
            Code::InvalidArgument => Self::Invalid,
            Code::ResourceExhausted => Self::Exhausted,
            Code::Unavailable => Self::Unavailable,
            Code::DeadlineExceeded => Self::DeadlineExceeded,
            Code::Cancelled => Self::Cancelled,
            Code::Unauthenticated => Self::Unauthenticated,
            Code::PermissionDenied => Self::PermissionDenied,
            Code::FailedPrecondition => Self::FailedPrecondition,
            Code::Unimplemented => Self::Unimplemented,
            _ => Self::Other,
        };
        variant(Box::new(failure))
    }
}
