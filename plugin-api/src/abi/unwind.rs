//! The text of a caught panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::failure_text::NOT_TEXT;

/// Returns the text of a panic, and drops its payload without a second panic.
pub(super) fn panic_text(payload: Box<dyn Any + Send>) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| NOT_TEXT.to_owned());

    // If the `Drop` of the payload panics, the payload of that panic is leaked: dropping it could
    // panic again, without end.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            std::panic::panic_any(PanicsWhenDropped);
        }
    }

    #[test]
    fn reads_a_text_payload() {
        assert_eq!(panic_text(Box::new("static")), "static");
        assert_eq!(panic_text(Box::new("owned".to_owned())), "owned");
    }

    #[test]
    fn survives_a_payload_that_panics_when_dropped() {
        assert_eq!(panic_text(Box::new(PanicsWhenDropped)), NOT_TEXT);
    }
}
