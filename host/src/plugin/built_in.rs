//! Plugins that are part of the program: their methods are written there, not loaded.

use std::sync::Arc;

use jackfield_plugin_api::Methods;
use jackfield_plugin_api::abi::{HostCell, Instance};
use jackfield_plugin_api::manifest::DeclaredMethod;

type MakeInstance = Box<dyn FnOnce(&Arc<HostCell>) -> Instance + Send>;

/// A plugin of the program's own, not yet started.
pub(crate) struct BuiltInPlugin {
    pub(crate) name: String,
    pub(crate) methods: Vec<DeclaredMethod>,
    pub(crate) make: MakeInstance,
}

impl BuiltInPlugin {
    pub(crate) fn new<S: Send + Sync + 'static>(name: &str, plugin: S, methods: Methods<S>) -> Self {
        let declared =
            methods.declared().map(|(name, run)| DeclaredMethod { name: name.to_owned(), run }).collect();
        let make: MakeInstance = Box::new(move |cell| Instance::local(plugin, methods, cell));
        Self { name: name.to_owned(), methods: declared, make }
    }
}
