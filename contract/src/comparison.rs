//! Whether callers of one contract can go on with another one.

use std::fmt;

use crate::Contract;

/// What a comparison of two contracts has found.
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
    /// Every call that fits the old contract fits the new one, and every result that fits the new
    /// one fits the old one.
    Compatible,
    /// A caller breaks, or may break.
    Incompatible,
    /// Nothing breaks for certain, and some of it is not known.
    Unknown,
}

/// One place where two contracts differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The method.
    pub method: String,
    /// The place in the value: `params` or `result`, members after dots, such as
    /// `params.device.id`, and `[]` for the items of an array; empty for the method itself.
    pub path: String,
    /// What changed, as a clause, such as `is required now`.
    pub change: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, path, change } = self;
        match path.is_empty() {
            true => write!(f, "{method}: {change}"),
            false => write!(f, "{method}: {path}: {change}"),
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

/// Compares the contract that serves with the one that is to replace it.
#[must_use]
pub fn compare(old: &Contract, new: &Contract) -> Comparison {
    let is_missing = |name: &str| new.method(name).is_none();
    let missing = old.methods().iter().filter(|method| is_missing(&method.name));
    let breaking = missing.map(|method| Finding {
        method: method.name.clone(),
        path: String::new(),
        change: "is missing".to_owned(),
    });
    Comparison { breaking: breaking.collect(), unknown: Vec::new() }
}
