//! Injected failures: in a build for tests, any step of a reload can be made to fail.
//!
//! The steps, in their order: `stage`, `names`, `room`, `probe`, `threads`, `load`, `start`,
//! `started`; during a state transfer, then `hold`, `held`, `hand-over`, `take-over` and `publish`.

use crate::loader::LoadError;

/// Fails if the file that `JACKFIELD_FAIL_AT` names contains `step`.
///
/// Without the feature `failpoints`, which no shipped program has, it does nothing.
///
/// # Errors
///
/// The injected failure.
#[cfg(feature = "failpoints")]
pub(crate) fn pass(step: &str) -> Result<(), LoadError> {
    let injected = std::env::var_os("JACKFIELD_FAIL_AT").and_then(|file| std::fs::read_to_string(file).ok());
    if injected.is_some_and(|injected| injected.trim() == step) {
        return Err(LoadError::new(
            crate::loader::LoadErrorReason::Injected,
            format_args!("a test injected a failure at {step}"),
        ));
    }
    Ok(())
}

#[cfg(not(feature = "failpoints"))]
#[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
pub(crate) fn pass(_step: &str) -> Result<(), LoadError> {
    Ok(())
}
