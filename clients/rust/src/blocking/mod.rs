//! The blocking client: the same pool and the same rules, driven by the threads that call.

mod drive;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::builder::Builder;
use crate::call::{Prepared, RequestFrame, decode};
use crate::counters::Stats;
use crate::error::Error;
use crate::options::Mode;
use crate::pool::Pool;
use crate::request::Request;

/// A client for threads; cheap to clone, and clones share their connections.
///
/// It starts no thread and no runtime: whoever calls, drives. By default each call has a connection for itself while
/// it lasts ([`Mode::Exclusive`]), which is what is fastest for one call at a time.
///
/// ```no_run
/// let client = jackfield_client::blocking::Client::connect("run/jackfield.sock")?;
/// let pong: String = client.call("system.ping", &())?;
/// # Ok::<(), jackfield_client::Error>(())
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
    pub fn connect(path: impl AsRef<Path>) -> Result<Client, Error> {
        let client = Client::builder(path).build();
        client.ping()?;
        Ok(client)
    }

    /// Settings for a client of the host at `path`.
    pub fn builder(path: impl AsRef<Path>) -> Builder<Client> {
        Builder::new(path.as_ref()).mode(Mode::Exclusive)
    }

    /// Calls a method: the params are written as JSON, the result is read from JSON.
    ///
    /// # Errors
    /// See [`Error`]; the deadline is the client's own.
    pub fn call<P, R>(&self, method: &str, params: &P) -> Result<R, Error>
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

    /// Sends a heartbeat and reads its answer; how long that took.
    ///
    /// # Errors
    /// There is no host, or it did not answer in time.
    pub fn ping(&self) -> Result<Duration, Error> {
        let began = Instant::now();
        let frame = RequestFrame::heartbeat(self.pool.options.mode);
        drive::run(Prepared::new(&self.pool, Ok(frame), None, true))?;
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
        Client { pool: Pool::new(self.options, |_| ()) }
    }
}

impl<P: Serialize + ?Sized> Request<'_, Client, P> {
    /// Makes the call.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn send<R: DeserializeOwned>(self) -> Result<R, Error> {
        decode(&drive::run(self.prepare(|client| &client.pool))?)
    }
}
