//! Built-in plugins: their methods are part of the program and are not loaded from a file.

use std::sync::Arc;

use jackfield_plugin_api::Methods;
use jackfield_plugin_api::abi::{HostCell, Instance};
use jackfield_plugin_api::manifest::DeclaredMethod;

type MakeInstance = Box<dyn FnOnce(&Arc<HostCell>) -> Instance + Send>;

/// A built-in plugin that has not been started.
pub(crate) struct BuiltInPlugin {
    pub(super) name: String,
    pub(super) methods: Vec<DeclaredMethod>,
    pub(super) make_instance: MakeInstance,
}

impl BuiltInPlugin {
    /// Creates a plugin from its state and its methods.
    pub(crate) fn new<S: Send + Sync + 'static>(name: &str, state: S, methods: Methods<S>) -> Self {
        let declared =
            methods.declared().map(|(name, run)| DeclaredMethod { name: name.to_owned(), run }).collect();
        let make_instance: MakeInstance = Box::new(move |host| Instance::local(state, methods, host));
        Self { name: name.to_owned(), methods: declared, make_instance }
    }

    /// Creates a plugin whose instance is made by a test.
    #[cfg(test)]
    pub(crate) fn with_instance(
        name: String,
        methods: Vec<DeclaredMethod>,
        make_instance: impl FnOnce(&Arc<HostCell>) -> Instance + Send + 'static,
    ) -> Self {
        Self { name, methods, make_instance: Box::new(make_instance) }
    }
}
