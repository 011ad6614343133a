//! The trait that an author implements, and the trait that the export macro implements.

use crate::api_version::FIRST_OF_SERIES;
use crate::{Description, Error, Host, Methods};

/// The largest state that an instance may export, in bytes: 64 MiB.
///
/// The state is copied twice while the calls of the plugin are held at the gate.
pub const STATE_MAX: usize = 64 << 20;

/// A plugin: started once per generation, shared by all its calls, and stopped when the generation
/// retires.
pub trait Plugin: Send + Sync + Sized + 'static {
    /// Creates the instance.
    ///
    /// It runs twice per load: first in the probe process, where a failure does no harm, and then
    /// in the host.
    ///
    /// # Errors
    ///
    /// An error prevents the load. Operators read its text.
    fn start(host: &Host) -> Result<Self, Error>;

    /// The oldest plugin API that a host must have for this plugin. The manifest contains it, and
    /// an older host refuses the file before it runs any of its code.
    ///
    /// By default, every host of the series is accepted: functions of this crate that a host may
    /// lack report that. A plugin that cannot work without one of them sets the version that added
    /// it.
    const MIN_HOST: &'static str = FIRST_OF_SERIES;

    /// The layout version of the state that an instance exports when its file is replaced.
    ///
    /// `None` means that it exports no state, and that the new instance starts without one. The
    /// manifest contains this value.
    const STATE: Option<u32> = None;

    /// Checks in the probe process that the plugin can work, before any call: for example that a
    /// file is readable or a library is installed.
    ///
    /// It must end within `plugins.probe`, the time limit of the probe.
    ///
    /// # Errors
    ///
    /// An error prevents the load. Operators read its text.
    fn self_test(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Exports the state for the new instance, in the layout [`Plugin::STATE`] and at most
    /// [`STATE_MAX`] bytes.
    ///
    /// No `inline` or `blocking` call runs during the export, and none starts on this instance
    /// afterwards, unless the new instance refuses the state. In that case, this instance continues
    /// to serve as if nothing had happened. `async` calls that have begun stay with this instance;
    /// changes that they make after the export are lost, so calls that wait for a change should
    /// end.
    ///
    /// # Errors
    ///
    /// An error keeps this instance in service.
    fn export_state(&self) -> Result<Vec<u8>, Error> {
        #[expect(deprecated, reason = "a plugin that implements the old name works until 1.0")]
        self.hand_over()
    }

    /// Imports the state of another instance. The host calls it once, after `start` and before the
    /// first call.
    ///
    /// `schema` is the [`Plugin::STATE`] of the *other* instance, which may be older or, after a
    /// rollback, newer.
    ///
    /// # Errors
    ///
    /// An error keeps the other instance in service.
    fn import_state(&self, schema: u32, state: &[u8]) -> Result<(), Error> {
        #[expect(deprecated, reason = "a plugin that implements the old name works until 1.0")]
        self.take_over(schema, state)
    }

    /// The old name of [`Plugin::export_state`], until 1.0.
    ///
    /// # Errors
    ///
    /// As for [`Plugin::export_state`].
    #[deprecated(since = "0.1.0", note = "implement `export_state`")]
    fn hand_over(&self) -> Result<Vec<u8>, Error> {
        Err(Error::internal("the plugin sets STATE but does not implement export_state"))
    }

    /// The old name of [`Plugin::import_state`], until 1.0.
    ///
    /// # Errors
    ///
    /// As for [`Plugin::import_state`].
    #[deprecated(since = "0.1.0", note = "implement `import_state`")]
    fn take_over(&self, schema: u32, state: &[u8]) -> Result<(), Error> {
        let _ = state;
        Err(Error::internal(format!(
            "the plugin cannot import a state of layout {schema}: it does not implement import_state"
        )))
    }

    /// Ends everything that the plugin has begun, and joins its threads. The host calls it when no
    /// call is running.
    fn stop(&self) {}
}

/// The items that `export_plugin!` generates for a plugin.
pub trait Exported: Plugin {
    /// The manifest as JSON, the same bytes as in the note of the file.
    const MANIFEST: &'static str;

    /// The descriptions of the methods, in the order of the manifest.
    const DESCRIPTIONS: &'static [Description] = &[];

    /// Returns the methods in the order of the manifest.
    fn methods() -> Methods<Self>;
}
