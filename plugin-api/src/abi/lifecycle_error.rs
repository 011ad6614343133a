//! Why a lifecycle phase of a plugin failed, or its description.

use super::call_end::CallEnd;

/// The reason why an instance did not start, or failed in another lifecycle phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LifecycleError {
    /// The plugin returned an error with this message.
    Refused(String),
    /// The plugin panicked with this text.
    Panicked(String),
}

impl std::fmt::Display for LifecycleError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(why) => f.write_str(why),
            Self::Panicked(why) => write!(f, "the plugin panicked: {why}"),
        }
    }
}

impl std::error::Error for LifecycleError {}

/// Returns the error of a phase that has ended.
pub(super) fn into_result(end: CallEnd) -> Result<(), LifecycleError> {
    match end {
        CallEnd::Done | CallEnd::DoneBytes => Ok(()),
        CallEnd::Failed { message, .. } => Err(LifecycleError::Refused(message)),
        CallEnd::Panicked(text) => Err(LifecycleError::Panicked(text)),
        // No call across the ABI ends like this.
        CallEnd::Crashed(_) => Err(LifecycleError::Refused("the process of the plugin ended".to_owned())),
    }
}
