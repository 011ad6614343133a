//! The alternatives of two unions: each narrow one must find its place on the wide side.

use std::collections::HashSet;

use super::fit::Fit;
use super::kinds::Kinds;
use super::steps::Steps;
use super::walk::{Direction, Walk};
use super::{phrases, unmodelled, values};
use crate::conjunction::weight;
use crate::schema::{Literal, Node, Shape};

/// The most steps for the values that are tried for one pair.
const TRIAL_STEPS: u32 = 2_000;

/// The alternatives of the wide side at one place.
struct Wide<'w, 'a> {
    nodes: &'w [&'a Node],
    /// The literals among them.
    keys: HashSet<String>,
    given: Kinds,
}

impl<'a> Walk<'a> {
    /// Compares the alternatives of both sides: each narrow one must be admitted.
    pub(super) fn alternatives_fit(&mut self, narrow: &[&'a Node], wide: &[&'a Node]) -> Fit {
        let kinds = (Kinds::of_all(narrow), Kinds::of_all(wide));
        let is_inhabited = |node: &&&'a Node| !self.narrow.is_empty(node);
        if kinds.0 != Kinds::NONE && !kinds.0.meets(kinds.1) && narrow.iter().find(is_inhabited).is_some() {
            let (old, new) = match self.direction {
                Direction::Params => kinds,
                Direction::Result => (kinds.1, kinds.0),
            };
            return self.breaking(&format!("is {} now, was {}", new.names(), old.names()));
        }

        let literals = wide.iter().filter_map(|node| match &node.shape {
            Shape::Literals(literals) => Some(literals),
            _ => None,
        });
        let literals: Vec<&Literal> = literals.flatten().collect();
        let weights = literals.iter().map(|literal| weight(&literal.value));
        if !self.narrow.steps.take(weights.sum()) {
            return self.unknown("is too large to be compared");
        }
        let keys = literals.iter().map(|literal| values::key(&literal.value)).collect();
        let given =
            literals.iter().fold(Kinds::NONE, |kinds, literal| kinds.or(Kinds::of_value(&literal.value)));
        let wide = Wide { nodes: wide, keys, given };

        let mut worst = Fit::Yes;
        for node in narrow {
            worst = worst.min(match &node.shape {
                Shape::Literals(literals) => self.literals_fit(literals, &wide),
                _ => self.alternative_fits(node, &wide),
            });
        }
        worst
    }

    fn literals_fit(&mut self, literals: &'a [Literal], wide: &Wide<'_, 'a>) -> Fit {
        let mut worst = Fit::Yes;
        for Literal { value, .. } in literals {
            if !self.narrow.steps.take(weight(value)) {
                return self.unknown("is too large to be compared");
            }
            if wide.keys.contains(&values::key(value)) {
                continue;
            }
            let others = wide.nodes.iter().filter(|node| !matches!(node.shape, Shape::Literals(_)));
            let fits = others.map(|node| self.wide.admit(node, value));
            worst = worst.min(match fits.max().unwrap_or(Fit::No) {
                Fit::Yes => Fit::Yes,
                Fit::Unknown => {
                    let value = phrases::value(value);
                    let params = format!("may not admit {value} any more");
                    self.unknown(&self.words(&params, &format!("may perhaps be {value} now")))
                }
                Fit::No => self.value_is_refused(value),
            });
        }
        worst
    }

    /// Compares one alternative, which is no literal, with all of the other side.
    fn alternative_fits(&mut self, node: &'a Node, wide: &Wide<'_, 'a>) -> Fit {
        if self.narrow.is_empty(node) {
            return Fit::Yes;
        }
        let kinds = Kinds::of_shape(&node.shape);
        match &node.shape {
            Shape::Any => return self.any_fits(node, wide),
            Shape::Boolean if ["true", "false"].iter().all(|key| wide.keys.contains(*key)) => {
                return Fit::Yes;
            }
            _ => {}
        }

        let is_candidate = |other: &&&'a Node| {
            !matches!(other.shape, Shape::Literals(_)) && kinds.meets(Kinds::of_shape(&other.shape))
        };
        let mut candidates: Vec<&'a Node> = wide.nodes.iter().filter(is_candidate).copied().collect();
        let is_among_literals = wide.given.meets(kinds);
        if let ([other], false) = (candidates.as_slice(), wide.nodes.len() > 1) {
            return self.shapes_fit(node, other);
        }
        // About the only candidate, its own findings tell more, except if it is another variant.
        let by_tag_only = candidates.len() == 1;
        candidates.retain(|other| !self.excludes(node, other, by_tag_only));
        if candidates.len() > 1 {
            candidates.retain(|other| !self.lacks_member(node, other));
        }

        match candidates.as_slice() {
            [] if is_among_literals => {
                self.breaking(&self.words(
                    "admits only certain values now",
                    &format!("may be any {} now", kinds.bare_names()),
                ))
            }
            [] => self.kind_is_refused(node, kinds),
            [other] if !is_among_literals => self.fits(node, other),
            _ => self.fits_one_of(node, &candidates, wide),
        }
    }

    /// Looks for one candidate that admits all of the node. If none does, several together might: a
    /// value that none admits decides.
    fn fits_one_of(&mut self, node: &'a Node, candidates: &[&'a Node], wide: &Wide<'_, 'a>) -> Fit {
        for other in candidates {
            if self.asks(node, other) == Fit::Yes {
                return Fit::Yes;
            }
        }
        let trial = Steps::new(TRIAL_STEPS);
        let (narrow, all) = (self.narrow.with(&trial), self.wide.with(&trial));
        let refused = narrow.samples(node).into_iter().find(|value| {
            !wide.keys.contains(&values::key(value))
                && candidates.iter().all(|other| all.admit(other, value) == Fit::No)
        });
        self.narrow.steps.take((TRIAL_STEPS - trial.left()) as usize);

        match refused {
            Some(value) => self.value_is_refused(&value),
            None => self.unknown("has changed in a way that is not decided"),
        }
    }

    fn any_fits(&mut self, node: &'a Node, wide: &Wide<'_, 'a>) -> Fit {
        if wide.nodes.iter().any(|other| matches!(other.shape, Shape::Any)) {
            return Fit::Yes;
        }
        let values = ["null", "true", "0.5", "\"zzzzzzzz\"", "[]", "{}"];
        let mut values = values.iter().filter_map(|value| serde_json::from_str(value).ok());
        let is_refused = |value| wide.nodes.iter().all(|other| self.wide.admit(other, &value) == Fit::No);
        if !values.any(is_refused) {
            return self.same_or_unknown(node, wide);
        }
        let names = Kinds::of_all(wide.nodes).names();
        self.breaking(&self.words(&format!("is {names} now, was any value"), "may be any value now"))
    }

    fn same_or_unknown(&mut self, node: &'a Node, wide: &Wide<'_, 'a>) -> Fit {
        let narrow = (self.narrow.schema, node);
        let steps = self.narrow.steps;
        let is_same = |other: &&'a Node| unmodelled::is_same(narrow, (self.wide.schema, *other), steps);
        if wide.nodes.iter().any(is_same) {
            return Fit::Yes;
        }
        self.unknown("has changed in a way that is not decided")
    }

    fn kind_is_refused(&mut self, node: &'a Node, kinds: Kinds) -> Fit {
        let (bare, name) = match &node.shape {
            Shape::Object(object) => {
                let name = phrases::object(self.narrow.schema, object);
                (name.clone(), format!("an {name}"))
            }
            _ => (kinds.bare_names(), kinds.names()),
        };
        self.breaking(&self.words(&format!("admits no {bare} any more"), &format!("may be {name} now")))
    }

    fn value_is_refused(&mut self, value: &serde_json::Value) -> Fit {
        let value = phrases::value(value);
        self.breaking(&self.words(&format!("admits no {value} any more"), &format!("may be {value} now")))
    }
}
