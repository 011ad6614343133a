//! The findings of a comparison, and how many of them are kept.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The most findings of either kind. One more says how many were left out.
const FINDINGS_MAX: usize = 100;

/// The findings of a comparison of two contracts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// The changes that break a caller of the old contract, in the order of the methods.
    pub breaking: Vec<Finding>,
    /// The places where the schemas do not tell whether a caller breaks.
    pub unknown: Vec<Finding>,
}

/// Whether callers of the old contract can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every call that fits the old contract fits the new one, and every result that fits the
    /// new one fits the old one.
    Compatible,
    /// A caller breaks, or may break.
    Incompatible,
    /// Nothing breaks for certain, and some of it is not known.
    Unknown,
}

/// One place where two contracts differ.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Finding {
    /// The method; empty if it concerns several.
    pub method: String,
    /// The place in the value: `params` or `result`, members after dots, such as
    /// `params.device.id`, `[]` for the items of an array, `[0]` for one of a tuple, and `*` for
    /// the members of a map; empty for the method itself.
    pub path: String,
    /// The change as a clause, such as `is required now`.
    pub change: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, path, change } = self;
        match (method.is_empty(), path.is_empty()) {
            (true, _) => f.write_str(change),
            (false, true) => write!(f, "{method}: {change}"),
            (false, false) => write!(f, "{method}: {path}: {change}"),
        }
    }
}

impl Comparison {
    /// Returns the verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match (self.breaking.is_empty(), self.unknown.is_empty()) {
            (false, _) => Verdict::Incompatible,
            (true, false) => Verdict::Unknown,
            (true, true) => Verdict::Compatible,
        }
    }
}

/// Findings of one kind, each once, in the order in which they were found.
#[derive(Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    /// Hashes, because the findings that are left out may be long.
    seen: HashSet<u64>,
}

impl Findings {
    pub(super) fn push(&mut self, finding: Finding) {
        let mut hasher = DefaultHasher::new();
        finding.hash(&mut hasher);
        let is_new = self.seen.insert(hasher.finish());
        if is_new && self.kept.len() < FINDINGS_MAX {
            self.kept.push(finding);
        }
    }

    pub(super) fn finish(mut self) -> Vec<Finding> {
        let left_out = self.seen.len() - self.kept.len();
        if left_out > 0 {
            let change = match left_out {
                1 => "1 more change".to_owned(),
                several => format!("{several} more changes"),
            };
            self.kept.push(Finding { method: String::new(), path: String::new(), change });
        }
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_each_finding_once_and_counts_those_that_are_left_out() {
        let mut findings = Findings::default();
        for number in (0..FINDINGS_MAX + 7).chain(0..50) {
            findings.push(Finding {
                method: "a".to_owned(),
                path: format!("params.{number}"),
                change: "is required now".to_owned(),
            });
        }

        let kept = findings.finish();

        assert_eq!(kept.len(), FINDINGS_MAX + 1);
        assert_eq!(kept[0].to_string(), "a: params.0: is required now");
        assert_eq!(kept[FINDINGS_MAX].to_string(), "7 more changes");
    }
}
