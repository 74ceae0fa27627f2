//! The facts of a failed call.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::code::Code;

/// The facts of a failed call; [`Error`](crate::Error) has a method for each.
#[derive(Debug, Clone)]
pub struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) field: String,
    pub(crate) reason: String,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) metadata: HashMap<String, String>,
    pub(crate) status: Option<tonic::Status>,
}

impl Failure {
    pub(crate) fn new(code: Code, message: String) -> Self {
        Self {
            code,
            message,
            field: String::new(),
            reason: String::new(),
            retry_after: None,
            metadata: HashMap::new(),
            status: None,
        }
    }

    /// As [`Error::field`](crate::Error::field).
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// As [`Error::reason`](crate::Error::reason).
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        if !self.reason.is_empty() {
            write!(f, " [{}]", self.reason)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.status.as_ref().map(|status| status as _)
    }
}
