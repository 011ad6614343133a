//! Which definitions of a schema refer to which, and the cycles among them.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::references::map_references;
use crate::schema_keywords::definition_name;

/// The root of a schema and the definitions that it needs, by number. The root has number 0.
pub(super) struct ReferenceGraph<'a> {
    members: Vec<Member<'a>>,
    numbers: HashMap<&'a str, usize>,

    /// The name of the root outside of its schema: its title, unless a definition has this name.
    root_label: &'a str,
}

struct Member<'a> {
    name: &'a str,
    document: &'a Value,

    /// The members that it refers to.
    references: Vec<usize>,
}

/// The number of the root.
pub(super) const ROOT: usize = 0;

/// The name of the root inside of its schema. No definition has it.
const ROOT_NAME: &str = "";

impl<'a> ReferenceGraph<'a> {
    /// Reads the references of a document whose references all lead to something.
    pub(super) fn of(document: &'a Value) -> Self {
        let definitions = document.get("$defs").and_then(Value::as_object);
        let title = document.get("title").and_then(Value::as_str).unwrap_or_default();
        let is_taken = definitions.is_some_and(|definitions| definitions.contains_key(title));
        let root_label = if is_taken { ROOT_NAME } else { title };

        let mut graph = Self { members: Vec::new(), numbers: HashMap::new(), root_label };
        graph.add(ROOT_NAME, document);
        let mut next = ROOT;
        while let Some(member) = graph.members.get(next) {
            let mut references = BTreeSet::new();
            for name in names_in(member.document) {
                let number = graph.numbers.get(&*name).copied().or_else(|| {
                    let (name, schema) = definitions?.get_key_value(&name)?;
                    Some(graph.add(name, schema))
                });
                references.extend(number);
            }
            graph.members[next].references = references.into_iter().collect();
            next += 1;
        }
        graph
    }

    fn add(&mut self, name: &'a str, document: &'a Value) -> usize {
        let number = self.members.len();
        self.members.push(Member { name, document, references: Vec::new() });
        self.numbers.insert(name, number);
        number
    }

    /// Returns the number of what a reference leads to.
    pub(super) fn target(&self, reference: &str) -> Option<usize> {
        self.numbers.get(&*target_name(reference)?).copied()
    }

    /// Returns the name of a member in other schemas.
    pub(super) fn label(&self, member: usize) -> &'a str {
        if member == ROOT { self.root_label } else { self.members[member].name }
    }

    pub(super) fn document(&self, member: usize) -> &'a Value {
        self.members[member].document
    }

    pub(super) fn refers_to_itself(&self, member: usize) -> bool {
        self.members[member].references.contains(&member)
    }

    /// Returns the names of the members.
    #[cfg(test)]
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.members.iter().map(|member| member.name)
    }

    /// Returns the cycles: the strongly connected components, which are the largest sets of members
    /// that all lead to each other. Most of them have one member. A cycle follows after all others
    /// that it refers to.
    pub(super) fn cycles(&self) -> Vec<Vec<usize>> {
        let mut search = CycleSearch::new(self.members.len());
        search.enter(ROOT);

        // Tarjan's algorithm. It has a stack of its own, because a chain of references may be
        // longer than the stack of a thread permits.
        while let Some((member, next)) = search.path.pop() {
            let Some(&reference) = self.members[member].references.get(next) else {
                search.leave(member);
                continue;
            };
            search.path.push((member, next + 1));
            if search.is_entered(reference) {
                search.note_return(member, reference);
            } else {
                search.enter(reference);
            }
        }
        search.cycles
    }
}

/// The state of a search for cycles.
struct CycleSearch {
    /// The members that are being searched, with the number of the reference that is next.
    path: Vec<(usize, usize)>,

    /// When each member was entered, from 1; 0 if it was not.
    entered: Vec<usize>,

    /// The earliest entry of a member of the same cycle that is known so far.
    earliest: Vec<usize>,

    /// Members whose cycles are not complete.
    open: Vec<usize>,
    is_open: Vec<bool>,

    entries: usize,
    cycles: Vec<Vec<usize>>,
}

impl CycleSearch {
    fn new(members: usize) -> Self {
        Self {
            path: Vec::new(),
            entered: vec![0; members],
            earliest: vec![0; members],
            open: Vec::new(),
            is_open: vec![false; members],
            entries: 0,
            cycles: Vec::new(),
        }
    }

    fn is_entered(&self, member: usize) -> bool {
        self.entered[member] != 0
    }

    fn enter(&mut self, member: usize) {
        self.entries += 1;
        self.entered[member] = self.entries;
        self.earliest[member] = self.entries;
        self.open.push(member);
        self.is_open[member] = true;
        self.path.push((member, 0));
    }

    /// Notes that a member refers to one that was entered before.
    fn note_return(&mut self, member: usize, reference: usize) {
        if self.is_open[reference] {
            self.earliest[member] = self.earliest[member].min(self.entered[reference]);
        }
    }

    /// Completes a cycle if all of its members have been searched.
    fn leave(&mut self, member: usize) {
        if let Some(&(referrer, _)) = self.path.last() {
            self.earliest[referrer] = self.earliest[referrer].min(self.earliest[member]);
        }
        if self.earliest[member] == self.entered[member] {
            let first = self.open.iter().rposition(|&open| open == member).unwrap_or_default();
            let cycle = self.open.split_off(first);
            for &member in &cycle {
                self.is_open[member] = false;
            }
            self.cycles.push(cycle);
        }
    }
}

/// Returns the name of what a reference leads to, inside of its schema.
fn target_name(reference: &str) -> Option<String> {
    if reference == "#" { Some(ROOT_NAME.to_owned()) } else { definition_name(reference) }
}

fn names_in(document: &Value) -> Vec<String> {
    let mut names = Vec::new();
    map_references(document, &mut |reference| {
        names.extend(target_name(reference));
        String::new()
    });
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cycles(document: &Value) -> Vec<Vec<&str>> {
        let graph = ReferenceGraph::of(document);
        let named = |cycle: Vec<usize>| {
            let mut names: Vec<_> = cycle.into_iter().map(|member| graph.members[member].name).collect();
            names.sort_unstable();
            names
        };
        graph.cycles().into_iter().map(named).collect()
    }

    #[test]
    fn orders_cycles_after_those_that_they_refer_to() {
        let to = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
        let document = json!({
            "allOf": [to("a"), to("d")],
            "$defs": {
                "a": { "allOf": [to("b"), to("c")] }, "b": { "items": to("a") }, "c": to("d"),
                "d": { "items": to("d") }, "unused": true,
            },
        });
        assert_eq!(cycles(&document), [vec!["d"], vec!["c"], vec!["a", "b"], vec![""]]);
    }

    #[test]
    fn counts_the_root_among_its_cycle() {
        let document = json!({
            "properties": { "left": { "$ref": "#" }, "right": { "$ref": "#/$defs/a" } },
            "$defs": { "a": { "items": { "$ref": "#" } } },
        });
        assert_eq!(cycles(&document), [vec!["", "a"]]);
    }

    #[test]
    fn follows_long_chains() {
        let link = |number: usize| json!({ "$ref": format!("#/$defs/{}", number + 1) });
        let mut definitions: serde_json::Map<_, _> = (0..15_000).map(|n| (n.to_string(), link(n))).collect();
        definitions.insert("15000".to_owned(), json!(true));
        let document = json!({ "$ref": "#/$defs/0", "$defs": definitions });
        assert_eq!(cycles(&document).len(), 15_002);
    }
}
