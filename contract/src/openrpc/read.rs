//! From an OpenRPC document to a contract.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::extensions::{
    COMPONENTS, DEPRECATED, IDEMPOTENT, NAMES, PARAMS, PARAMS_NONE, PARAMS_SCHEMA, PARAMS_VALUE, RESULT,
    RESULT_UNKNOWN, ROOT,
};
use super::references::map_references;
use crate::schema_keywords::{reference_to, unescape};
use crate::{Contract, DeclaredError, Example, MethodContract, MethodFacts, Parameters, Schema, SchemaFault};

/// The most bytes of the name of a method, as in the manifest of a plugin.
const NAME_MAX: usize = 256;

/// The most values in all schemas together. Many methods may refer to the same components, and each
/// schema has copies of its own.
const VALUES_MAX: usize = 1_000_000;

/// The reason why a document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenRpcFault {
    /// It is not JSON, or not an OpenRPC document.
    #[error("not an OpenRPC document: {0}")]
    Invalid(String),
    /// A schema of a method is not valid.
    #[error("{method}: {place}: {fault}")]
    Schema {
        /// The method.
        method: String,
        /// Which schema.
        place: &'static str,
        /// The fault of the schema.
        fault: SchemaFault,
    },
}

/// A method, as far as OpenRPC defines what is read of it.
#[derive(Deserialize)]
struct Method {
    name: String,
    summary: Option<String>,
    description: Option<String>,
    #[serde(default)]
    deprecated: bool,
    #[serde(default)]
    errors: Vec<DeclaredError>,
    #[serde(default)]
    examples: Vec<Pairing>,
    params: Vec<Value>,
}

/// An example of a method.
#[derive(Deserialize)]
struct Pairing {
    params: Vec<NamedValue>,
    result: Option<NamedValue>,
    #[serde(default, rename = "x-jackfield-params")]
    kind: String,
}

#[derive(Deserialize)]
struct NamedValue {
    name: String,
    #[serde(default)]
    value: Value,
}

/// A contract with the head of its document.
#[derive(Debug, Clone, PartialEq)]
pub struct DescribedContract {
    /// The name of what is described: `jackfield` for a host, the name of the plugin for one
    /// plugin. Empty if the document has none.
    pub title: String,
    /// The version of the host or of the plugin. Empty if the document has none.
    pub version: String,
    /// The contract of its methods.
    pub contract: Contract,
}

/// Reads a contract out of a document that [`write`](super::write) wrote. Of other documents, it
/// reads everything but the schemas of params.
///
/// # Errors
///
/// It is not an OpenRPC document, or a schema in it is not valid. A document whose schemas have
/// more than 1,000,000 values together, with a copy of each component for each schema that needs
/// it, is refused, too.
pub fn read(document: &[u8]) -> Result<Contract, OpenRpcFault> {
    read_document(document).map(|document| document.contract)
}

/// Reads a document as [`read`] does, with its head.
///
/// # Errors
///
/// As [`read`].
pub fn read_document(document: &[u8]) -> Result<DescribedContract, OpenRpcFault> {
    let document: Value = serde_json::from_slice(document).map_err(invalid)?;
    let version = document.get("openrpc").and_then(Value::as_str).unwrap_or_default();
    if !version.starts_with("1.") {
        return Err(OpenRpcFault::Invalid("it has no member \"openrpc\" with a version 1.x".to_owned()));
    }
    let methods = document.get("methods").and_then(Value::as_array);
    let methods = methods.ok_or_else(|| OpenRpcFault::Invalid("it has no list of methods".to_owned()))?;

    let mut schemas = Schemas {
        components: document.pointer("/components/schemas").and_then(Value::as_object),
        names: document.get(NAMES).and_then(Value::as_object),
        values: 0,
    };
    let contracts: Result<Vec<_>, _> =
        methods.iter().map(|method| read_method(method, &mut schemas)).collect();

    let head = |member: &str| document["info"][member].as_str().unwrap_or_default().to_owned();
    Ok(DescribedContract {
        title: head("title"),
        version: head("version"),
        contract: Contract::new(contracts?),
    })
}

fn read_method<'a>(document: &'a Value, schemas: &mut Schemas<'a>) -> Result<MethodContract, OpenRpcFault> {
    let method = Method::deserialize(document).map_err(invalid)?;
    if !is_method_name(&method.name) {
        return Err(OpenRpcFault::Invalid(format!("{:?} is not the name of a method", method.name)));
    }
    let deprecated = document.get(DEPRECATED).and_then(Value::as_str).unwrap_or_default();
    let mut read_schema = |place, schema: Option<&'a Value>| match schema {
        Some(schema) => schemas.read(schema).map(Some).map_err(|fault| OpenRpcFault::Schema {
            method: method.name.clone(),
            place,
            fault,
        }),
        None => Ok(None),
    };

    let params = match read_schema(PARAMS_SCHEMA, document.get(PARAMS_SCHEMA))? {
        Some(schema) => Parameters::Schema(schema),
        None if method.params.is_empty() => Parameters::None,
        None => Parameters::Unknown,
    };
    let result = document.pointer("/result/schema");
    let is_known = document.get(RESULT).and_then(Value::as_str) != Some(RESULT_UNKNOWN);
    let result = read_schema("result", result.filter(|_| is_known))?;
    let is_by_name = matches!(params, Parameters::Schema(_)) && document.get(PARAMS).is_none();
    Ok(MethodContract {
        facts: MethodFacts {
            summary: method.summary,
            description: method.description,
            idempotent: document.get(IDEMPOTENT) == Some(&Value::Bool(true)),
            deprecated: method.deprecated.then(|| deprecated.to_owned()),
            errors: method.errors,
        },
        params,
        result,
        examples: method.examples.into_iter().map(|pairing| example(pairing, is_by_name)).collect(),
        name: method.name,
    })
}

fn example(pairing: Pairing, is_by_name: bool) -> Example {
    let named = pairing.params.into_iter();
    let params = match &*pairing.kind {
        PARAMS_VALUE => named.map(|param| param.value).next(),
        PARAMS_NONE => None,
        _ if named.len() == 0 && !is_by_name => None,
        _ => Some(Value::Object(named.map(|param| (param.name, param.value)).collect())),
    };
    Example { params, result: pairing.result.map(|result| result.value) }
}

/// The schemas of a document.
struct Schemas<'a> {
    components: Option<&'a Map<String, Value>>,

    /// The names of definitions in the schemas, by the names of their components.
    names: Option<&'a Map<String, Value>>,

    /// The values in all schemas that were read.
    values: usize,
}

impl<'a> Schemas<'a> {
    /// Makes a schema of its own out of a part of the document.
    fn read(&mut self, schema: &'a Value) -> Result<Schema, SchemaFault> {
        let root = schema.get("$ref").filter(|_| schema.get(ROOT).is_some());
        let root = root.and_then(Value::as_str).and_then(component_name);
        let document = root.as_deref().and_then(|root| self.component(root)).unwrap_or(schema);

        let mut needed = Vec::new();
        let mut definitions = Map::new();
        let mut components = HashMap::new();
        let mut document = self.with_definitions(document, root.as_deref(), &mut needed)?;
        while let Some(name) = needed.pop() {
            let own_name = self.own_name(&name).to_owned();
            let known = components.get(&own_name);
            if known == Some(&name) {
                continue;
            }

            let definition = self.component(&name).filter(|_| known.is_none());
            let definition = definition
                .ok_or_else(|| SchemaFault::Reference { path: String::new(), reference: name.clone() })?;
            let definition = self.with_definitions(definition, root.as_deref(), &mut needed)?;
            definitions.insert(own_name.clone(), definition);
            components.insert(own_name, name);
        }

        if let (Value::Object(document), false) = (&mut document, definitions.is_empty()) {
            document.insert("$defs".to_owned(), definitions.into());
        }
        Schema::from_value(document)
    }

    /// Copies a schema. Its references to components lead to definitions, or to the root.
    fn with_definitions(
        &mut self,
        schema: &Value,
        root: Option<&str>,
        needed: &mut Vec<String>,
    ) -> Result<Value, SchemaFault> {
        self.values += count(schema);
        if self.values > VALUES_MAX {
            return Err(SchemaFault::TooLarge);
        }

        Ok(map_references(schema, &mut |reference| match component_name(reference) {
            Some(name) if Some(&*name) == root => "#".to_owned(),
            Some(name) => {
                let reference = reference_to(self.own_name(&name));
                needed.push(name);
                reference
            }
            None => reference.to_owned(),
        }))
    }

    fn component(&self, name: &str) -> Option<&'a Value> {
        self.components?.get(name)
    }

    /// Returns the name of a component in the schemas.
    fn own_name<'n>(&self, component: &'n str) -> &'n str
    where
        'a: 'n,
    {
        let name = self.names.and_then(|names| names.get(component)).and_then(Value::as_str);
        name.unwrap_or(component)
    }
}

fn component_name(reference: &str) -> Option<String> {
    reference.strip_prefix(COMPONENTS).map(unescape)
}

/// Counts the values that a value consists of.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(members) => members.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// Returns whether a text has the form of the name of a method.
fn is_method_name(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    let is_segment = |segment: &str| !segment.is_empty() && segment.chars().all(is_letter);
    name.len() <= NAME_MAX && name.split('.').all(is_segment)
}

fn invalid(error: serde_json::Error) -> OpenRpcFault {
    OpenRpcFault::Invalid(error.to_string())
}
