//! Every value of every line made harmless and short, whatever the format: one place for all of them.

use std::borrow::Cow;
use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Value, Visit, display};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::rate_limit::RateLimiter;

/// The longest value of a line, in bytes; more is cut, and said to be. A line has few values, so that lines have an
/// end as well.
const LONGEST: usize = 8 * 1024;

/// The most values of a line: `tracing` has no more.
const MOST: usize = 32;

/// Whether a character does something to a terminal, or to the order of what stands beside it, instead of being shown.
fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text from outside with every control character spelled out, so that it can neither move a terminal's cursor nor
/// begin a line of its own.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = EscapedText::default();
    // It does not fail.
    let _ = shown.write_str(text);
    Cow::Owned(shown.text)
}

/// Text that is being written, spelled out and cut at [`LONGEST`].
#[derive(Default)]
struct EscapedText {
    text: String,
    /// Bytes that there was no room for.
    left_out: usize,
}

impl EscapedText {
    fn of(value: impl Debug) -> String {
        let mut shown = Self::default();
        // What cannot be written stays as far as it came.
        let _ = write!(shown, "{value:?}");
        shown.finish()
    }

    fn of_text(text: &str) -> String {
        let mut shown = Self::default();
        let _ = shown.write_str(text);
        shown.finish()
    }

    fn finish(mut self) -> String {
        if self.left_out > 0 {
            let _ = write!(self.text, "... ({} bytes more)", self.left_out);
        }
        self.text
    }
}

impl fmt::Write for EscapedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (at, c) in text.char_indices() {
            if self.text.len() >= LONGEST {
                self.left_out += text.len() - at;
                break;
            }
            if acts(c) {
                self.text.extend(c.escape_default());
            } else {
                self.text.push(c);
            }
        }
        Ok(())
    }
}

/// A value as it may be written.
enum SanitizedValue {
    Text(String),
    /// Was shown in some way of its own, and stays without quotes.
    Shown(String),
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
        self.0.push((field.clone(), SanitizedValue::Shown(EscapedText::of(value))));
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

/// Hands every line on clean, unless there are too many like it.
pub(super) struct SanitizingLayer<L> {
    pub(super) inner: L,
    pub(super) flood: RateLimiter,
}

impl<S: Subscriber, L: Layer<S>> Layer<S> for SanitizingLayer<L> {
    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        if !self.flood.lets_through(event) {
            return;
        }
        let mut values = LineValues::default();
        event.record(&mut values);
        let shown: Vec<_> = values
            .0
            .iter()
            .map(|(_, value)| match value {
                SanitizedValue::Shown(text) => Some(display(text)),
                _ => None,
            })
            .collect();
        let Some((first, _)) = values.0.first() else { return };
        let mut all: [(&Field, Option<&dyn Value>); MOST] = [(first, None); MOST];
        for ((place, (field, value)), shown) in all.iter_mut().zip(&values.0).zip(&shown) {
            let value: Option<&dyn Value> = match value {
                SanitizedValue::Text(text) => Some(text),
                SanitizedValue::Shown(_) => shown.as_ref().map(|shown| shown as &dyn Value),
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
    fn what_acts_is_spelled_out() {
        assert_eq!(printable("plain text, ünïcode"), "plain text, ünïcode");
        assert_eq!(printable("a\nb\u{1b}[31mc\u{9b}"), "a\\nb\\u{1b}[31mc\\u{9b}");
        assert_eq!(printable("a\u{202e}b\u{2028}c"), "a\\u{202e}b\\u{2028}c");
    }

    #[test]
    fn what_is_long_is_cut_and_said_to_be() {
        let whole = "é".repeat(LONGEST / 2);
        assert_eq!(EscapedText::of_text(&whole), whole);
        let cut = EscapedText::of_text(&format!("{whole}{}", "x".repeat(1000)));
        assert_eq!(cut, format!("{whole}... (1000 bytes more)"));
        let controls = EscapedText::of(display("\n".repeat(1 << 20)));
        assert!(controls.len() < LONGEST + 100 && controls.ends_with(" bytes more)"), "{}", controls.len());
    }
}
