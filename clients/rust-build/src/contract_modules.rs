//! From a contract to modules: one for each first segment of the method names.

use std::collections::BTreeMap;

use jackfield_contract::{Contract, MethodContract, Parameters, Schema, Shape, is_method_of_host};

use crate::model::{Body, Method, Module, NamedType, Type, TypeId};
use crate::names::{self, NameScope};
use crate::ownership::Ownership;
use crate::type_builder::TypeBuilder;

/// Functions that every client has.
const CLIENT_FUNCTIONS: [&str; 2] = ["new", "with_timeout"];

/// A module whose types are numbered.
#[derive(Debug)]
pub(crate) struct TypedModule {
    pub(crate) module: Module,
    pub(crate) types: BTreeMap<TypeId, NamedType>,
    pub(crate) ownership: Ownership,
}

/// Returns the modules of a contract, sorted by name. The methods of the host itself are left out,
/// so that the modules do not depend on its version.
pub(crate) fn modules(contract: &Contract) -> Vec<TypedModule> {
    let mut groups: BTreeMap<String, Vec<&MethodContract>> = BTreeMap::new();
    for method in contract.methods().iter().filter(|method| !is_method_of_host(&method.name)) {
        let name = names::snake_case(first_segment(&method.name), "methods");
        groups.entry(name).or_default().push(method);
    }
    groups.into_iter().map(|(name, methods)| module(name, &methods)).collect()
}

fn first_segment(method: &str) -> &str {
    method.split('.').next().unwrap_or_default()
}

fn module(name: String, contracts: &[&MethodContract]) -> TypedModule {
    let mut builder = TypeBuilder::new();
    let mut functions = NameScope::with(&CLIENT_FUNCTIONS);
    let mut errors: BTreeMap<i64, Vec<String>> = BTreeMap::new();

    let mut methods = Vec::new();
    for contract in contracts {
        let method = method(&mut builder, &mut functions, contract);
        for (code, message) in &method.errors {
            let meanings = errors.entry(*code).or_default();
            if !meanings.contains(message) {
                meanings.push(message.clone());
            }
        }
        methods.push(method);
    }

    let mut types = builder.finish();
    let ownership = Ownership::new(&types);
    let params = methods.iter().filter_map(|method| method.params.as_ref()).filter_map(json_type);
    let sent = ownership.contained(params);
    let received = ownership.contained(methods.iter().filter_map(|method| json_type(&method.result)));
    for (id, named) in &mut types {
        named.is_sent = sent.contains(id);
        named.is_received = received.contains(id);
    }
    // A union whose values are not known has left types of its members behind.
    types.retain(|(_, named)| named.is_sent || named.is_received);

    let prefix = contracts.first().map(|contract| first_segment(&contract.name)).unwrap_or_default();
    let prefix = prefix.to_owned();
    let module = Module { name, prefix, methods, errors: errors.into_iter().collect() };
    TypedModule { module, types: types.into_iter().collect(), ownership }
}

fn method(builder: &mut TypeBuilder, functions: &mut NameScope, contract: &MethodContract) -> Method {
    let MethodContract { name, facts, params, result, examples: _ } = contract;
    let rest = name.split_once('.').map_or(name.as_str(), |(_, rest)| rest);
    let function = functions.take(&names::snake_case(rest, "call"), "_");
    let type_name = names::pascal_case(&function, "Call");

    let params = match params {
        Parameters::None => None,
        Parameters::Unknown => Some(Body::Json(Type::Value)),
        Parameters::Schema(schema) => body(builder, schema, &format!("{type_name}Params")),
    };
    let result = match result {
        None => Body::Json(Type::Value),
        Some(schema) => {
            body(builder, schema, &format!("{type_name}Result")).unwrap_or(Body::Json(Type::Unit))
        }
    };

    Method {
        name: name.clone(),
        function,
        summary: facts.summary.clone(),
        description: facts.description.clone(),
        deprecated: facts.deprecated.clone(),
        idempotent: facts.idempotent,
        errors: facts.errors.iter().map(|error| (error.code, error.message.clone())).collect(),
        params,
        result,
    }
}

/// Returns the body that a schema describes; `None` if it is always `null`.
fn body(builder: &mut TypeBuilder, schema: &Schema, fallback: &str) -> Option<Body> {
    if schema.resolve(&schema.root).shape == Shape::Bytes {
        return Some(Body::Bytes);
    }
    match builder.type_of_schema(schema, fallback) {
        Type::Unit => None,
        ty => Some(Body::Json(ty)),
    }
}

fn json_type(body: &Body) -> Option<&Type> {
    match body {
        Body::Json(ty) => Some(ty),
        Body::Bytes => None,
    }
}
