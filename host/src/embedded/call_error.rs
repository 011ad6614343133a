//! Why a call of the embedding program has no result.

use jackfield_plugin_api::Error;
use jackfield_protocol::Code;

use crate::routing::ProgramError;

/// The reason why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The method ran and returned this error.
    #[error("{0} ({code})", code = .0.code())]
    Method(Error),
    /// The host did not run the method, or it has no result because of the host, of a panic or of a
    /// crash.
    #[error("{0}")]
    Host(HostCallError),
    /// The params of the program cannot be written as JSON.
    #[error("the params cannot be written as JSON: {0}")]
    Params(serde_json::Error),
    /// The result does not fit the type that the program asked for.
    #[error("the result does not fit: {0}")]
    Result(serde_json::Error),
    /// An option is outside of its limits.
    #[error("{0}")]
    Options(&'static str),
}

/// An error of the host, with the same codes as on the wire.
#[derive(Debug)]
pub struct HostCallError(Error);

impl HostCallError {
    /// Returns the code, as docs/protocol.md lists it.
    #[must_use]
    pub fn code(&self) -> i64 {
        self.0.code()
    }

    /// Returns the name of the code, such as `DEADLINE_EXCEEDED`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        Code::from_i64(self.code()).map_or("INTERNAL_ERROR", |code| code.name())
    }

    /// Returns the message.
    #[must_use]
    pub fn message(&self) -> &str {
        self.0.message()
    }

    /// Returns the data as JSON, such as `{"retry_after_ms":100}`.
    #[must_use]
    pub fn data_json(&self) -> Option<&str> {
        self.0.data_json()
    }
}

impl std::fmt::Display for HostCallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} {})", self.message(), self.name(), self.code())
    }
}

impl std::error::Error for HostCallError {}

impl CallError {
    /// Returns the code of an error of the method or of the host, as a client would receive it.
    #[must_use]
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Method(error) => Some(error.code()),
            Self::Host(error) => Some(error.code()),
            Self::Params(_) | Self::Result(_) | Self::Options(_) => None,
        }
    }
}

impl From<ProgramError> for CallError {
    fn from(ProgramError { error, is_of_method }: ProgramError) -> Self {
        if is_of_method { Self::Method(error) } else { Self::Host(HostCallError(error)) }
    }
}
