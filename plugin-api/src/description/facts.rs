//! The facts of a method that its author states: its doc comment and the words of
//! `export_plugin!`.

use serde::Serialize;

use super::output::{self, DoesNotFit};
use crate::abi::Out;
use crate::is_reserved;

/// The doc comment and the words of a method.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// The lines of the doc comment.
    pub docs: &'static [&'static str],
    /// Whether running the same request twice is harmless.
    pub idempotent: bool,
    /// Why the method should not be used any more.
    pub deprecated: Option<&'static str>,
    /// The codes of the errors that it may return, and what they mean.
    pub errors: &'static [(i64, &'static str)],
}

/// The document that a host reads.
#[derive(Serialize)]
struct FactsDocument {
    #[serde(skip_serializing_if = "String::is_empty")]
    summary: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    idempotent: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    deprecated: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<DeclaredError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'static str>,
}

#[derive(Serialize)]
struct DeclaredError {
    code: i64,
    message: &'static str,
}

impl Facts {
    /// Writes the document.
    ///
    /// # Errors
    ///
    /// It does not fit.
    #[inline]
    pub fn write(&self, takes_params: bool, out: &mut Out<'_>) -> Result<(), DoesNotFit> {
        let (summary, description) = split(self.docs);
        let errors = self.errors.iter().map(|&(code, message)| DeclaredError { code, message });
        let document = FactsDocument {
            summary,
            description,
            idempotent: self.idempotent,
            deprecated: self.deprecated,
            errors: errors.collect(),
            params: (!takes_params).then_some("none"),
        };
        output::write_json(&document, out)
    }
}

/// Returns the first paragraph of a doc comment in one line, and the others as they are.
#[inline]
fn split(docs: &[&str]) -> (String, String) {
    let lines = docs.iter().flat_map(|doc| doc.split('\n'));
    // rustdoc and schemars remove this space, too. A further indentation may belong to a list.
    let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    let mut lines = lines.skip_while(|line| line.is_empty());

    let summary: Vec<_> = lines.by_ref().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let rest: Vec<_> = lines.skip_while(|line| line.is_empty()).collect();
    (summary.join(" "), rest.join("\n").trim_end().to_owned())
}

/// Checks the codes of `errors(..)` at compile time.
#[must_use]
pub const fn declared_errors(errors: &'static [(i64, &'static str)]) -> &'static [(i64, &'static str)] {
    let mut at = 0;
    while at < errors.len() {
        assert!(!is_reserved(errors[at].0), "errors(..): the codes -32768 to -32000 are reserved");
        let mut earlier = 0;
        while earlier < at {
            assert!(errors[earlier].0 != errors[at].0, "errors(..): a code occurs twice");
            earlier += 1;
        }
        at += 1;
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_the_first_paragraph_and_keeps_the_others() {
        let docs =
            ["", " Stores the status", "   of a device.  ", "", " First:", " ", " - one", "   more", ""];
        let (summary, description) = split(&docs);
        assert_eq!(summary, "Stores the status of a device.");
        assert_eq!(description, "First:\n\n- one\n  more");

        assert_eq!(split(&["One line"]), ("One line".to_owned(), String::new()));
        assert_eq!(split(&[" One\n two\n\n three"]), ("One two".to_owned(), "three".to_owned()));
        assert_eq!(split(&[]), (String::new(), String::new()));
    }
}
