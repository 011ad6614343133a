//! The members of a value as a flat list of paths, such as `device.tags[]`.

use std::collections::BTreeSet;

use jackfield_contract::{Literal, Node, ObjectShape, Schema, Shape};
use serde_json::Value;

use super::type_text::type_text;
use crate::cli::shown_text::{json_line, shown_line};

/// Upper bound for the nesting of members that are listed.
const MAX_DEPTH: usize = 24;

/// One line about a part of a value.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Row {
    /// The path of the part; empty for the value itself. `<name>` is one of several alternatives.
    pub(super) path: String,
    pub(super) type_text: String,
    /// Whether it must be present, or always is; `None` if this cannot be said of it.
    pub(super) is_required: Option<bool>,
    pub(super) is_deprecated: bool,
    pub(super) default: Option<String>,
    /// The text of its doc comment, unescaped.
    pub(super) description: Option<String>,
}

impl Row {
    /// Returns what is said about the row, in one line of a markup that these functions write.
    pub(super) fn remarks(
        &self,
        strong: fn(&str) -> String,
        prose: fn(&str) -> String,
        code: fn(&str) -> String,
    ) -> String {
        let deprecated = self.is_deprecated.then(|| strong("deprecated"));
        let description = self.description.as_deref().map(prose);
        let default = self.default.as_deref().map(|default| format!("Default: {}", code(default)));
        [deprecated, description, default].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// Returns the value itself, and then its parts. The members of a definition are listed where it is
/// used first.
pub(super) fn outline(schema: &Schema) -> Vec<Row> {
    let mut outline = Outline { schema, rows: Vec::new(), listed: BTreeSet::new() };
    outline.add(&schema.root, String::new(), None);
    outline.parts(&schema.root, "", 0);
    outline.rows
}

struct Outline<'a> {
    schema: &'a Schema,
    rows: Vec<Row>,
    listed: BTreeSet<&'a str>,
}

impl<'a> Outline<'a> {
    fn add(&mut self, node: &'a Node, path: String, is_required: Option<bool>) {
        // The description at the place of use goes before that of the definition.
        let definition = self.schema.resolve(node);
        let description = node.description.as_ref().or(definition.description.as_ref());
        self.rows.push(Row {
            path,
            type_text: type_text(self.schema, node),
            is_required,
            is_deprecated: node.deprecated || definition.deprecated,
            default: node.default.as_ref().filter(|default| !default.is_null()).map(json_line),
            description: description.cloned(),
        });
    }

    fn parts(&mut self, node: &'a Node, path: &str, depth: usize) {
        if let Shape::Reference(name) = &node.shape
            && (name.is_empty() || !self.listed.insert(name))
        {
            return;
        }
        if depth > MAX_DEPTH {
            return;
        }

        match &self.schema.resolve(node).shape {
            Shape::Object(shape) => self.members(shape, path, depth),
            Shape::Array(shape) => {
                for (index, item) in shape.prefix.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    self.add(item, path.clone(), None);
                    self.parts(item, &path, depth + 1);
                }
                self.parts(&shape.items, &format!("{path}[]"), depth + 1);
            }
            Shape::Union(members) => self.alternatives(members, path, depth),
            Shape::Literals(literals) => self.literals(literals, path),
            _ => {}
        }
    }

    fn members(&mut self, shape: &'a ObjectShape, path: &str, depth: usize) {
        let member = |name: &str| match path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };

        for property in &shape.properties {
            let path = member(&shown_line(&property.name));
            self.add(&property.node, path.clone(), Some(property.is_required));
            self.parts(&property.node, &path, depth + 1);
        }
        if !matches!(shape.additional.shape, Shape::Any | Shape::Never) {
            let path = member("*");
            self.add(&shape.additional, path.clone(), None);
            self.parts(&shape.additional, &path, depth + 1);
        }
    }

    fn alternatives(&mut self, members: &'a [Node], path: &str, depth: usize) {
        let is_null = |member: &&Node| self.schema.resolve(member).shape == Shape::Null;
        let members: Vec<_> = members.iter().filter(|member| !is_null(member)).collect();
        // A value that may also be null has no alternatives worth a name.
        if let [member] = members[..] {
            return self.parts(member, path, depth + 1);
        }

        // The type has only the name of such a union, so that each alternative needs a row.
        let has_parts =
            members.iter().any(|member| matches!(member.shape, Shape::Object(_) | Shape::Reference(_)));
        for (index, member) in members.into_iter().enumerate() {
            let path = format!("{path}<{}>", self.name_of(member, index));
            if has_parts || member.description.is_some() {
                self.add(member, path.clone(), None);
            }
            self.parts(member, &path, depth + 1);
        }
    }

    /// Returns the name of an alternative: that of its definition, its title, its tag, or its
    /// number.
    fn name_of(&self, member: &Node, index: usize) -> String {
        let named = match &member.shape {
            Shape::Reference(name) if !name.is_empty() => Some(name.clone()),
            Shape::Object(shape) => tag_of(shape),
            _ => None,
        };
        let named = member.title.clone().or(named).map(|name| shown_line(&name));
        named.unwrap_or_else(|| (index + 1).to_string())
    }

    fn literals(&mut self, literals: &[Literal], path: &str) {
        for literal in literals.iter().filter(|literal| literal.description.is_some()) {
            let value = json_line(&literal.value);
            let path = if path.is_empty() { value } else { format!("{path} = {value}") };
            self.rows.push(Row { path, description: literal.description.clone(), ..Row::default() });
        }
    }
}

/// Returns what distinguishes an alternative from the others: the value of the first required
/// member that admits only one string, or the name of the only member.
fn tag_of(shape: &ObjectShape) -> Option<String> {
    let tag = shape.properties.iter().find_map(|property| match &property.node.shape {
        Shape::Literals(literals) if property.is_required => match &literals[..] {
            [Literal { value: Value::String(tag), .. }] => Some(tag.clone()),
            _ => None,
        },
        _ => None,
    });
    let only = match &shape.properties[..] {
        [only] => Some(only.name.clone()),
        _ => None,
    };
    tag.or(only)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn paths(schema: Value) -> Vec<String> {
        let rows = outline(&Schema::from_value(schema).unwrap());
        rows.iter().map(|row| format!("{}: {}", row.path, row.type_text)).collect()
    }

    #[test]
    fn lists_the_members_of_a_definition_where_it_is_used_first() {
        let node = json!({ "type": "object", "properties": {
            "name": { "type": "string" }, "next": { "anyOf": [{ "$ref": "#/$defs/Node" }, { "type": "null" }] },
        }});
        let schema = json!({ "type": "object", "properties": {
            "a": { "$ref": "#/$defs/Node" }, "b": { "type": "array", "items": { "$ref": "#/$defs/Node" } },
        }, "$defs": { "Node": node } });

        let expected = [": object", "a: Node", "a.name: string", "a.next: Node | null", "b: array of Node"];
        assert_eq!(paths(schema), expected);
    }

    #[test]
    fn names_alternatives_by_their_tag() {
        let tagged = |tag: &str, member: &str| {
            let properties = json!({ "type": { "const": tag }, member: { "type": "integer" } });
            json!({ "type": "object", "properties": properties, "required": ["type"] })
        };
        let schema = json!({ "oneOf": [tagged("added", "at"), { "type": "string", "title": "Text", "description": "d" }] });

        let expected = [
            ": object | string",
            "<added>: object",
            "<added>.type: \"added\"",
            "<added>.at: integer",
            "<Text>: string",
        ];
        assert_eq!(paths(schema), expected);
    }

    #[test]
    fn lists_alternatives_without_members_beside_those_with_members() {
        let data = json!({ "type": "object", "properties": { "Data": { "type": "integer" } } });
        let mixed = json!({ "oneOf": [{ "type": "string", "enum": ["Plain"] }, data] });
        let schema = json!({ "$ref": "#/$defs/Mixed", "$defs": { "Mixed": mixed } });

        let expected = [": Mixed", "<1>: \"Plain\"", "<Data>: object", "<Data>.Data: integer"];
        assert_eq!(paths(schema), expected);
    }

    #[test]
    fn lists_the_values_that_have_doc_comments() {
        let schema = json!({ "oneOf": [{ "const": "a", "description": "First." }, { "enum": ["b"] }] });
        assert_eq!(paths(schema), [": \"a\" | \"b\"", "\"a\": "]);
    }

    #[test]
    fn ends_at_a_limited_depth() {
        let mut definitions = serde_json::Map::new();
        for number in 0..6000 {
            let next = json!({ "$ref": format!("#/$defs/{}", (number + 1) % 6000) });
            definitions.insert(number.to_string(), json!({ "type": "object", "properties": { "n": next } }));
        }
        let schema = json!({ "$ref": "#/$defs/0", "$defs": definitions });

        assert!(paths(schema).len() < 100);
    }
}
