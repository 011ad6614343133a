//! Failures that tests plant: each step of a reload can be told to fail, in a build that is made for that.
//!
//! The steps, in their order: `stage`, `names`, `room`, `probe`, `threads`, `load`, `start`, `started`; where state is
//! handed over, then `hold`, `held`, `hand-over`, `take-over` and `publish`.

use crate::loader::LoadError;

/// Fails if `step` is the one that the file named by `JACKFIELD_FAIL_AT` holds. Without the feature `failpoints`,
/// which no program that is shipped has, it is nothing.
#[cfg(feature = "failpoints")]
pub(crate) fn pass(step: &str) -> Result<(), LoadError> {
    let planted = std::env::var_os("JACKFIELD_FAIL_AT").and_then(|file| std::fs::read_to_string(file).ok());
    if planted.is_some_and(|planted| planted.trim() == step) {
        return Err(LoadError::new(
            crate::loader::LoadErrorReason::Injected,
            format_args!("a test planted a failure at {step}"),
        ));
    }
    Ok(())
}

#[cfg(not(feature = "failpoints"))]
#[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
pub(crate) fn pass(_step: &str) -> Result<(), LoadError> {
    Ok(())
}
