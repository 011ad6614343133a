//! What an author implements, and what the export macro adds to it.

use crate::{Error, Host, Methods};

/// A plugin: started once per generation, shared by all its calls, stopped when the generation retires.
pub trait Plugin: Send + Sync + Sized + 'static {
    /// Makes the plugin's state. Runs twice at a load: first in a process of its own that may fail without harm.
    ///
    /// # Errors
    /// An error keeps the plugin from being loaded; its text is for the operator.
    fn start(host: &Host) -> Result<Self, Error>;

    /// Ends what the plugin began: threads are to be joined here. Called when no call is running any more.
    fn stop(&self) {}
}

/// What `export_plugin!` writes for a plugin.
pub trait Exported: Plugin {
    /// The manifest as JSON, the same bytes as in the file's note.
    const MANIFEST: &'static str;

    /// The methods, in the manifest's order.
    fn methods() -> Methods<Self>;
}
