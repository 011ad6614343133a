//! How comments and documents are written.

use super::assert_at_most;
use super::messages::CRATES;
use super::tree::{Piece, comments, files, pieces, rust_files_below};

/// The widest that a comment line may be, in characters.
const WIDEST: usize = 100;

/// Words that a sentence with a subject, a verb and an object does not begin with.
const OPENINGS: [&str; 9] = ["What", "Who", "Whoever", "Whose", "Nor", "Is it", "Was it", "Did it", "Had it"];

/// Words that the glossary replaces, and phrases that a reader has to decode.
const REPLACED: [&str; 22] = [
    "anew",
    "nought",
    "whoever",
    "gives back",
    "given back",
    "is told",
    "are told",
    "was told",
    "been told",
    "the one before",
    "the host before",
    "the generation before",
    "had better",
    "stillborn",
    "nursery",
    "farewell",
    "poker",
    "whom",
    "for the sake of",
    "in the works",
    "of late",
    "by and by",
];

/// Words that messages replace, too, but that a comment may use.
const REPLACED_IN_MESSAGES: [&str; 7] =
    ["cannot be told", "cannot tell", "left out", "died", "by itself", "by hand", "has gone"];

/// Phrases about how the project came about instead of what it is.
const ORIGINS: [&str; 4] = ["the user's design", "the user's go server", "as asked for", "the seed"];

#[test]
fn comments_open_with_their_subject() {
    let mut places = Vec::new();
    for file in files(&["rs", "php", "toml"]) {
        for comment in comments(&file).iter().filter(|comment| comment.begins && !comment.text.ends_with('?'))
        {
            let opens_with = |opening: &&str| {
                let rest = comment.text.strip_prefix(*opening);
                rest.is_some_and(|rest| rest.starts_with(|c: char| !c.is_alphanumeric() && c != '_'))
            };
            if OPENINGS.iter().any(opens_with) {
                places.push(format!("{}:{}: {}", file.path, comment.line, comment.text));
            }
        }
    }
    assert_at_most(
        0,
        &places,
        "a comment begins with its subject, not with a relative clause or an inversion",
    );
}

#[test]
fn comments_fit_into_their_width() {
    let mut places = Vec::new();
    for file in files(&["rs", "php", "toml"]) {
        let lines: Vec<_> = file.text.lines().collect();
        for comment in comments(&file) {
            let width = lines[comment.line - 1].chars().count();
            if width > WIDEST {
                places.push(format!("{}:{}: {width} columns", file.path, comment.line));
            }
        }
    }
    assert_at_most(0, &places, "a comment wraps at 100 columns");
}

#[test]
fn prose_uses_the_words_of_the_glossary() {
    let mut places = Vec::new();
    let is_exempt = |path: &str| path.starts_with("tests/style/");
    for file in files(&["rs", "php", "toml", "md"]).iter().filter(|file| !is_exempt(&file.path)) {
        let is_document = file.path.ends_with(".md");
        let in_comments: Vec<_> =
            comments(file).into_iter().map(|comment| (comment.line, comment.text)).collect();
        let in_document = file.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        let lines = if is_document { in_document.collect() } else { in_comments };

        for (number, line) in lines {
            let lower = line.to_lowercase();
            for word in REPLACED.iter().chain(&ORIGINS).filter(|word| contains_words(&lower, word)) {
                places.push(format!("{}:{number}: {word:?} in {}", file.path, line.trim()));
            }
        }
    }
    assert_at_most(0, &places, "prose uses standard terms; docs/glossary.md has them");
}

#[test]
fn messages_use_the_words_of_the_glossary() {
    let mut places = Vec::new();
    for file in CRATES.iter().flat_map(|directory| rust_files_below(directory)) {
        let product_code = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        for piece in pieces(product_code) {
            let Piece::Text(text) = piece else { continue };
            // A literal may continue on the next line after a backslash.
            let joined: String = text.split("\\\n").map(str::trim_start).collect();
            let lower = joined.to_lowercase();

            for word in REPLACED.iter().chain(&REPLACED_IN_MESSAGES) {
                if contains_words(&lower, word) {
                    places.push(format!("{}: {word:?} in {text:?}", file.path));
                }
            }
        }
    }
    assert_at_most(0, &places, "a message uses standard terms; docs/glossary.md has them");
}

/// Returns whether `text` contains `words` and no longer word around them.
fn contains_words(text: &str, words: &str) -> bool {
    text.match_indices(words).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + words.len()..].chars().next();
        let is_boundary =
            |neighbour: Option<char>| neighbour.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        is_boundary(before) && is_boundary(after)
    })
}
