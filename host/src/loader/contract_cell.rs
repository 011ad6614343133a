//! The contract of a plugin content, which is known once its code has described itself.

use std::sync::{Arc, OnceLock};

use jackfield_contract::Contract;
use jackfield_plugin_api::Manifest;

/// The contract of one content. All copies of the content share it, so that its code is asked once.
#[derive(Debug, Clone, Default)]
pub(crate) struct ContractCell(Arc<OnceLock<Arc<Contract>>>);

impl ContractCell {
    /// Returns the contract, if the code has described itself.
    pub(crate) fn get(&self) -> Option<Arc<Contract>> {
        self.0.get().map(Arc::clone)
    }

    /// Returns the contract. If the code has not described itself, it has only the names of the
    /// manifest.
    pub(crate) fn get_or_names(&self, manifest: &Manifest) -> Arc<Contract> {
        self.get().unwrap_or_else(|| {
            Arc::new(Contract::of_names(manifest.methods.iter().map(|method| method.name.as_str())))
        })
    }

    /// Sets the contract, unless it is set.
    pub(crate) fn set(&self, contract: Arc<Contract>) {
        let _ = self.0.set(contract);
    }
}
