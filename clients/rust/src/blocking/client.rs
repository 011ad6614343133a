//! The public type of the blocking client.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::execute::execute;
use crate::builder::Builder;
use crate::call::Prepared;
use crate::connection::Connection;
use crate::counters::Stats;
use crate::error::Error;
use crate::options::Mode;
use crate::pool::Pool;
use crate::reply::{Payload, Reply};
use crate::request::Request;
use crate::request_frame::{Body, RequestFrame};

/// A client whose calls block the calling thread. Clones are cheap and share their connections.
///
/// The client starts no thread and no runtime: the calling threads do all the work. By default each
/// call has a connection to itself ([`Mode::Exclusive`]), which is fastest for one call at a time.
///
/// ```no_run
/// let client = jackfield_client::blocking::Client::connect("run/jackfield.sock")?;
/// let pong: String = client.call("system.ping", &())?;
/// # Ok::<(), jackfield_client::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BlockingClient {
    pool: Arc<Pool<Connection>>,
}

impl BlockingClient {
    /// Returns a client of the host at `path`, after the host has answered a heartbeat.
    ///
    /// `path` is the path of a socket, with or without `unix://`.
    ///
    /// # Errors
    ///
    /// No connection could be made, or the heartbeat was not answered within the client's time-out.
    pub fn connect(path: impl AsRef<Path>) -> Result<BlockingClient, Error> {
        let client = BlockingClient::builder(path).build();
        client.ping()?;
        Ok(client)
    }

    /// Returns the default settings of a client of the host at `path`.
    pub fn builder(path: impl AsRef<Path>) -> Builder<BlockingClient> {
        Builder::new(path.as_ref()).mode(Mode::Exclusive)
    }

    /// Calls a method. The params are written as JSON, and the result is read from JSON.
    ///
    /// # Errors
    ///
    /// See [`Error`]. The time-out is that of the client.
    pub fn call<P, R>(&self, method: &str, params: &P) -> Result<R, Error>
    where
        P: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        self.request(method, params).send()
    }

    /// Returns a call with its own settings.
    pub fn request<'a, P>(&'a self, method: &'a str, params: &'a P) -> Request<'a, BlockingClient, P>
    where
        P: Serialize + ?Sized,
    {
        Request::new(self, self.pool.options.mode, method, Body::Json(params))
    }

    /// Calls a method whose params are opaque bytes. The result is what the method returns: bytes
    /// or JSON.
    ///
    /// # Errors
    ///
    /// See [`Error`]. A host that has not agreed to opaque bytes does not get the request
    /// ([`Error::BytesUnsupported`]).
    pub fn call_bytes(&self, method: &str, bytes: &[u8]) -> Result<Payload, Error> {
        self.request_bytes(method, bytes).reply().result
    }

    /// Returns a call with its own settings, whose params are opaque bytes.
    pub fn request_bytes<'a>(&'a self, method: &'a str, bytes: &'a [u8]) -> Request<'a, BlockingClient, ()> {
        Request::new(self, self.pool.options.mode, method, Body::Bytes(bytes))
    }

    /// Sends a heartbeat and returns the time until its answer.
    ///
    /// # Errors
    ///
    /// No connection could be made, or the heartbeat was not answered within the client's time-out.
    pub fn ping(&self) -> Result<Duration, Error> {
        let began = Instant::now();
        let frame = RequestFrame::heartbeat(self.pool.options.mode);
        execute(Prepared::new(&self.pool, Ok(frame), None, true)).result?;
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

impl Builder<BlockingClient> {
    /// Returns the client. It connects when it is first used.
    #[must_use]
    pub fn build(self) -> BlockingClient {
        BlockingClient { pool: Pool::new(self.options, |_| ()) }
    }
}

impl<P: Serialize + ?Sized> Request<'_, BlockingClient, P> {
    /// Makes the call.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn send<R: DeserializeOwned>(self) -> Result<R, Error> {
        self.reply().result?.decode()
    }

    /// Makes the call, and returns its result as it was sent, with the timing that the host
    /// reports.
    pub fn reply(self) -> Reply {
        execute(self.prepare(|client| &client.pool))
    }
}
