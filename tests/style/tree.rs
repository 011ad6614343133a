//! The project's own source files, and their text taken apart into code, comments and string
//! literals.

use std::fs;
use std::path::{Path, PathBuf};

/// Directories that hold nothing that people of the project write.
const SKIPPED: [&str; 6] = ["target", "run", "vectors", "corpus", "node_modules", "vendor"];

/// A text file of the project.
pub(crate) struct SourceFile {
    /// Relative to the project's root.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A line that is a comment and nothing else, without its marker.
pub(crate) struct Comment<'a> {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) text: &'a str,
    /// Whether it begins a sentence: the line before is not a comment, or ends one.
    pub(crate) begins: bool,
}

/// Returns all files with one of `extensions`, sorted by path.
pub(crate) fn files(extensions: &[&str]) -> Vec<SourceFile> {
    let root = root();
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();

    let has_extension = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| extensions.contains(&extension))
    };
    let read = |path: PathBuf| SourceFile {
        text: fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        path: path.strip_prefix(&root).unwrap().display().to_string(),
    };
    paths.into_iter().filter(has_extension).map(read).collect()
}

/// Returns the Rust files below `directory`, which is relative to the project's root.
pub(crate) fn rust_files_below(directory: &str) -> Vec<SourceFile> {
    let below = format!("{directory}/");
    let mut files = files(&["rs"]);
    files.retain(|file| file.path.starts_with(&below));
    assert!(!files.is_empty(), "{directory} has no Rust files");
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap_or_default();
        let is_skipped = name.starts_with('.') || SKIPPED.contains(&&*name);
        let kind = entry.file_type().unwrap();

        if kind.is_dir() && !is_skipped {
            collect(&entry.path(), paths);
        } else if kind.is_file() && name != "Cargo.lock" {
            paths.push(entry.path());
        }
    }
}

/// Returns the lines of `file` that are comments, by the comment syntax of its extension.
pub(crate) fn comments(file: &SourceFile) -> Vec<Comment<'_>> {
    let markers: &[&str] = match file.path.rsplit('.').next() {
        Some("rs") => &["//!", "///", "//"],
        Some("php") => &["//", "/**", "/*", "*/", "*"],
        _ => &["#"],
    };
    let mut comments = Vec::new();
    let mut ends_sentence = true;

    for (index, line) in file.text.lines().enumerate() {
        let trimmed = line.trim_start();
        let Some(marker) = markers.iter().find(|marker| trimmed.starts_with(**marker)) else {
            ends_sentence = true;
            continue;
        };
        let text = trimmed[marker.len()..].trim();
        comments.push(Comment { line: index + 1, text, begins: ends_sentence });
        ends_sentence = text.is_empty() || text.ends_with(['.', ':', '!', '?', '|', '`']);
    }
    comments
}

/// A piece of Rust source.
pub(crate) enum Piece<'a> {
    Code(&'a str),
    /// A string literal without its quotes.
    Text(&'a str),
}

/// Splits Rust source into code and string literals, with comments left out.
pub(crate) fn pieces(source: &str) -> Vec<Piece<'_>> {
    let bytes = source.as_bytes();
    let mut pieces = Vec::new();
    let (mut begin, mut at) = (0, 0);

    while at < bytes.len() {
        let rest = &source[at..];
        let (skipped, text) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), None)
        } else if rest.starts_with("/*") {
            (rest.find("*/").map_or(rest.len(), |end| end + 2), None)
        } else if let Some(hashes) = raw_string_hashes(rest) {
            let open = hashes + 2;
            let close = format!("\"{}", "#".repeat(hashes));
            let end = rest[open..].find(&close).map_or(rest.len(), |end| open + end);
            (end + close.len(), Some(&rest[open..end]))
        } else if rest.starts_with('"') {
            let end = end_of_string(rest);
            (end + 1, Some(&rest[1..end]))
        } else if let Some(length) = char_literal(rest) {
            (length, None)
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };

        pieces.push(Piece::Code(&source[begin..at]));
        pieces.extend(text.map(Piece::Text));
        at += skipped.min(rest.len());
        begin = at;
    }
    pieces.push(Piece::Code(&source[begin..]));
    pieces
}

/// Returns the number of `#` if a raw string literal begins here.
fn raw_string_hashes(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// Returns the position of the quote that ends the string literal that begins here.
fn end_of_string(rest: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at,
            _ => {}
        }
    }
    rest.len() - 1
}

/// Returns the length of the character literal that begins here; a lifetime is none.
fn char_literal(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    let mut chars = inner.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        return inner[2..].find('\'').map(|end| end + 4);
    }
    let (end, next) = chars.next()?;
    (next == '\'').then_some(end + 2)
}

/// Returns the code of `source` without comments and with empty string literals.
pub(crate) fn code(source: &str) -> String {
    let piece = |piece: &Piece<'_>| match piece {
        Piece::Code(code) => (*code).to_owned(),
        Piece::Text(_) => "\"\"".to_owned(),
    };
    pieces(source).iter().map(piece).collect()
}
