//! From the status of a failed call to [`Error`].

use std::error::Error as _;

use prost::Message as _;
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::code::Code;
use crate::error::Error;
use crate::failure::Failure;

/// The error for a status, from the server or from tonic.
pub(crate) fn from_status(status: tonic::Status, address: &str) -> Error {
    // Statuses that came over the wire have no source.
    let local = status.source().is_some();
    let code = if local { local_code(&status) } else { status.code().into() };
    let details = status.get_error_details();
    let path = path_of(&details);
    let field = argument(&path);
    let mut message = if local { chain(&status) } else { status.message().to_owned() };
    if let Some(rest) = message.strip_prefix(&path).filter(|rest| rest.starts_with(": ")) {
        message = format!("{field}{rest}");
    }
    explain(&mut message, code, local || details.error_info().is_none(), address);
    let (reason, metadata) = match details.error_info() {
        Some(info) => (info.reason.clone(), info.metadata.clone()),
        None => Default::default(),
    };
    let retry_after = details.retry_info().and_then(|info| info.retry_delay);
    let field = field.to_owned();
    let status = Some(status);
    Error::from(Failure { code, message, field, reason, retry_after, metadata, status })
}

/// The error for an answer of EvaluateMany.
pub(crate) fn from_answer(answer: &tonic_types::Status, address: &str) -> Error {
    let details = answer.encode_to_vec().into();
    let code = tonic::Code::from(answer.code);
    from_status(tonic::Status::with_details(code, answer.message.clone(), details), address)
}

/// Errors that tonic makes where there was no answer are of the connection, whatever code tonic finds
/// for them: that depends on its features. Its one other is the time limit of a call.
fn local_code(status: &tonic::Status) -> Code {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::TimeoutExpired>() {
            return Code::DeadlineExceeded;
        }
        cause = error.source();
    }
    Code::Unavailable
}

/// The texts of an error and its causes, without repetitions.
fn chain(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = if text.is_empty() { words } else { format!("{text}: {words}") };
        }
        cause = error.source();
    }
    text
}

fn explain(message: &mut String, code: Code, foreign: bool, address: &str) {
    if message.is_empty() {
        message.push_str("no message");
    }
    if foreign {
        *message = format!("{address}: {message}");
    }
    if code == Code::Unimplemented {
        message.push_str("; is it a lossd server that answers at this address?");
    }
    if code == Code::ResourceExhausted && message.contains("larger than max") {
        message.push_str("; Transport::Stream sends a problem in pieces");
    }
}

fn path_of(details: &ErrorDetails) -> String {
    details
        .bad_request()
        .and_then(|bad| bad.field_violations.first())
        .map(|violation| violation.field.clone())
        .unwrap_or_default()
}

/// The argument that a path of the protocol stands for, in the names of this crate's builders.
fn argument(path: &str) -> &str {
    const OWNERS: [&str; 6] =
        ["request.", "header.", "criterion.", "cross_entropy.", "nll_loss.", "outputs."];
    let name = OWNERS.iter().fold(path, |rest, owner| rest.strip_prefix(owner).unwrap_or(rest));
    if name == "grad_input" { "grad" } else { name }
}

#[cfg(test)]
mod tests {
    use super::argument;

    #[test]
    fn paths_are_arguments() {
        assert_eq!(argument("criterion.cross_entropy.label_smoothing"), "label_smoothing");
        assert_eq!(argument("header.criterion.nll_loss.weight.shape"), "weight.shape");
        assert_eq!(argument("request.outputs.grad_input"), "grad");
        assert_eq!(argument("target[17]"), "target[17]");
        assert_eq!(argument(""), "");
    }
}
