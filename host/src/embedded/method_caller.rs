//! Calls of the embedding program to methods: of plugins, of the program itself and of the host.

use std::sync::Weak;

use jackfield_plugin_api::abi::{CallOutput, Content};
use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _};

use super::call_error::CallError;
use super::call_options::CallOptions;
use crate::clock::Time;
use crate::routing::{
    Dispatcher, ProgramContext, ProgramRequest, call_for_program, call_for_program_blocking,
};

/// Params that are written already.
#[derive(Debug, Clone, Copy)]
pub enum RawParams<'a> {
    /// The method takes none.
    None,
    /// One JSON document. It is not checked before the method reads it.
    Json(&'a str),
    /// Opaque bytes.
    Bytes(&'a [u8]),
}

/// Calls methods of a running host. It is cheap to clone, and every thread may use it.
///
/// A call is admitted, limited, counted and recorded as a request of a client. What a method learns
/// of its caller is that it is the program. Lists of users (`allow`) do not apply.
///
/// An `inline` method runs on the calling thread. If that belongs to the program, the code of a
/// plugin can usually be unloaded nevertheless: docs/embedding.md states when it stays. All other
/// methods run where they do for a client, and the caller waits.
#[derive(Debug, Clone)]
pub struct MethodCaller(Weak<Dispatcher>);

impl MethodCaller {
    pub(crate) fn new(dispatcher: Weak<Dispatcher>) -> Self {
        Self(dispatcher)
    }

    /// Calls a method with `params`, which are written as JSON, and reads its result.
    ///
    /// The call begins with the first poll. Dropping the future cancels it: a call that waits never
    /// runs, and a method that runs may notice. The future works in any async runtime. Its waker is
    /// called by a thread of the host, and must not block.
    ///
    /// # Errors
    ///
    /// See [`CallError`]. After the end of the host, calls end with GOING_AWAY.
    pub async fn call<P, R>(&self, method: &str, params: &P, options: CallOptions) -> Result<R, CallError>
    where
        P: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let params = serde_json::to_string(params).map_err(CallError::Params)?;
        read(&self.call_raw(method, RawParams::Json(&params), options).await?)
    }

    /// Calls a method as [`MethodCaller::call`] does, and waits on this thread for its result.
    ///
    /// Methods must use [`Context::call_wait`](crate::Context::call_wait) instead: on a thread of
    /// the host, this function would keep others waiting. On an I/O thread, it fails unless the
    /// called method is `inline`.
    ///
    /// # Errors
    ///
    /// As for [`MethodCaller::call`].
    pub fn call_blocking<P, R>(&self, method: &str, params: &P, options: CallOptions) -> Result<R, CallError>
    where
        P: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let params = serde_json::to_string(params).map_err(CallError::Params)?;
        read(&self.call_raw_blocking(method, RawParams::Json(&params), options)?)
    }

    /// Calls a method with params that are written already, and returns its result as written.
    ///
    /// # Errors
    ///
    /// As for [`MethodCaller::call`], but nothing is read.
    pub async fn call_raw(
        &self,
        method: &str,
        params: RawParams<'_>,
        options: CallOptions,
    ) -> Result<CallOutput, CallError> {
        let context = options.context()?;
        let request = request(method, params, &options, context.as_ref(), false);
        Ok(call_for_program(self.0.clone(), &request).await?)
    }

    /// Calls a method as [`MethodCaller::call_raw`] does, and waits on this thread for its result,
    /// with the same restriction as [`MethodCaller::call_blocking`].
    ///
    /// # Errors
    ///
    /// As for [`MethodCaller::call_raw`].
    pub fn call_raw_blocking(
        &self,
        method: &str,
        params: RawParams<'_>,
        options: CallOptions,
    ) -> Result<CallOutput, CallError> {
        let context = options.context()?;
        let request = request(method, params, &options, context.as_ref(), true);
        Ok(call_for_program_blocking(&self.0, &request)?)
    }
}

fn request<'a>(
    method: &'a str,
    params: RawParams<'a>,
    options: &'a CallOptions,
    context: Option<&'a ProgramContext>,
    is_waiting: bool,
) -> ProgramRequest<'a> {
    let (params, content) = match params {
        RawParams::None => (&b""[..], Content::Json),
        RawParams::Json(json) => (json.as_bytes(), Content::Json),
        RawParams::Bytes(bytes) => (bytes, Content::Bytes),
    };
    let (timeout, id) = (options.timeout_of_call(), options.id());
    ProgramRequest { method, params, content, timeout, id, context, is_waiting, asked: Time::now() }
}

fn read<R: DeserializeOwned>(output: &CallOutput) -> Result<R, CallError> {
    if output.content == Content::Bytes {
        let error = "it is opaque bytes, expected JSON; use call_raw";
        return Err(CallError::Result(serde_json::Error::custom(error)));
    }
    serde_json::from_slice(&output.bytes).map_err(CallError::Result)
}
