//! The definitions of a schema: which lead to themselves, and which are the same in two schemas.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use jackfield_contract::{Node, Schema, Shape};

use crate::reachability::reachable;

/// A schema with what is known about its definitions. The root is the definition with the empty
/// name.
#[derive(Debug)]
pub(crate) struct SchemaIndex<'a> {
    schema: &'a Schema,
    root_name: String,
    fingerprints: BTreeMap<&'a str, u64>,
    references: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// The references that lead to a definition for the same JSON value, not for a part of it.
    same_value: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> SchemaIndex<'a> {
    pub(crate) fn new(schema: &'a Schema, root_name: &str) -> Self {
        let mut index = Self {
            schema,
            root_name: root_name.to_owned(),
            fingerprints: BTreeMap::new(),
            references: BTreeMap::new(),
            same_value: BTreeMap::new(),
        };

        let definitions = schema.definitions.iter().map(|(name, node)| (name.as_str(), node));
        for (name, node) in definitions.chain([("", &schema.root)]) {
            let mut hasher = DefaultHasher::new();
            fingerprint(node, root_name, &mut hasher);
            index.fingerprints.insert(name, hasher.finish());

            let mut all = BTreeSet::new();
            collect_references(node, &mut all);
            index.references.insert(name, all);

            let mut same = BTreeSet::new();
            collect_same_value(node, &mut same);
            index.same_value.insert(name, same);
        }
        index
    }

    /// Returns the definition with this name.
    pub(crate) fn node(&self, name: &str) -> Option<&'a Node> {
        if name.is_empty() { Some(&self.schema.root) } else { self.schema.definitions.get(name) }
    }

    /// As [`Schema::resolve`].
    pub(crate) fn resolve(&self, node: &'a Node) -> &'a Node {
        self.schema.resolve(node)
    }

    /// Returns the name of a definition as its author wrote it.
    pub(crate) fn display_name(&self, name: &str) -> String {
        if name.is_empty() { self.root_name.clone() } else { name.to_owned() }
    }

    /// Returns whether the definition contains itself.
    pub(crate) fn is_recursive(&self, name: &str) -> bool {
        reachable(&self.references, [name]).contains(name)
    }

    /// Returns whether the definition is only a reference to itself, through other references and
    /// unions. It has no meaning, and code that follows it would never end.
    pub(crate) fn is_cyclic(&self, name: &str) -> bool {
        reachable(&self.same_value, [name]).contains(name)
    }

    /// Returns a key that is equal for definitions with equal names and structures, also in other
    /// schemas. Titles, descriptions and defaults do not matter.
    pub(crate) fn key(&self, name: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.display_name(name).hash(&mut hasher);
        self.fingerprints.get(name).hash(&mut hasher);

        let mut parts: Vec<_> = reachable(&self.references, [name])
            .into_iter()
            .map(|name| (self.display_name(name), self.fingerprints.get(name)))
            .collect();
        parts.sort();
        parts.hash(&mut hasher);
        hasher.finish()
    }
}

fn collect_references<'a>(node: &'a Node, found: &mut BTreeSet<&'a str>) {
    match &node.shape {
        Shape::Reference(name) => {
            found.insert(name);
        }
        Shape::Union(members) => members.iter().for_each(|member| collect_references(member, found)),
        Shape::Array(array) => {
            array.prefix.iter().chain([&array.items]).for_each(|item| collect_references(item, found));
        }
        Shape::Object(object) => {
            let members = object.properties.iter().map(|property| &property.node);
            members.chain([&object.additional]).for_each(|member| collect_references(member, found));
        }
        _ => {}
    }
}

fn collect_same_value<'a>(node: &'a Node, found: &mut BTreeSet<&'a str>) {
    match &node.shape {
        Shape::Reference(name) => {
            found.insert(name);
        }
        Shape::Union(members) => members.iter().for_each(|member| collect_same_value(member, found)),
        _ => {}
    }
}

/// Hashes the structure of a node, without remarks.
fn fingerprint(node: &Node, root_name: &str, hasher: &mut DefaultHasher) {
    std::mem::discriminant(&node.shape).hash(hasher);

    match &node.shape {
        Shape::Reference(name) if name.is_empty() => root_name.hash(hasher),
        Shape::Reference(name) => name.hash(hasher),
        Shape::Integer(integer) => (integer.minimum, integer.maximum, &integer.format).hash(hasher),
        Shape::Number(number) => number.format.hash(hasher),
        Shape::Literals(literals) => {
            literals.iter().for_each(|literal| literal.value.to_string().hash(hasher));
        }
        Shape::Union(members) => {
            members.len().hash(hasher);
            members.iter().for_each(|member| fingerprint(member, root_name, hasher));
        }
        Shape::Array(array) => {
            (array.prefix.len(), array.min_items, array.max_items).hash(hasher);
            let items = array.prefix.iter().chain([&array.items]);
            items.for_each(|item| fingerprint(item, root_name, hasher));
        }
        Shape::Object(object) => {
            object.properties.len().hash(hasher);
            for property in &object.properties {
                (&property.name, property.is_required).hash(hasher);
                fingerprint(&property.node, root_name, hasher);
            }
            fingerprint(&object.additional, root_name, hasher);
        }
        _ => {}
    }
}
