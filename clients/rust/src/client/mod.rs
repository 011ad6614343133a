//! The async client: calls are futures, and a task of the runtime drives each connection.

mod drive;
mod task;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::builder::Builder;
use crate::call::{Prepared, RequestFrame, decode};
use crate::counters::Stats;
use crate::error::Error;
use crate::pool::Pool;
use crate::request::Request;

/// A client for async code; cheap to clone, and clones share their connections.
///
/// By default calls share connections ([`Mode::Multiplexed`](crate::Mode::Multiplexed)): many are in flight on one,
/// and replies come in any order. Dropping a call's future cancels it and harms no other call; the host may have
/// begun it.
///
/// Calls are awaited inside a tokio runtime with I/O and time enabled, and panic outside of one. A connection
/// belongs to the runtime that it was made in and ends with it; the client itself outlives any.
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
    pool: Arc<Pool>,
}

impl Client {
    /// A client of the host at `path`, a socket's path with or without `unix://`. The host is asked whether it is
    /// there.
    ///
    /// # Errors
    /// There is no host, or it did not answer a heartbeat in time.
    pub async fn connect(path: impl AsRef<Path>) -> Result<Client, Error> {
        let client = Client::builder(path).build();
        client.ping().await?;
        Ok(client)
    }

    /// Settings for a client of the host at `path`.
    pub fn builder(path: impl AsRef<Path>) -> Builder<Client> {
        Builder::new(path.as_ref())
    }

    /// Calls a method: the params are written as JSON, the result is read from JSON.
    ///
    /// # Errors
    /// See [`Error`]; the deadline is the client's own.
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

    /// A call with its own settings.
    pub fn request<'a, P>(&'a self, method: &'a str, params: &'a P) -> Request<'a, Client, P>
    where
        P: Serialize + ?Sized,
    {
        Request::new(self, self.pool.options.mode, method, params)
    }

    /// Makes many calls at once; their outcomes in the order of the calls. Dropping the future cancels all that
    /// are still under way.
    ///
    /// # Errors
    /// Each call has an outcome of its own.
    pub async fn batch<'a, P, R>(
        &'a self,
        calls: impl IntoIterator<Item = Request<'a, Client, P>>,
    ) -> Vec<Result<R, Error>>
    where
        P: Serialize + ?Sized + 'a,
        R: DeserializeOwned,
    {
        let mut under_way = JoinSet::new();
        for (at, call) in calls.into_iter().enumerate() {
            let prepared = call.prepare(|client| &client.pool);
            under_way.spawn(async move { (at, drive::run(prepared).await) });
        }
        let mut outcomes: Vec<Result<R, Error>> = Vec::new();
        // Only a runtime that ends cuts a task off.
        outcomes.resize_with(under_way.len(), || Err(Error::Closed { sent: true }));
        while let Some(ended) = under_way.join_next().await {
            let Ok((at, result)) = ended else { continue };
            if let Some(outcome) = outcomes.get_mut(at) {
                *outcome = result.and_then(|result| decode(&result));
            }
        }
        outcomes
    }

    /// Sends a heartbeat and reads its answer; how long that took.
    ///
    /// # Errors
    /// There is no host, or it did not answer in time.
    pub async fn ping(&self) -> Result<Duration, Error> {
        let began = Instant::now();
        let frame = RequestFrame::heartbeat(self.pool.options.mode);
        drive::run(Prepared::new(&self.pool, Ok(frame), None, true)).await?;
        Ok(began.elapsed())
    }

    /// What the client has counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.pool.stats()
    }

    /// Ends every connection and every call of this client and its clones.
    pub fn close(&self) {
        self.pool.close();
    }
}

impl Builder<Client> {
    /// The client. It connects when it is first used.
    #[must_use]
    pub fn build(self) -> Client {
        Client { pool: Pool::new(self.options, task::adopt) }
    }
}

impl<P: Serialize + ?Sized> Request<'_, Client, P> {
    /// Makes the call. The request is written here; time counts from when the future is first polled. The future
    /// borrows nothing, so that it can be spawned.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn send<R: DeserializeOwned>(self) -> impl Future<Output = Result<R, Error>> + Send + use<P, R> {
        let prepared = self.prepare(|client| &client.pool);
        async move { decode(&drive::run(prepared).await?) }
    }
}
