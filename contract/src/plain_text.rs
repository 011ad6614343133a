//! Texts of a plugin, cut to a length and without control characters.
//!
//! The texts reach terminals, pages and generated code. Their writers escape what is special there,
//! and use [`is_control`] for texts that were not read by this crate.

/// The most characters of a summary, of a title, and of what an error means.
pub(crate) const LINE_MAX: usize = 500;
/// The most characters of a description.
pub(crate) const TEXT_MAX: usize = 8_000;

/// Returns the text in one line. Control characters become spaces.
pub(crate) fn line(text: &str) -> String {
    let plain = text.chars().map(|c| if is_control(c) { ' ' } else { c });
    cut(plain, LINE_MAX)
}

/// Returns the text with its line breaks and tabs, and without other control characters.
pub(crate) fn lines(text: &str) -> String {
    cut(text.chars().filter(|c| matches!(c, '\n' | '\t') || !is_control(*c)), TEXT_MAX)
}

/// Returns whether a character controls a terminal, ends a line, or changes the direction of the
/// text around it.
#[must_use]
pub fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the first characters. An ellipsis replaces the last one if there are more.
pub(crate) fn cut(text: impl Iterator<Item = char>, max: usize) -> String {
    let mut text = text.fuse();
    let mut kept: String = text.by_ref().take(max).collect();
    if text.next().is_some() {
        kept.pop();
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_control_characters() {
        assert_eq!(line("a\u{1b}[31m\nb\u{202e}"), "a [31m b ");
        assert_eq!(lines("a\r\n\tb\u{7}"), "a\n\tb");
    }

    #[test]
    fn cuts_long_texts_the_same_way_again() {
        let cut = line(&"ä".repeat(1 << 20));
        assert_eq!(cut.chars().count(), LINE_MAX);
        assert!(cut.ends_with("ä…"));
        assert_eq!(line(&cut), cut);
        assert_eq!(lines(&"a".repeat(TEXT_MAX)), "a".repeat(TEXT_MAX));
    }
}
