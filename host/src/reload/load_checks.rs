//! The checks of a staged file before it is probed: names, signature, and room for a generation.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use jackfield_plugin_api::abi::keys::are_left;
use jackfield_plugin_api::manifest::DeclaredMethod;

use super::owner::PluginOwner;
use super::plugin_slot::PluginSlot;
use crate::config::{Config, KeyId};
use crate::crash_record::Quarantined;
use crate::loader::{LoadError, LoadErrorReason, VerifiedSignature};
use crate::log::{Counted, ShortDuration};

/// The most generations of one plugin that may drain at the same time.
pub(super) const DRAINING_MAX: usize = 8;

/// Keys for thread-local values (`pthread_key_create`) that must be left for one more generation.
/// It needs far fewer, but a process that needs a key and finds none aborts.
const SPARE_THREAD_KEYS: usize = 64;

/// Why a staged file must not be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadCheckError {
    #[error("{0:?} is the name of a built-in plugin; rename the file")]
    BuiltInName(String),

    #[error("the plugin {plugin:?} is already loaded from {}; rename or remove one of the files", .file.display())]
    NameTaken { plugin: String, file: OsString },

    #[error("the method {method:?} already belongs to the plugin {plugin:?}; rename it in one of them")]
    MethodTaken { method: String, plugin: Arc<str> },

    #[error(
        "the content was loaded before keys were trusted, so its signature is unknown; install a signed file"
    )]
    Unsigned,

    #[error(
        "the content is signed with key {0}, which is no longer in plugins.trusted_keys; sign it with a trusted key"
    )]
    KeyNotTrusted(KeyId),

    #[error(
        "the signature has the timestamp {signed}, older than {served} of the content that serves or served last; \
         sign the file again if it is to be loaded"
    )]
    OlderThanServing { signed: u64, served: u64 },

    #[error("{} of the plugin still drain, as many as may; wait until one of them has ended", Counted(*.0, "generation"))]
    TooManyDraining(usize),

    #[error("plugins.retained is reached: {} could not be unloaded; restart the host", Counted(*.0, "generation"))]
    TooManyRetained(usize),

    #[error(
        "the process has fewer than {} keys for thread-local values left; restart the host",
        SPARE_THREAD_KEYS
    )]
    NoThreadKeys,

    #[error(
        "the plugin was running in {} of the host within {}, last in {}; replace its file or run \
         \"jackfield plugin reload {}\"",
        Counted(.content.crashes, "crash"), ShortDuration(*.window), .content.method, .content.plugin
    )]
    Quarantined { content: Quarantined, window: Duration },
}

impl LoadCheckError {
    fn reason(&self) -> LoadErrorReason {
        match self {
            Self::BuiltInName(_) | Self::NameTaken { .. } => LoadErrorReason::NameTaken,
            Self::MethodTaken { .. } => LoadErrorReason::MethodTaken,
            Self::Unsigned => LoadErrorReason::Unsigned,
            Self::KeyNotTrusted(_) => LoadErrorReason::UnknownKey,
            Self::OlderThanServing { .. } => LoadErrorReason::OlderThanServing,
            Self::TooManyDraining(_) => LoadErrorReason::TooManyDraining,
            Self::TooManyRetained(_) => LoadErrorReason::TooManyRetained,
            Self::NoThreadKeys => LoadErrorReason::NoThreadKeys,
            Self::Quarantined { .. } => LoadErrorReason::TooManyCrashes,
        }
    }
}

impl From<LoadCheckError> for LoadError {
    fn from(error: LoadCheckError) -> Self {
        Self::new(error.reason(), error)
    }
}

impl PluginOwner {
    /// Checks that no other plugin has the name or one of the methods. The plugin that has a name
    /// keeps it.
    pub(super) fn check_names(
        &self,
        name: &str,
        file: &OsString,
        methods: &[DeclaredMethod],
    ) -> Result<(), LoadCheckError> {
        if self.built_in_names.contains(name) {
            return Err(LoadCheckError::BuiltInName(name.to_owned()));
        }

        let serving_file = self.slots.get(name).and_then(PluginSlot::file);
        if let Some(other) = serving_file.filter(|other| *other != file) {
            return Err(LoadCheckError::NameTaken { plugin: name.to_owned(), file: other.clone() });
        }

        for other in self.serving().filter(|other| *other.identity.plugin != *name) {
            let is_taken =
                |method: &&DeclaredMethod| other.methods.iter().any(|have| have.name == method.name);
            if let Some(method) = methods.iter().find(is_taken) {
                return Err(LoadCheckError::MethodTaken {
                    method: method.name.clone(),
                    plugin: Arc::clone(&other.identity.plugin),
                });
            }
        }
        self.check_names_of_stopped(name, methods)
    }

    /// Checks that no method belongs to a plugin that is stopped and is to be started again.
    fn check_names_of_stopped(&self, name: &str, methods: &[DeclaredMethod]) -> Result<(), LoadCheckError> {
        for (plugin, slot) in self.slots.iter().filter(|(plugin, _)| *plugin != name) {
            let Some(stopped) = slot.stopped() else { continue };
            let taken = stopped.content.method_names();
            if let Some(method) = methods.iter().find(|method| taken.contains(&method.name)) {
                return Err(LoadCheckError::MethodTaken {
                    method: method.name.clone(),
                    plugin: plugin.as_str().into(),
                });
            }
        }
        Ok(())
    }

    /// Checks the key and the age of a signature, where keys are trusted.
    ///
    /// Content whose key is not trusted any more does not start again, not even from a kept image.
    /// With `forbids_older`, nor does content that is older than what serves: only a rollback may
    /// return to it.
    pub(super) fn check_signature(
        &self,
        name: &str,
        signature: Option<VerifiedSignature>,
        config: &Config,
        forbids_older: bool,
    ) -> Result<(), LoadCheckError> {
        let keys = &config.plugins.trusted_keys;
        if keys.is_empty() {
            return Ok(());
        }

        let signature = signature.ok_or(LoadCheckError::Unsigned)?;
        if keys.iter().all(|key| key.id != signature.key) {
            return Err(LoadCheckError::KeyNotTrusted(signature.key));
        }

        let served = self.slots.get(name).and_then(PluginSlot::signed_at).unwrap_or(0);
        if forbids_older && signature.at < served {
            return Err(LoadCheckError::OlderThanServing { signed: signature.at, served });
        }
        Ok(())
    }

    /// Checks that the plugin, and the process, may have one more generation.
    pub(super) fn check_room(&self, name: &str, config: &Config) -> Result<(), LoadCheckError> {
        let draining = self.slots.get(name).map_or(0, |slot| slot.draining.len());
        if draining >= DRAINING_MAX {
            return Err(LoadCheckError::TooManyDraining(draining));
        }

        let retained: usize = self.slots.values().map(|slot| slot.retained.len()).sum();
        if retained >= config.plugins.retained {
            return Err(LoadCheckError::TooManyRetained(retained));
        }

        if !are_left(SPARE_THREAD_KEYS) {
            return Err(LoadCheckError::NoThreadKeys);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_remedy_of_a_quarantine() {
        let content = Quarantined {
            plugin: "device".to_owned(),
            hash: "00".to_owned(),
            crashes: 3,
            method: "device.list".to_owned(),
        };
        let error =
            LoadError::from(LoadCheckError::Quarantined { content, window: Duration::from_secs(600) });

        assert_eq!(
            error.to_string(),
            "too-many-deaths: the plugin was running in 3 crashes of the host within 10 min, last in device.list; \
             replace its file or run \"jackfield plugin reload device\""
        );
    }
}
