//! Built-in plugins: their methods are part of the program and are not loaded from a file.

use std::collections::HashMap;
use std::sync::Arc;

use jackfield_contract::{Contract, ContractReader, DescriptionPart};
use jackfield_plugin_api::Methods;
use jackfield_plugin_api::abi::{HostCell, Instance};
use jackfield_plugin_api::manifest::DeclaredMethod;
use serde::Deserialize;
use serde_json::value::RawValue;

type MakeInstance = Box<dyn FnOnce(&Arc<HostCell>) -> Instance + Send>;

/// A built-in plugin that has not been started.
pub(crate) struct BuiltInPlugin {
    pub(super) name: String,
    pub(super) methods: Vec<DeclaredMethod>,
    pub(super) contract: Contract,
    pub(super) make_instance: MakeInstance,
}

/// The parts of the description of a method, as a built-in plugin writes them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MethodDescription {
    facts: Option<Box<RawValue>>,
    params: Option<Box<RawValue>>,
    result: Option<Box<RawValue>>,
}

impl BuiltInPlugin {
    /// Creates a plugin from its state and its methods.
    pub(crate) fn new<S: Send + Sync + 'static>(name: &str, state: S, methods: Methods<S>) -> Self {
        let declared =
            methods.declared().map(|(name, run)| DeclaredMethod { name: name.to_owned(), run }).collect();
        let contract = Contract::of_names(methods.declared().map(|(name, _)| name));
        let make_instance: MakeInstance = Box::new(move |host| Instance::local(state, methods, host));
        Self { name: name.to_owned(), methods: declared, contract, make_instance }
    }

    /// Describes methods with the parts of their descriptions: a JSON object with the members
    /// `facts`, `params` and `result` for each name. A faulty part says nothing.
    pub(crate) fn described(self, descriptions: &str) -> Self {
        let names = || self.methods.iter().map(|method| method.name.as_str());
        let described: HashMap<String, MethodDescription> =
            serde_json::from_str(descriptions).unwrap_or_default();

        let mut reader = ContractReader::new(names());
        for (number, name) in names().enumerate() {
            let Some(MethodDescription { facts, params, result }) = described.get(name) else { continue };
            let parts = [
                (DescriptionPart::Facts, facts),
                (DescriptionPart::Params, params),
                (DescriptionPart::Result, result),
            ];
            for (part, document) in parts {
                let document = document.as_ref().map_or("", |document| document.get());
                let _ = reader.add(number, part, document.as_bytes());
            }
        }
        Self { contract: reader.finish(), ..self }
    }

    /// Creates a plugin whose instance is made by a test.
    #[cfg(test)]
    pub(crate) fn with_instance(
        name: String,
        methods: Vec<DeclaredMethod>,
        make_instance: impl FnOnce(&Arc<HostCell>) -> Instance + Send + 'static,
    ) -> Self {
        let contract = Contract::of_names(methods.iter().map(|method| method.name.as_str()));
        Self { name, methods, contract, make_instance: Box::new(make_instance) }
    }
}
