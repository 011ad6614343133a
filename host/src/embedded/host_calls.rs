//! Calls to methods, as functions of the running host.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call_error::CallError;
use super::call_options::CallOptions;
use super::method_caller::MethodCaller;
use crate::host::Host;

impl Host {
    /// Returns what calls methods of this host. It does not keep the host running.
    #[must_use]
    pub fn caller(&self) -> MethodCaller {
        self.caller.clone()
    }

    /// Calls a method as [`MethodCaller::call`] does.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn call<P, R>(&self, method: &str, params: &P, options: CallOptions) -> Result<R, CallError>
    where
        P: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        self.caller.call(method, params, options).await
    }

    /// Calls a method and waits on this thread, as [`MethodCaller::call_blocking`] does.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn call_blocking<P, R>(&self, method: &str, params: &P, options: CallOptions) -> Result<R, CallError>
    where
        P: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        self.caller.call_blocking(method, params, options)
    }
}
