//! The structs and enums of a module.

use std::collections::{BTreeMap, BTreeSet};

use super::code::Code;
use crate::model::{Docs, Field, Item, NamedType, StructItem, Tagging, Type, TypeId, Variant};
use crate::names::{NameScope, identifier};
use crate::ownership::Ownership;
use crate::source_text::{default_sentence, literal};

/// Writes types, and the paths that lead to them.
pub(super) struct TypeWriter<'a> {
    types: &'a BTreeMap<TypeId, NamedType>,
    boxed: BTreeMap<TypeId, BTreeSet<TypeId>>,
}

impl<'a> TypeWriter<'a> {
    pub(super) fn new(types: &'a BTreeMap<TypeId, NamedType>, ownership: &Ownership) -> Self {
        Self { types, boxed: ownership.boxed() }
    }

    /// Returns a type as it is written outside of other types.
    pub(super) fn path(&self, ty: &Type) -> String {
        self.path_in(ty, None)
    }

    /// Returns a type as it is written in the type `owner`, if values of that store it in place.
    fn path_in(&self, ty: &Type, owner: Option<TypeId>) -> String {
        match ty {
            Type::Value => "::serde_json::Value".to_owned(),
            Type::Map => "::serde_json::Map<String, ::serde_json::Value>".to_owned(),
            Type::Unit => "()".to_owned(),
            Type::Bool => "bool".to_owned(),
            Type::Integer(name) | Type::Float(name) => (*name).to_owned(),
            Type::Text => "String".to_owned(),
            Type::List(inner) => format!("Vec<{}>", self.path(inner)),
            Type::FixedList(inner, length) => format!("[{}; {length}]", self.path_in(inner, owner)),
            Type::Dictionary(inner) => {
                format!("::std::collections::BTreeMap<String, {}>", self.path(inner))
            }
            Type::Optional(inner) => format!("Option<{}>", self.path_in(inner, owner)),
            Type::Tuple(members) => {
                let members: Vec<_> = members.iter().map(|member| self.path_in(member, owner)).collect();
                let comma = if members.len() == 1 { "," } else { "" };
                format!("({}{comma})", members.join(", "))
            }
            Type::Named(id) => {
                let name = self.types.get(id).map_or("::serde_json::Value", |named| &named.name);
                let is_boxed =
                    owner.and_then(|owner| self.boxed.get(&owner)).is_some_and(|it| it.contains(id));
                if is_boxed { format!("Box<{name}>") } else { name.to_owned() }
            }
        }
    }

    pub(super) fn write_all(&self, code: &mut Code) {
        for (id, named) in self.types {
            code.blank();
            self.write(code, *id, named);
        }
    }

    fn write(&self, code: &mut Code, id: TypeId, named: &NamedType) {
        write_docs(code, &named.docs);
        match &named.item {
            Item::Struct(item) => self.write_struct(code, id, named, item),
            Item::TextEnum(variants) => self.write_enum(code, id, named, &Tagging::External, variants),
            Item::Union(tagging, variants) => self.write_enum(code, id, named, tagging, variants),
            Item::Newtype(ty) => {
                write_derives(code, &[]);
                code.line("#[serde(transparent)]");
                code.line(&format!("pub struct {}(pub {});", named.name, self.path_in(ty, Some(id))));
            }
        }
    }

    fn write_struct(&self, code: &mut Code, id: TypeId, named: &NamedType, item: &StructItem) {
        let has_default = item.fields.iter().all(|field| !field.is_required);
        write_derives(code, if has_default { &["Default"] } else { &[] });
        if item.fields.is_empty() && item.additional.is_none() {
            return code.line(&format!("pub struct {} {{}}", named.name));
        }

        code.open(&format!("pub struct {} {{", named.name));
        for field in &item.fields {
            write_docs(code, &field.docs);
            let mut arguments = Vec::new();
            if field.field != field.name {
                arguments.push(format!("rename = {}", literal(&field.name)));
            }
            if !field.is_required {
                arguments.push("skip_serializing_if = \"Option::is_none\"".to_owned());
            }
            if !arguments.is_empty() {
                code.attribute("serde", &arguments);
            }
            code.line(&format!("pub {}: {},", identifier(&field.field), self.path_in(&field.ty, Some(id))));
        }
        let additional = item.additional.as_ref().map(|values| (additional_field(item), values));
        if let Some((field, values)) = &additional {
            code.doc("Members with other names.");
            code.line("#[serde(flatten)]");
            let path = format!("::std::collections::BTreeMap<String, {}>", self.path(values));
            code.line(&format!("pub {field}: {path},"));
        }
        code.close("}");

        if named.is_sent && !has_default {
            code.blank();
            self.write_new(code, id, named, item, additional.map(|(field, _)| field));
        }
    }

    /// Writes the function that takes the required members.
    fn write_new(
        &self,
        code: &mut Code,
        id: TypeId,
        named: &NamedType,
        item: &StructItem,
        additional: Option<String>,
    ) {
        let required = item.fields.iter().filter(|field| field.is_required);
        let arguments: Vec<_> = required.map(|field| self.new_argument(id, field)).collect();

        code.open(&format!("impl {} {{", named.name));
        code.doc("Returns a value with the required members.");
        code.open_function("pub fn new", &arguments, "Self");
        code.open("Self {");
        for field in &item.fields {
            let name = identifier(&field.field);
            code.line(&match (&field.ty, field.is_required) {
                (_, false) => format!("{name}: None,"),
                (Type::Text, true) => format!("{name}: {name}.into(),"),
                (_, true) => format!("{name},"),
            });
        }
        if let Some(field) = additional {
            code.line(&format!("{field}: Default::default(),"));
        }
        code.close("}");
        code.close("}");
        code.close("}");
    }

    fn new_argument(&self, owner: TypeId, field: &Field) -> String {
        let path = match &field.ty {
            Type::Text => "impl Into<String>".to_owned(),
            ty => self.path_in(ty, Some(owner)),
        };
        format!("{}: {path}", identifier(&field.field))
    }

    /// Writes an enum. If results contain it, it has a last variant for values that are not known
    /// yet: a later host may return them, and a result that contains one is still read.
    fn write_enum(
        &self,
        code: &mut Code,
        id: TypeId,
        named: &NamedType,
        tagging: &Tagging,
        variants: &[Variant],
    ) {
        let is_text = matches!(named.item, Item::TextEnum(_));
        write_derives(code, if is_text { &["Eq", "Hash"] } else { &[] });
        match tagging {
            Tagging::External => {}
            Tagging::Internal(tag) => code.attribute("serde", &[format!("tag = {}", literal(tag))]),
            Tagging::Untagged => code.line("#[serde(untagged)]"),
        }

        code.open(&format!("pub enum {} {{", named.name));
        for variant in variants {
            write_docs(code, &variant.docs);
            if *tagging != Tagging::Untagged && variant.variant != variant.name {
                code.attribute("serde", &[format!("rename = {}", literal(&variant.name))]);
            }
            let content = variant.content.as_ref().map(|ty| format!("({})", self.path_in(ty, Some(id))));
            code.line(&format!("{}{},", variant.variant, content.unwrap_or_default()));
        }

        if named.is_received {
            let names: Vec<_> = variants.iter().map(|variant| variant.variant.as_str()).collect();
            let name = NameScope::with(&names).take("Unknown", "");
            code.doc("A value that was not known when this code was generated.");
            if *tagging != Tagging::Untagged {
                code.line("#[serde(untagged)]");
            }
            let content = if is_text { "String" } else { "::serde_json::Value" };
            code.line(&format!("{name}({content}),"));
        }
        code.close("}");
    }
}

/// Returns the name of the field for members with other names, which no other field has.
fn additional_field(item: &StructItem) -> String {
    let names: Vec<_> = item.fields.iter().map(|field| field.field.as_str()).collect();
    NameScope::with(&names).take("additional", "_")
}

fn write_derives(code: &mut Code, further: &[&str]) {
    let derives = ["Clone", "Debug", "PartialEq"].iter().chain(further).copied();
    let derives: Vec<_> = derives.chain(["::serde::Deserialize", "::serde::Serialize"]).collect();
    code.line(&format!("#[derive({})]", derives.join(", ")));
}

fn write_docs(code: &mut Code, docs: &Docs) {
    let default = docs.default.as_deref().and_then(default_sentence);
    code.doc_paragraphs(docs.description.as_deref().into_iter().chain(default.as_deref()));
    if docs.deprecated {
        code.line("#[deprecated]");
    }
}
