//! How files and functions are laid out.

use super::assert_at_most;
use super::tree::{SourceFile, files};

/// The most lines that a source file may have. A longer one has more than one subject.
const LONGEST_FILE: usize = 350;

/// A function of at least this many lines has phases, and blank lines between them.
const LONG_FUNCTION: usize = 25;

/// How many of the long functions may do without a blank line, in per cent.
const DENSE_PERCENT: usize = 20;

#[test]
fn source_files_have_one_subject() {
    let mut places = Vec::new();
    for file in files(&["rs", "php"]) {
        let lines = file.text.lines().count();
        if lines > LONGEST_FILE {
            places.push(format!("{}: {lines} lines", file.path));
        }
    }
    assert_at_most(0, &places, "a source file has at most 350 lines");
}

#[test]
fn rust_files_begin_with_their_purpose() {
    let mut places = Vec::new();
    // Files that another one includes as text cannot have module documentation.
    let is_included = |path: &str| path.starts_with("tests/fixtures/") && path.matches('/').count() > 3;
    for file in files(&["rs"]).iter().filter(|file| !is_included(&file.path)) {
        if !file.text.starts_with("//!") {
            places.push(file.path.clone());
        }
    }
    assert_at_most(0, &places, "the first line of a Rust file is `//!` and its purpose");
}

#[test]
fn long_functions_have_blank_lines_between_their_phases() {
    let mut long = 0;
    let mut dense = Vec::new();
    let is_product = |file: &SourceFile| file.path.contains("/src/") && !file.path.starts_with("tests/");

    for file in files(&["rs"]).iter().filter(|file| is_product(file)) {
        for function in long_functions(&file.text) {
            long += 1;
            if !function.has_blank_line {
                dense.push(format!("{}:{}", file.path, function.line));
            }
        }
    }
    assert_at_most(long * DENSE_PERCENT / 100, &dense, "phases of a function are separated by blank lines");
}

/// `support::program::command` sets the signal dispositions of what it starts.
#[test]
fn end_to_end_tests_start_programs_with_default_signal_dispositions() {
    let is_checked = |path: &str| path.starts_with("tests/e2e/") && path != "tests/e2e/support/program.rs";
    let mut places = Vec::new();
    for file in files(&["rs"]).iter().filter(|file| is_checked(&file.path)) {
        for (line, text) in (1..).zip(file.text.lines()) {
            if text.contains("Command::new(") {
                places.push(format!("{}:{line}", file.path));
            }
        }
    }
    assert_at_most(0, &places, "a test starts programs with `support::program::command`");
}

struct LongFunction {
    line: usize,
    has_blank_line: bool,
}

fn long_functions(source: &str) -> Vec<LongFunction> {
    let lines: Vec<_> = source.lines().collect();
    let mut functions = Vec::new();
    let mut next = 0;

    while next < lines.len() {
        let begin = next;
        next += 1;
        let Some(indent) = function_indent(lines[begin]) else { continue };

        let closing = format!("{}}}", " ".repeat(indent));
        let Some(length) = lines[begin..].iter().position(|line| *line == closing) else { continue };
        next = begin + length;
        if length >= LONG_FUNCTION {
            let has_blank_line = lines[begin..next].iter().any(|line| line.trim().is_empty());
            functions.push(LongFunction { line: begin + 1, has_blank_line });
        }
    }
    functions
}

/// Returns the indentation of `line` if a function with a body begins there.
fn function_indent(line: &str) -> Option<usize> {
    let trimmed = line.trim_start();
    let head = trimmed.split('(').next()?;
    let is_function = head.starts_with("fn ") || head.contains(" fn ");
    let is_prose = trimmed.starts_with("//") || head.contains('"') || head.contains('=');
    (is_function && !is_prose && !trimmed.ends_with(';')).then_some(line.len() - trimmed.len())
}
