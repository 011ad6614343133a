//! Whether callers of one contract can go on with another one.
//!
//! Every call that fits the old contract must fit the new one, and every result of the new one must
//! fit the old one. `docs/contracts.md` lists what breaks a caller and what does not.

mod finding;
mod fit;
mod kinds;
mod phrases;
mod ranges;
mod shapes;
mod steps;
mod unions;
mod unmodelled;
mod value_faults;
mod values;
mod walk;

pub use finding::{Comparison, Finding, Verdict};
pub use value_faults::ValueFault;

use fit::Fit;
use serde_json::json;
use steps::Steps;
use values::Values;
use walk::{Direction, Report, Walk};

use crate::contract::{Contract, MethodContract, Parameters};
use crate::schema::{Schema, Shape};

/// The most steps of the comparison of two schemas; types that are written by hand take some
/// thousands. What is not compared then is unknown.
const SCHEMA_STEPS: u32 = 1_000_000;
/// The most steps of the comparison of two contracts.
const CONTRACT_STEPS: u32 = 5_000_000;

/// Compares the contract that serves with the one that is to replace it.
#[must_use]
pub fn compare(old: &Contract, new: &Contract) -> Comparison {
    let mut comparer = Comparer { steps: CONTRACT_STEPS, report: Report::default() };
    for old in old.methods() {
        match new.method(&old.name) {
            Some(new) => comparer.method(old, new),
            None => comparer.breaking(old, "", "is missing"),
        }
    }

    let Report { breaking, unknown } = comparer.report;
    Comparison { breaking: breaking.finish(), unknown: unknown.finish() }
}

struct Comparer {
    steps: u32,
    report: Report,
}

impl Comparer {
    fn method(&mut self, old: &MethodContract, new: &MethodContract) {
        if old.facts.idempotent && !new.facts.idempotent {
            self.breaking(old, "", "is not idempotent any more");
        }

        match (&old.params, &new.params) {
            (Parameters::None, Parameters::None) => {}
            (Parameters::None, Parameters::Schema(new)) => self.params_from_none(old, new),
            (Parameters::Schema(schema), Parameters::None) => self.params_to_none(old, schema),
            (Parameters::Schema(before), Parameters::Schema(after)) => {
                self.walk(old, Direction::Params, before, after);
            }
            (Parameters::Unknown, Parameters::Unknown) => self.unknown(old, "params", "have no schema"),
            (Parameters::Unknown, _) => self.unknown(old, "params", "had no schema"),
            (_, Parameters::Unknown) => self.unknown(old, "params", "have no schema any more"),
        }
        match (&old.result, &new.result) {
            (Some(before), Some(after)) => self.walk(old, Direction::Result, after, before),
            (None, None) => self.unknown(old, "result", "has no schema"),
            (None, Some(_)) => self.unknown(old, "result", "had no schema"),
            (Some(_), None) => self.unknown(old, "result", "has no schema any more"),
        }
    }

    /// Compares schemas: each value of `narrow` must be one of `wide`.
    fn walk(&mut self, method: &MethodContract, direction: Direction, narrow: &Schema, wide: &Schema) {
        let steps = Steps::new(SCHEMA_STEPS.min(self.steps));
        let before = steps.left();
        let mut walk = Walk::new(&method.name, direction, (narrow, wide), &steps, &mut self.report);
        walk.root();
        self.steps -= before - steps.left();
    }

    /// A caller that sent no params goes on to send none. They are read as `null`, or as `{}`.
    fn params_from_none(&mut self, method: &MethodContract, new: &Schema) {
        let steps = Steps::new(SCHEMA_STEPS.min(self.steps));
        let values = Values { schema: new, steps: &steps };
        let fit = values.admit_missing();
        if fit == Fit::Unknown {
            return self.unknown(method, "params", "may be required now");
        }

        let required = match &new.resolve(&new.root).shape {
            Shape::Object(object) => {
                object.properties.iter().filter(|property| property.is_required).collect()
            }
            _ => Vec::new(),
        };
        if fit == Fit::No && required.is_empty() {
            self.breaking(method, "params", "are required now");
        } else if fit == Fit::No {
            for property in required {
                let path = format!("params{}", phrases::member(&property.name));
                self.breaking(method, &path, "is required now");
            }
        }
    }

    /// A method without params refuses members.
    fn params_to_none(&mut self, method: &MethodContract, old: &Schema) {
        let steps = Steps::new(SCHEMA_STEPS.min(self.steps));
        let values = Values { schema: old, steps: &steps };
        let mut fit = Fit::Yes;
        for node in kinds::alternatives(old, &old.root, &steps) {
            fit = fit.min(match &node.shape {
                _ if values.is_empty(node) => Fit::Yes,
                Shape::Null => Fit::Yes,
                Shape::Object(object) if object.properties.is_empty() => match object.additional.shape {
                    Shape::Never => Fit::Yes,
                    // An empty struct, or a map of anything.
                    Shape::Any => Fit::Unknown,
                    _ => Fit::No,
                },
                Shape::Array(array) if array.max_items == Some(0) => Fit::Yes,
                Shape::Literals(literals) => {
                    let none = [json!(null), json!({}), json!([])];
                    Fit::certain(literals.iter().all(|literal| none.contains(&literal.value)))
                }
                Shape::Opaque | Shape::Reference(_) | Shape::Union(_) => Fit::Unknown,
                _ => Fit::No,
            });
        }

        match fit {
            Fit::Yes => {}
            Fit::Unknown => self.unknown(method, "params", "may be refused now"),
            Fit::No => self.breaking(method, "params", "are refused now: the method takes none any more"),
        }
    }

    fn breaking(&mut self, method: &MethodContract, path: &str, change: &str) {
        self.report.breaking.push(finding(method, path, change));
    }

    fn unknown(&mut self, method: &MethodContract, path: &str, change: &str) {
        self.report.unknown.push(finding(method, path, change));
    }
}

fn finding(method: &MethodContract, path: &str, change: &str) -> Finding {
    Finding { method: method.name.clone(), path: path.to_owned(), change: change.to_owned() }
}

#[cfg(test)]
mod tests;
