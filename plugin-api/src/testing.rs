//! A test harness for plugins: it runs the real entry points, including the catching of panics,
//! without a host or a plugin file.
//!
//! The test controls the time. The clock stands still until [`Harness::advance`] moves it, or until
//! a call waits for a sleep. Closures passed to [`Harness::answer`] answer calls to other methods.
//! [`Harness::request`] sends what a client can send besides JSON params: opaque bytes, metadata, a
//! trace, a time-out; and it sets the caller.

mod method_description;
mod request;
#[cfg(test)]
mod request_tests;
mod running;
mod test_host;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::abi::{HostCell, Instance, LifecycleError, Root};
use crate::{Error, Exported, Level, Methods, Params, Run};

pub use method_description::MethodDescription;
pub use request::Request;
pub use running::Running;
use test_host::{METHOD_NOT_FOUND, TestHost};

/// A running plugin under test.
pub struct Harness<S> {
    /// `None` once the plugin was stopped.
    instance: Option<Instance>,
    methods: Methods<S>,
    host: Arc<TestHost>,
}

impl<S: Exported> Harness<S> {
    /// Starts the plugin with `settings`, a JSON object.
    ///
    /// # Errors
    ///
    /// `start` returned an error or panicked.
    pub fn start(settings: impl Into<Value>) -> Result<Self, LifecycleError> {
        let host = Arc::new(TestHost::default());
        let cell = HostCell::new(host.services());
        let settings = settings.into().to_string();

        let instance = Instance::start(&Root::linked::<S>(), &cell, settings.as_bytes())?;
        Ok(Self { instance: Some(instance), methods: S::methods(), host })
    }

    /// Returns what the plugin says about `method`, as a host reads it. The plugin need not be
    /// started.
    ///
    /// # Errors
    ///
    /// The method does not exist, or making a schema panicked.
    pub fn describe(method: &str) -> Result<MethodDescription, LifecycleError> {
        let refused = |error: Error| LifecycleError::Refused(error.message().to_owned());
        let (number, _) = find(&S::methods(), method).map_err(refused)?;
        MethodDescription::read(&Root::linked::<S>(), number)
    }

    /// Answers the plugin's calls to `method` with a closure.
    pub fn answer(
        &self,
        method: &str,
        answer: impl Fn(Value) -> Result<Value, Error> + Send + Sync + 'static,
    ) {
        let name = method.to_owned();
        self.answer_any(method, move |params| match params {
            Params::Json(params) => answer(params).map(Params::Json),
            Params::Bytes(_) => {
                Err(Error::invalid_params("", &format!("the answer of {name} takes JSON (see answer_any)")))
            }
        });
    }

    /// Answers the plugin's calls to `method` with a closure that takes and returns JSON or opaque
    /// bytes.
    ///
    /// ```
    /// # use jackfield_plugin_api::{Bytes, Error, Params, testing::Harness};
    /// # use jackfield_plugin_api::prelude::*;
    /// # struct Albums;
    /// # impl Plugin for Albums { fn start(_host: &Host) -> Result<Self, Error> { Ok(Albums) } }
    /// impl Albums {
    ///     fn add(&self, image: Bytes, cx: &Context<'_>) -> Result<usize, Error> {
    ///         let small: Bytes = cx.call_wait("images.scale", &image)?;
    ///         Ok(small.len())
    ///     }
    /// }
    /// # export_plugin!(Albums { "albums.add" => add });
    ///
    /// let albums = Harness::<Albums>::start(serde_json::json!({})).unwrap();
    /// albums.answer_any("images.scale", |image| {
    ///     let image = image.bytes().expect("an image");
    ///     Ok(Bytes::from(&image[..1]).into())
    /// });
    /// let added = albums.request("albums.add").send(Bytes::from(vec![1, 2, 3])).unwrap();
    /// assert_eq!(added.json().unwrap(), 1);
    /// ```
    pub fn answer_any(
        &self,
        method: &str,
        answer: impl Fn(Params<Value>) -> Result<Params<Value>, Error> + Send + Sync + 'static,
    ) {
        self.host.set_answer(method, Box::new(answer));
    }

    /// Prepares a request to `method`, with more than its params.
    pub fn request(&self, method: &str) -> Request<'_, S> {
        Request::new(self, method)
    }

    /// Cancels all calls that run: their methods find
    /// [`is_cancelled`](crate::Context::is_cancelled) set. A host also drops the future of an
    /// `async` method; a test does that by dropping its [`Running`].
    pub fn cancel_running(&self) {
        self.host.cancel_calls();
    }

    /// Calls `method` to its end. If an `async` method waits for a sleep, the clock moves to the
    /// end of the sleep.
    ///
    /// # Errors
    ///
    /// The error of the method. A panic is reported as
    /// [`INTERNAL_ERROR`](crate::INTERNAL_ERROR) with its text, and so is a result that is opaque
    /// bytes ([`Request::send`] returns it).
    ///
    /// # Panics
    ///
    /// An `async` method waits for an event that does not occur within 30 s.
    pub fn call(&self, method: &str, params: impl Into<Value>) -> Result<Value, Error> {
        self.request(method).call(params)
    }

    /// Begins an `async` method, which the test polls. Dropping it cancels the method.
    ///
    /// # Errors
    ///
    /// The params do not fit the method, or the method does not exist or is not `async`.
    pub fn begin(&self, method: &str, params: impl Into<Value>) -> Result<Running, Error> {
        self.request(method).begin(params.into())
    }

    /// Moves the clock forward, and wakes the sleeps that are over then.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.host.advance_to(self.host.now().saturating_add(by));
    }

    /// Returns the lines that the plugin has logged so far.
    #[must_use]
    pub fn log(&self) -> Vec<(Level, String)> {
        self.host.log()
    }

    /// Runs the self-test of the plugin, as the probe does.
    ///
    /// # Errors
    ///
    /// `self_test` returned an error or panicked.
    pub fn self_test(&self) -> Result<(), LifecycleError> {
        self.running()?.self_test()
    }

    /// Exports the state, and returns it with its layout.
    ///
    /// # Errors
    ///
    /// The plugin does not set [`Plugin::STATE`](crate::Plugin::STATE), or `export_state` returned
    /// an error or panicked.
    pub fn export_state(&self) -> Result<(u32, Vec<u8>), LifecycleError> {
        let no_state = || LifecycleError::Refused("the plugin does not set STATE".to_owned());
        let schema = S::STATE.ok_or_else(no_state)?;
        Ok((schema, self.running()?.export_state()?))
    }

    /// Imports the state of another instance, in the layout of that instance.
    ///
    /// # Errors
    ///
    /// `import_state` returned an error or panicked.
    pub fn import_state(&self, schema: u32, state: &[u8]) -> Result<(), LifecycleError> {
        self.running()?.import_state(schema, state)
    }

    /// The old name of [`Harness::export_state`], until 1.0.
    ///
    /// # Errors
    ///
    /// As for [`Harness::export_state`].
    #[deprecated(since = "0.1.0", note = "use `export_state`")]
    pub fn hand_over(&self) -> Result<(u32, Vec<u8>), LifecycleError> {
        self.export_state()
    }

    /// The old name of [`Harness::import_state`], until 1.0.
    ///
    /// # Errors
    ///
    /// As for [`Harness::import_state`].
    #[deprecated(since = "0.1.0", note = "use `import_state`")]
    pub fn take_over(&self, schema: u32, state: &[u8]) -> Result<(), LifecycleError> {
        self.import_state(schema, state)
    }

    fn running(&self) -> Result<&Instance, LifecycleError> {
        self.instance.as_ref().ok_or_else(|| LifecycleError::Refused("the plugin was stopped".to_owned()))
    }

    /// Stops the plugin.
    ///
    /// # Errors
    ///
    /// The text of a panic in `stop` or `Drop`.
    pub fn stop(mut self) -> Result<(), String> {
        self.instance.take().map_or(Ok(()), Instance::stop)
    }

    fn find(&self, method: &str) -> Result<(u32, Run), Error> {
        find(&self.methods, method)
    }
}

fn find<S: 'static>(methods: &Methods<S>, method: &str) -> Result<(u32, Run), Error> {
    (0..)
        .zip(methods.declared())
        .find(|(_, (name, _))| *name == method)
        .map(|(number, (_, run))| (number, run))
        .ok_or_else(|| Error::from_wire(METHOD_NOT_FOUND, format!("method not found: {method}"), None))
}

impl<S> Drop for Harness<S> {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take() {
            let _ = instance.stop();
        }
    }
}
