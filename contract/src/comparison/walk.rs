//! The walk through two schemas: each value of the narrow one must be one of the wide one.
//!
//! References can lead in circles. A pair of nodes that is being compared therefore counts as
//! fitting (coinduction). If it turns out not to fit, everything that was concluded meanwhile is
//! forgotten. A pair that does not fit is remembered, so that the number of comparisons is at most
//! the square of the number of pairs; [`Steps`] bounds it further.

use std::collections::{HashMap, HashSet};

use super::finding::{Finding, Findings};
use super::fit::Fit;
use super::kinds::{Kinds, alternatives};
use super::steps::Steps;
use super::values::Values;
use crate::schema::{Node, Schema};

/// The deepest nesting of pairs.
const DEPTH_MAX: usize = 100;

/// Which values are compared. It decides about the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// The narrow schema is the old one.
    Params,
    /// The narrow schema is the new one.
    Result,
}

/// The findings of both kinds.
#[derive(Default)]
pub(super) struct Report {
    pub(super) breaking: Findings,
    pub(super) unknown: Findings,
}

type Pair = (*const Node, *const Node);

pub(super) struct Walk<'a> {
    pub(super) direction: Direction,
    pub(super) narrow: Values<'a>,
    pub(super) wide: Values<'a>,
    method: &'a str,
    report: &'a mut Report,
    path: Vec<String>,
    depth: usize,
    /// How many callers only ask and report nothing.
    muted: usize,
    /// Pairs that do not fit, or are not decided.
    settled: HashMap<Pair, Fit>,
    /// Pairs that are being compared, or fit if those do, in the order of `trail`.
    assumed: HashSet<Pair>,
    trail: Vec<Pair>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        method: &'a str,
        direction: Direction,
        (narrow, wide): (&'a Schema, &'a Schema),
        steps: &'a Steps,
        report: &'a mut Report,
    ) -> Self {
        Self {
            direction,
            narrow: Values { schema: narrow, steps },
            wide: Values { schema: wide, steps },
            method,
            report,
            path: Vec::new(),
            depth: 0,
            muted: 0,
            settled: HashMap::new(),
            assumed: HashSet::new(),
            trail: Vec::new(),
        }
    }

    /// Compares the roots.
    pub(super) fn root(&mut self) {
        let (old, new) = (&self.narrow.schema.root, &self.wide.schema.root);
        let mut narrow = alternatives(self.narrow.schema, old, self.narrow.steps);
        let count = narrow.len();
        narrow.retain(|node| Kinds::of_shape(&node.shape) != Kinds::NULL);
        if self.direction == Direction::Result || narrow.len() == count {
            self.fits(old, new);
            return;
        }

        // Clients and hosts treat params that are null as missing ones.
        match self.wide.admit_missing() {
            Fit::Yes => {}
            Fit::Unknown => drop(self.unknown("may be required now")),
            Fit::No => drop(self.breaking("are required now")),
        }
        let wide = alternatives(self.wide.schema, new, self.wide.steps);
        self.alternatives_fit(&narrow, &wide);
    }

    /// Compares two nodes at a step below the present place, and reports what does not fit.
    pub(super) fn fits_at(&mut self, step: String, narrow: &'a Node, wide: &'a Node) -> Fit {
        self.path.push(step);
        let fit = self.fits(narrow, wide);
        self.path.pop();
        fit
    }

    pub(super) fn fits(&mut self, narrow: &'a Node, wide: &'a Node) -> Fit {
        if self.depth >= DEPTH_MAX || !self.narrow.steps.take(1) {
            return self.unknown("is too large to be compared");
        }
        let narrow = self.narrow.schema.resolve(narrow);
        let wide = self.wide.schema.resolve(wide);
        let pair: Pair = (narrow, wide);
        if self.assumed.contains(&pair) {
            return Fit::Yes;
        }
        if let Some(fit) = self.settled.get(&pair).filter(|_| self.muted > 0) {
            return *fit;
        }

        let mark = self.trail.len();
        self.trail.push(pair);
        self.assumed.insert(pair);
        self.depth += 1;
        let narrow = alternatives(self.narrow.schema, narrow, self.narrow.steps);
        let wide = alternatives(self.wide.schema, wide, self.wide.steps);
        let fit = self.alternatives_fit(&narrow, &wide);
        self.depth -= 1;

        if fit != Fit::Yes {
            for pair in self.trail.drain(mark..) {
                self.assumed.remove(&pair);
            }
            self.settled.insert(pair, fit);
        }
        fit
    }

    /// As [`Walk::fits`], without a report.
    pub(super) fn asks(&mut self, narrow: &'a Node, wide: &'a Node) -> Fit {
        self.muted += 1;
        let fit = self.fits(narrow, wide);
        self.muted -= 1;
        fit
    }

    /// Chooses the words of the direction.
    pub(super) fn words(&self, params: &str, result: &str) -> String {
        match self.direction {
            Direction::Params => params.to_owned(),
            Direction::Result => result.to_owned(),
        }
    }

    pub(super) fn breaking(&mut self, change: &str) -> Fit {
        if self.muted == 0 {
            let finding = self.finding(change);
            self.report.breaking.push(finding);
        }
        Fit::No
    }

    pub(super) fn breaking_at(&mut self, step: String, change: &str) -> Fit {
        self.path.push(step);
        self.breaking(change);
        self.path.pop();
        Fit::No
    }

    pub(super) fn unknown(&mut self, change: &str) -> Fit {
        if self.muted == 0 {
            let finding = self.finding(change);
            self.report.unknown.push(finding);
        }
        Fit::Unknown
    }

    fn finding(&self, change: &str) -> Finding {
        // Findings at deep places are the most costly steps.
        self.narrow.steps.take(10 + self.path.len());
        let root = match self.direction {
            Direction::Params => "params",
            Direction::Result => "result",
        };
        let path = format!("{root}{}", self.path.concat());
        Finding { method: self.method.to_owned(), path, change: change.to_owned() }
    }
}
