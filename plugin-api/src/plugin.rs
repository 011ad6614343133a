//! What an author implements, and what the export macro adds to it.

use crate::{Error, Host, Methods};

/// The most bytes of state that an instance may hand over: 64 MiB. They are copied twice while its calls are held.
pub const STATE_MAX: usize = 64 << 20;

/// A plugin: started once per generation, shared by all its calls, stopped when the generation retires.
pub trait Plugin: Send + Sync + Sized + 'static {
    /// Makes the plugin's state. Runs twice at a load: first in a process of its own that may fail without harm.
    ///
    /// # Errors
    /// An error keeps the plugin from being loaded; its text is for the operator.
    fn start(host: &Host) -> Result<Self, Error>;

    /// The layout of the state that an instance hands over to its successor when its file is replaced. `None`: it
    /// hands over nothing, and a successor starts afresh. Written into the manifest.
    const STATE: Option<u32> = None;

    /// Whether it would work, found out in the probe before anybody calls it: a file that must be readable, a
    /// library that must be there. The probe's time limit bounds it.
    ///
    /// # Errors
    /// An error keeps the plugin from being loaded; its text is for the operator.
    fn self_test(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The state for the successor, at most [`STATE_MAX`] bytes, in the layout [`Plugin::STATE`].
    ///
    /// No `inline` or `blocking` call runs meanwhile, and none begins here afterwards, unless the successor
    /// refuses: then calls go on here, as if nothing had been. `async` calls that have begun stay with this
    /// instance; what they change from here on is lost, so those that wait for a change had better end.
    ///
    /// # Errors
    /// An error keeps this instance in service.
    fn hand_over(&self) -> Result<Vec<u8>, Error> {
        Err(Error::internal("STATE is set, hand_over is not written"))
    }

    /// Takes the state of the instance before, which may be an older or a newer one: `schema` is *its*
    /// [`Plugin::STATE`]. Called once, after `start` and before the first call.
    ///
    /// # Errors
    /// An error keeps the other instance in service.
    fn take_over(&self, schema: u32, state: &[u8]) -> Result<(), Error> {
        let _ = state;
        Err(Error::internal(format!("no state of layout {schema} can be taken over")))
    }

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
