//! Sanitizes every value of every log line: control characters are escaped, long values are cut.
//!
//! All formats use this one layer, so that none of them can let text from outside through.

use std::borrow::Cow;
use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Value, Visit, display};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::rate_limit::RateLimiter;

/// Upper bound for a value of a line, in bytes. A longer one is cut, and the line says so. A line
/// has few values, so that this also limits lines.
const MAX_VALUE_BYTES: usize = 8 * 1024;

/// Upper bound for the number of values of a line (the limit of `tracing`).
const MAX_VALUES: usize = 32;

/// Returns whether a character controls a terminal or the direction of text instead of being shown.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns `text` with every control character escaped, so that it can neither move the cursor of a
/// terminal nor begin a line of its own.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_control) {
        return Cow::Borrowed(text);
    }

    let mut shown = EscapedText::default();
    // Writing to a `String` does not fail.
    let _ = shown.write_str(text);
    Cow::Owned(shown.text)
}

/// A text under construction, escaped and cut at [`MAX_VALUE_BYTES`] bytes.
#[derive(Default)]
struct EscapedText {
    text: String,
    /// Bytes that were cut off.
    cut_bytes: usize,
}

impl EscapedText {
    fn of(value: impl Debug) -> String {
        let mut shown = Self::default();
        // If the value fails to format itself, its text ends there.
        let _ = write!(shown, "{value:?}");
        shown.finish()
    }

    fn of_text(text: &str) -> String {
        let mut shown = Self::default();
        let _ = shown.write_str(text);
        shown.finish()
    }

    fn finish(mut self) -> String {
        if self.cut_bytes > 0 {
            let _ = write!(self.text, "... ({} bytes more)", self.cut_bytes);
        }
        self.text
    }
}

impl fmt::Write for EscapedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (at, c) in text.char_indices() {
            if self.text.len() >= MAX_VALUE_BYTES {
                self.cut_bytes += text.len() - at;
                break;
            }
            if is_control(c) {
                self.text.extend(c.escape_default());
            } else {
                self.text.push(c);
            }
        }
        Ok(())
    }
}

/// A value that is safe to write.
enum SanitizedValue {
    Text(String),
    /// Formatted by its own `Debug` implementation, and therefore written without quotes.
    Formatted(String),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Bool(bool),
}

/// The values of one line.
#[derive(Default)]
struct LineValues(Vec<(Field, SanitizedValue)>);

impl Visit for LineValues {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((field.clone(), SanitizedValue::Formatted(EscapedText::of(value))));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.clone(), SanitizedValue::Text(EscapedText::of_text(value))));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push((field.clone(), SanitizedValue::Signed(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.clone(), SanitizedValue::Unsigned(value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.push((field.clone(), SanitizedValue::Float(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push((field.clone(), SanitizedValue::Bool(value)));
    }
}

/// Passes each line on with sanitized values, unless the rate limiter drops it.
pub(super) struct SanitizingLayer<L> {
    pub(super) inner: L,
    pub(super) limiter: RateLimiter,
}

impl<S: Subscriber, L: Layer<S>> Layer<S> for SanitizingLayer<L> {
    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        if !self.limiter.admits(event) {
            return;
        }

        let mut values = LineValues::default();
        event.record(&mut values);
        let shown: Vec<_> = values
            .0
            .iter()
            .map(|(_, value)| match value {
                SanitizedValue::Formatted(text) => Some(display(text)),
                _ => None,
            })
            .collect();

        let Some((first, _)) = values.0.first() else { return };
        let mut all: [(&Field, Option<&dyn Value>); MAX_VALUES] = [(first, None); MAX_VALUES];
        for ((place, (field, value)), shown) in all.iter_mut().zip(&values.0).zip(&shown) {
            let value: Option<&dyn Value> = match value {
                SanitizedValue::Text(text) => Some(text),
                SanitizedValue::Formatted(_) => shown.as_ref().map(|shown| shown as &dyn Value),
                SanitizedValue::Signed(value) => Some(value),
                SanitizedValue::Unsigned(value) => Some(value),
                SanitizedValue::Float(value) => Some(value),
                SanitizedValue::Bool(value) => Some(value),
            };
            *place = (field, value);
        }

        let fields = event.metadata().fields().value_set(&all);
        self.inner.on_event(&Event::new(event.metadata(), &fields), cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_control_characters() {
        assert_eq!(printable("plain text, ünïcode"), "plain text, ünïcode");
        assert_eq!(printable("a\nb\u{1b}[31mc\u{9b}"), "a\\nb\\u{1b}[31mc\\u{9b}");
        assert_eq!(printable("a\u{202e}b\u{2028}c"), "a\\u{202e}b\\u{2028}c");
    }

    #[test]
    fn cuts_long_values_and_says_so() {
        let whole = "é".repeat(MAX_VALUE_BYTES / 2);
        assert_eq!(EscapedText::of_text(&whole), whole);
        let cut = EscapedText::of_text(&format!("{whole}{}", "x".repeat(1000)));
        assert_eq!(cut, format!("{whole}... (1000 bytes more)"));
        let controls = EscapedText::of(display("\n".repeat(1 << 20)));
        assert!(
            controls.len() < MAX_VALUE_BYTES + 100 && controls.ends_with(" bytes more)"),
            "{}",
            controls.len()
        );
    }
}
