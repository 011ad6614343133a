//! The definitions of all schemas of a document, each once.
//!
//! Two definitions are one component if they have the same name and the same structure, together
//! with everything that they refer to. Definitions that refer to each other in a cycle can only be
//! compared as a whole. The definitions of a schema are therefore added cycle by cycle
//! (`reference_graph.rs`): everything else that a cycle refers to already has its final name when
//! the cycle is compared.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::extensions::{self, COMPONENTS};
use super::reference_graph::{ROOT, ReferenceGraph};
use super::references::map_references;
use crate::Schema;
use crate::schema_keywords::{escape, reference_to};

/// The name of the component of a schema that refers to itself and has no title.
const UNTITLED: &str = "Schema";

/// The names of the components of the definitions of one schema, by number in its
/// [`ReferenceGraph`].
type Placed = HashMap<usize, String>;

/// The components of a document.
#[derive(Default)]
pub(super) struct Components {
    schemas: Map<String, Value>,

    /// The names of the components of a cycle, by the text of the cycle and in its order.
    known: HashMap<String, Vec<String>>,

    /// The last number that was added to a name.
    suffixes: HashMap<String, u64>,

    /// The names of definitions, by the names of their components, as far as they differ.
    names: BTreeMap<String, String>,
}

impl Components {
    /// Adds the definitions of a schema, and returns the schema itself.
    pub(super) fn add(&mut self, schema: &Schema) -> Value {
        let graph = ReferenceGraph::of(&schema.document);
        let mut placed = Placed::new();

        for cycle in graph.cycles() {
            if *cycle == [ROOT] && !graph.refers_to_itself(ROOT) {
                let document = graph.document(ROOT);
                return map_references(document, &mut |to| outside(to, &graph, &placed));
            }
            self.place(&graph, &cycle, &mut placed);
        }
        // The root is a member of the last cycle.
        let component = placed.get(&ROOT).map_or(UNTITLED, String::as_str);
        json!({ "$ref": reference(component), extensions::ROOT: true })
    }

    /// Returns what a schema of this document leads to, through references.
    pub(super) fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        for _ in 0..=self.schemas.len() {
            let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { break };
            let component = reference.strip_prefix(COMPONENTS).and_then(|name| self.schemas.get(name));
            schema = component.unwrap_or(schema);
        }
        schema
    }

    /// Returns the components, and the names of definitions that differ from them.
    pub(super) fn finish(self) -> (Map<String, Value>, BTreeMap<String, String>) {
        (self.schemas, self.names)
    }

    /// Gives names to the members of a cycle: those of an equal cycle, or new ones.
    fn place(&mut self, graph: &ReferenceGraph<'_>, cycle: &[usize], placed: &mut Placed) {
        let mut members: Vec<_> = cycle.iter().map(|&member| (graph.label(member), member)).collect();
        members.sort_unstable();
        let inside: HashSet<_> = cycle.iter().copied().collect();

        let documents = members.iter().map(|&(label, member)| {
            let replace = &mut |to: &str| match graph.target(to).filter(|target| inside.contains(target)) {
                Some(target) => reference_to(graph.label(target)),
                None => outside(to, graph, placed),
            };
            (label, map_references(graph.document(member), replace))
        });
        let documents: Vec<_> = documents.collect();

        let text = json!(documents).to_string();
        let names = match self.known.get(&text) {
            Some(names) => names.clone(),
            None => self.insert(&documents),
        };
        placed.extend(members.iter().map(|(_, member)| *member).zip(names.iter().cloned()));
        self.known.insert(text, names);
    }

    fn insert(&mut self, documents: &[(&str, Value)]) -> Vec<String> {
        let names: Vec<_> = documents.iter().map(|(label, _)| self.free_name(label)).collect();
        let labels = documents.iter().map(|(label, _)| reference_to(label));
        let of_label: HashMap<_, _> = labels.zip(&names).collect();

        for ((_, document), name) in documents.iter().zip(&names) {
            let document = map_references(document, &mut |to| match of_label.get(to) {
                Some(name) => reference(name),
                None => to.to_owned(),
            });
            self.schemas.insert(name.clone(), document);
        }
        names
    }

    /// Takes a name that no other component has.
    fn free_name(&mut self, label: &str) -> String {
        let is_valid = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
        let base: String = label.chars().map(|letter| if is_valid(letter) { letter } else { '_' }).collect();
        let base = if base.is_empty() { UNTITLED.to_owned() } else { base };

        let suffix = self.suffixes.entry(base.clone()).or_insert(0);
        let name = loop {
            *suffix += 1;
            let name = if *suffix == 1 { base.clone() } else { format!("{base}_{suffix}") };
            if !self.schemas.contains_key(&name) {
                break name;
            }
        };

        if name != label {
            self.names.insert(name.clone(), label.to_owned());
        }
        // The name is taken; the schema follows when all names of the cycle are known.
        self.schemas.insert(name.clone(), Value::Null);
        name
    }
}

/// Returns a reference to a component.
pub(super) fn reference(component: &str) -> String {
    format!("{COMPONENTS}{}", escape(component))
}

/// Returns a reference to the component of a definition instead of one to the definition.
fn outside(to: &str, graph: &ReferenceGraph<'_>, placed: &Placed) -> String {
    let component = graph.target(to).and_then(|target| placed.get(&target));
    component.map_or_else(|| to.to_owned(), |component| reference(component))
}
