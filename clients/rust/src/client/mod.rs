//! The async client: calls are futures, and a task of the runtime drives each connection.

mod driver;
mod execute;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use self::execute::execute;
use crate::builder::Builder;
use crate::call::Prepared;
use crate::connection::Connection;
use crate::counters::Stats;
use crate::error::Error;
use crate::pool::Pool;
use crate::reply::{Payload, Reply};
use crate::request::Request;
use crate::request_frame::{Body, RequestFrame};

/// A client for async code. Clones are cheap and share their connections.
///
/// By default calls share connections ([`Mode::Multiplexed`](crate::Mode::Multiplexed)): many are
/// in flight on one, and replies come in any order. Dropping a call's future cancels it without
/// affecting other calls. The host is asked to cancel it, too, if it can (protocol 1.2).
///
/// Calls are awaited inside a tokio runtime with I/O and time enabled, and panic outside of one. A
/// connection belongs to the runtime that it was made in and is closed with it. The client may
/// outlive every runtime.
///
/// ```no_run
/// # async fn example() -> Result<(), jackfield_client::Error> {
/// let client = jackfield_client::Client::connect("run/jackfield.sock").await?;
/// let pong: String = client.call("system.ping", &()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    pool: Arc<Pool<Connection>>,
}

impl Client {
    /// Returns a client of the host at `path`, after the host has answered a heartbeat.
    ///
    /// The path is that of a socket, with or without `unix://`.
    ///
    /// # Errors
    ///
    /// No connection could be made, or the heartbeat was not answered in time.
    pub async fn connect(path: impl AsRef<Path>) -> Result<Client, Error> {
        let client = Client::builder(path).build();
        client.ping().await?;
        Ok(client)
    }

    /// Returns the settings of a client of the host at `path`.
    pub fn builder(path: impl AsRef<Path>) -> Builder<Client> {
        Builder::new(path.as_ref())
    }

    /// Calls a method. The params are written as JSON, and the result is read from JSON.
    ///
    /// # Errors
    ///
    /// See [`Error`]. The time-out is that of the client.
    pub fn call<P, R>(
        &self,
        method: &str,
        params: &P,
    ) -> impl Future<Output = Result<R, Error>> + Send + use<P, R>
    where
        P: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        self.request(method, params).send()
    }

    /// Returns a call with its own settings.
    pub fn request<'a, P>(&'a self, method: &'a str, params: &'a P) -> Request<'a, Client, P>
    where
        P: Serialize + ?Sized,
    {
        Request::new(self, self.pool.options.mode, method, Body::Json(params))
    }

    /// Makes many calls at once and returns their outcomes in the order of the calls.
    ///
    /// Dropping the future cancels the calls that have not ended.
    ///
    /// # Errors
    ///
    /// Each call has its own outcome.
    pub async fn batch<'a, P, R>(
        &'a self,
        calls: impl IntoIterator<Item = Request<'a, Client, P>>,
    ) -> Vec<Result<R, Error>>
    where
        P: Serialize + ?Sized + 'a,
        R: DeserializeOwned,
    {
        let mut tasks = JoinSet::new();
        for (at, call) in calls.into_iter().enumerate() {
            let prepared = call.prepare(|client| &client.pool);
            tasks.spawn(async move { (at, execute(prepared).await) });
        }

        // Only a task that is cancelled at the end of the runtime keeps this outcome.
        let mut outcomes: Vec<Result<R, Error>> = Vec::new();
        outcomes.resize_with(tasks.len(), || Err(Error::Closed { sent: true }));

        while let Some(joined) = tasks.join_next().await {
            let Ok((at, reply)) = joined else { continue };
            if let Some(outcome) = outcomes.get_mut(at) {
                *outcome = reply.result.and_then(|result| result.decode());
            }
        }
        outcomes
    }

    /// Calls a method whose params are opaque bytes. The result is what the method returns: bytes
    /// or JSON.
    ///
    /// # Errors
    ///
    /// See [`Error`]. A host that has not agreed to opaque bytes does not get the request
    /// ([`Error::BytesUnsupported`]).
    pub async fn call_bytes(&self, method: &str, bytes: &[u8]) -> Result<Payload, Error> {
        self.request_bytes(method, bytes).reply().await.result
    }

    /// Returns a call with its own settings, whose params are opaque bytes.
    pub fn request_bytes<'a>(&'a self, method: &'a str, bytes: &'a [u8]) -> Request<'a, Client, ()> {
        Request::new(self, self.pool.options.mode, method, Body::Bytes(bytes))
    }

    /// Sends a heartbeat and returns the time until its answer.
    ///
    /// # Errors
    ///
    /// No connection could be made, or the heartbeat was not answered in time.
    pub async fn ping(&self) -> Result<Duration, Error> {
        let began = Instant::now();
        let frame = RequestFrame::heartbeat(self.pool.options.mode);
        execute(Prepared::new(&self.pool, Ok(frame), None, true)).await.result?;
        Ok(began.elapsed())
    }

    /// Returns the client's counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.pool.stats()
    }

    /// Closes every connection and ends every call of this client and its clones.
    pub fn close(&self) {
        self.pool.close();
    }
}

impl Builder<Client> {
    /// Returns the client. It connects when it is first used.
    #[must_use]
    pub fn build(self) -> Client {
        Client { pool: Pool::new(self.options, driver::spawn) }
    }
}

impl<P: Serialize + ?Sized> Request<'_, Client, P> {
    /// Makes the call.
    ///
    /// The request is encoded immediately; the time-out starts when the future is first polled. The
    /// future borrows nothing, so that it can be spawned.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn send<R: DeserializeOwned>(self) -> impl Future<Output = Result<R, Error>> + Send + use<P, R> {
        let reply = self.reply();
        async move { reply.await.result?.decode() }
    }

    /// Makes the call like [`Request::send`], and returns its result as it was sent, with the
    /// timing that the host reports.
    pub fn reply(self) -> impl Future<Output = Reply> + Send + use<P> {
        execute(self.prepare(|client| &client.pool))
    }
}
