//! Message patterns: text with placeholders, compared with another text with placeholders.
//!
//! A message in the code (`plugin {name}: {count} failures`) and its entry in the log reference
//! (`plugin NAME: N failures`) are the same message if some text fits both and they have enough
//! words in common. The second condition keeps a pattern of placeholders from matching everything.

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// Any text, also none.
    Placeholder,
    /// A word or a punctuation mark. White space is not significant.
    Fixed(String),
}

impl Token {
    /// Returns whether this is fixed text that distinguishes messages: a word with a letter in
    /// lower case, because an entry has placeholders for words in capitals.
    fn is_word(&self) -> bool {
        matches!(self, Self::Fixed(text) if text.contains(|c: char| c.is_ascii_lowercase()))
    }
}

/// A message with placeholders.
#[derive(Debug, Clone)]
pub(super) struct MessagePattern {
    /// The text as it was written, for reports.
    pub(super) text: String,
    tokens: Vec<Token>,
}

impl MessagePattern {
    /// Parses the format string of a logging macro: `{...}` is a placeholder, `{{` a brace.
    pub(super) fn of_format_string(text: &str) -> Self {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (fixed, placeholder) = rest.split_at(at);
            tokens.extend(words(fixed).map(Token::Fixed));

            if placeholder.starts_with("{{") || placeholder.starts_with("}}") {
                tokens.push(Token::Fixed(placeholder[..1].to_owned()));
                rest = &placeholder[2..];
            } else {
                tokens.push(Token::Placeholder);
                rest = placeholder.split_once('}').map_or("", |(_, rest)| rest);
            }
        }
        tokens.extend(words(rest).map(Token::Fixed));
        Self { text: text.to_owned(), tokens }
    }

    /// Parses an entry of the log reference: words in capitals are placeholders.
    pub(super) fn of_entry(text: &str) -> Self {
        let token = |word: String| {
            let is_placeholder = word.starts_with(|c: char| c.is_ascii_uppercase())
                && !word.contains(|c: char| c.is_ascii_lowercase());
            if is_placeholder { Token::Placeholder } else { Token::Fixed(word) }
        };
        Self { text: text.to_owned(), tokens: words(text).map(token).collect() }
    }

    /// Returns whether `entry` is the entry of this message: some text fits both, and they have
    /// enough words in common.
    ///
    /// An entry may be longer than the message if it has the text of one value of a placeholder.
    pub(super) fn is_described_by(&self, entry: &Self) -> bool {
        let Some(common) = common_words(&self.tokens, &entry.tokens) else { return false };

        common >= 2 && common * 2 >= self.word_count() && common * 3 >= entry.word_count()
    }

    fn word_count(&self) -> usize {
        self.tokens.iter().filter(|token| token.is_word()).count()
    }
}

/// Splits a text into words (letters, digits, `_`) and single punctuation marks.
fn words(text: &str) -> impl Iterator<Item = String> {
    let mut found: Vec<String> = Vec::new();
    let mut in_word = false;
    for c in text.chars() {
        let is_of_word = c.is_alphanumeric() || c == '_';
        match found.last_mut() {
            Some(word) if is_of_word && in_word => word.push(c),
            _ if !c.is_whitespace() => found.push(c.to_string()),
            _ => {}
        }
        in_word = is_of_word;
    }
    found.into_iter()
}

/// Returns the largest number of words that two patterns have in common when one text fits both, or
/// `None` if no text does.
fn common_words(a: &[Token], b: &[Token]) -> Option<usize> {
    // best[i][j] is the result for a[i..] and b[j..].
    let mut best = vec![vec![None; b.len() + 1]; a.len() + 1];
    best[a.len()][b.len()] = Some(0);

    for i in (0..=a.len()).rev() {
        for j in (0..=b.len()).rev() {
            let mut result = best[i][j];
            let has_placeholder =
                a.get(i) == Some(&Token::Placeholder) || b.get(j) == Some(&Token::Placeholder);
            if i < a.len() && has_placeholder {
                result = result.max(best[i + 1][j]);
            }
            if j < b.len() && has_placeholder {
                result = result.max(best[i][j + 1]);
            }
            if i < a.len() && j < b.len() && a[i] == b[j] {
                let counted = usize::from(a[i].is_word());
                result = result.max(best[i + 1][j + 1].map(|rest| rest + counted));
            }
            best[i][j] = result;
        }
    }
    best[0][0]
}

fn is_described(format_string: &str, entry: &str) -> bool {
    MessagePattern::of_format_string(format_string).is_described_by(&MessagePattern::of_entry(entry))
}

#[test]
fn matches_a_message_with_the_entry_that_names_its_values() {
    let message = "plugin {plugin}: circuit breaker opened for {length:?}: {failures} failures in {window:?}";
    assert!(is_described(message, "plugin NAME: circuit breaker opened for TIME: N failures in TIME"));
    assert!(!is_described(message, "plugin NAME: circuit breaker closed"));

    let constant = "{dropped} log lines dropped: more than {MAX_LINES} in a second from {module}:{line}";
    assert!(is_described(constant, "N log lines dropped: more than 500 in a second from MODULE:LINE"));
    assert!(!is_described(constant, "N log lines dropped: the log reader stalled"));

    assert!(is_described(
        "stopping now on {name}: answered {{}} {0}",
        "stopping now on NAME: answered {} CODE"
    ));
}

#[test]
fn matches_an_entry_for_one_of_the_values_of_a_placeholder() {
    let message = "plugin {plugin}: {file} refused ({reason}): {detail}; {effect}";
    assert!(is_described(message, "plugin NAME: FILE refused (REASON): DETAIL; generation N still serves"));
    assert!(is_described(message, "plugin NAME: FILE refused (REASON): DETAIL; the plugin is unavailable"));

    let replaced = "{method} has blocked I/O thread {thread} for {age}; another thread takes its place";
    assert!(!is_described(
        replaced,
        "METHOD has blocked I/O thread N for TIME; no thread could take its place"
    ));
}

#[test]
fn matches_no_message_without_text_of_its_own() {
    assert!(!is_described("{line}", "plugin NAME: circuit breaker closed"));
    assert!(!is_described("{file}: {fault}", "FILE: KEY is deprecated: rename it to KEY"));
    assert!(!is_described("", "plugin NAME: circuit breaker closed"));
}
