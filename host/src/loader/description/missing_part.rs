//! The parts of a description that are missing because of a fault, and how they are logged.

use std::fmt;

use jackfield_contract::DescriptionPart;

use crate::log::{Counted, printable};

/// Missing parts that get a line of the log each. The others are counted.
const LINES_MAX: usize = 3;

/// The longest reason, in bytes. It may be a text of the plugin.
const REASON_MAX: usize = 512;

/// A part of the description of a method that is not known because of a fault.
///
/// As text: `the schema of the params of device.get is unknown: it panicked: no luck`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingPart {
    /// The method.
    pub method: String,
    /// The part.
    pub part: DescriptionPart,
    /// Why it is missing, as a clause such as `it panicked: no luck`, without control characters.
    pub why: String,
}

impl MissingPart {
    pub(super) fn new(method: &str, part: DescriptionPart, why: &str) -> Self {
        let why = &why[..why.floor_char_boundary(REASON_MAX)];
        Self { method: method.to_owned(), part, why: printable(why).into_owned() }
    }
}

impl fmt::Display for MissingPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, part, why } = self;
        write!(f, "{} of {method} is unknown: {why}", name_of(*part))
    }
}

/// An example whose params or result do not fit the schema of its method.
///
/// As text: `an example of device.get does not fit: params.id: is required`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfitExample {
    /// The method.
    pub method: String,
    /// The place and what is wrong there.
    pub fault: String,
}

impl fmt::Display for UnfitExample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an example of {} does not fit: {}", self.method, self.fault)
    }
}

/// Writes the first example that does not fit to the log: authors find the others with it.
pub(super) fn log_unfit(plugin: &str, unfit: &[UnfitExample]) {
    if let Some(UnfitExample { method, fault }) = unfit.first() {
        tracing::warn!(plugin, method, "plugin {plugin}: an example of {method} does not fit: {fault}");
    }
}

fn name_of(part: DescriptionPart) -> &'static str {
    match part {
        DescriptionPart::Facts => "the description",
        DescriptionPart::Params => "the schema of the params",
        DescriptionPart::Result => "the schema of the result",
        DescriptionPart::Examples => "the list of examples",
    }
}

/// Writes what is missing to the log, in a few lines.
pub(super) fn log(plugin: &str, missing: &[MissingPart]) {
    let (shown, others) = missing.split_at(missing.len().min(LINES_MAX));
    for MissingPart { method, part, why } in shown {
        let part = name_of(*part);
        tracing::warn!(plugin, method, "plugin {plugin}: {part} of {method} is unknown: {why}");
    }
    if !others.is_empty() {
        let parts = others.len();
        let counted = Counted(parts, "further part");
        tracing::warn!(plugin, parts, "plugin {plugin}: its description lacks {counted}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_method_and_part_and_reason_in_one_line() {
        let part = MissingPart::new("a.b", DescriptionPart::Result, "it panicked: one\ntwo");
        let text = part.to_string();
        assert!(text.starts_with("the schema of the result of a.b is unknown: it panicked: one"), "{text}");
        assert!(!text.contains('\n'));
        let long = MissingPart::new("a.b", DescriptionPart::Facts, &"é".repeat(REASON_MAX));
        assert!(long.why.len() <= REASON_MAX);
    }
}
