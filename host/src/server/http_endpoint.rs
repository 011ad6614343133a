//! The HTTP endpoint for monitoring: `/metrics`, `/healthz`, `/readyz`.
//!
//! It runs on the control thread, apart from all requests. Each connection has one request and at
//! most [`TIME_LIMIT`], and only [`MAX_CONNECTIONS`] exist at a time, so that a slow or silent
//! client harms nobody.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::bind_error::{BindError, BindFault};
use super::listener::BoundSocket;
use super::socket_claim::SocketClaim;
use super::watched_listener::WatchedListener;
use crate::config;
use crate::metrics;
use crate::routing::Dispatcher;

/// The most connections at a time: enough for two Prometheus servers and a few operators. Further
/// ones are closed.
const MAX_CONNECTIONS: usize = 16;

/// Time for a request and its response. A metrics page has some hundred kilobytes and travels over
/// loopback.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Upper bound for the head of a request, in bytes. A scraper sends a few hundred; hyper requires
/// at least 8 KiB.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// Pause after a failed accept. Usually no descriptor is free.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The socket of the endpoint.
enum EndpointSocket {
    Tcp(StdTcpListener),
    Unix(Box<BoundSocket>),
}

/// The endpoint, bound but not yet served.
pub(crate) struct HttpEndpoint(EndpointSocket);

impl HttpEndpoint {
    /// Binds the endpoint.
    ///
    /// # Errors
    ///
    /// The address or the name of the socket is in use or not permitted.
    pub(crate) fn bind(at: &config::MetricsEndpoint) -> Result<Self, BindError> {
        Self::try_bind(at).map_err(|fault| BindError { key: "metrics.listen", fault })
    }

    fn try_bind(at: &config::MetricsEndpoint) -> Result<Self, BindFault> {
        let address = match at {
            config::MetricsEndpoint::Tcp(address) => address,
            config::MetricsEndpoint::Unix(path) => {
                let bound = BoundSocket::bind(SocketClaim::take(&config::Listener::at(path), false)?)?;
                tracing::info!("metrics on {}", path.display());
                return Ok(Self(EndpointSocket::Unix(Box::new(bound))));
            }
        };

        let failed =
            |source| BindFault::System { path: PathBuf::from(address.to_string()), what: "bind", source };
        let listener = StdTcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!("metrics on http://{address}/metrics");
        Ok(Self(EndpointSocket::Tcp(listener)))
    }

    /// Serves in the current runtime and never returns, unless the socket cannot be watched.
    pub(crate) async fn serve(self, dispatcher: Arc<Dispatcher>) {
        let served = match self.0 {
            EndpointSocket::Tcp(listener) => serve_tcp(listener, &dispatcher).await,
            EndpointSocket::Unix(bound) => serve_unix(*bound, &dispatcher).await,
        };
        if let Err(error) = served {
            tracing::error!(%error, "the metrics endpoint failed: {error}; metrics are unavailable until a restart");
        }
    }
}

async fn serve_tcp(listener: StdTcpListener, dispatcher: &Arc<Dispatcher>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => serve_connection(stream, &slots, dispatcher),
            Err(_) => tokio::time::sleep(RETRY_INTERVAL).await,
        }
    }
}

async fn serve_unix(bound: BoundSocket, dispatcher: &Arc<Dispatcher>) -> io::Result<()> {
    let mut listener = WatchedListener::new(bound)?;
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok(stream) => serve_connection(stream, &slots, dispatcher),
            Err(_) => tokio::time::sleep(RETRY_INTERVAL).await,
        }
    }
}

/// Serves a connection in a task of its own, or closes it if there are too many.
fn serve_connection<S>(stream: S, slots: &Arc<Semaphore>, dispatcher: &Arc<Dispatcher>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(permit) = Arc::clone(slots).try_acquire_owned() else { return };
    let dispatcher = Arc::clone(dispatcher);
    tokio::spawn(async move {
        let service = service_fn(|request| {
            let response = answer(&request, &dispatcher);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);

        // A failure is one of the client, which closed the connection, was too slow, or does not
        // speak HTTP. It is not logged, because clients could then fill the log.
        let _ = tokio::time::timeout(TIME_LIMIT, connection).await;
        drop(permit);
    });
}

fn answer(request: &Request<Incoming>, dispatcher: &Dispatcher) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";

    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET and HEAD are answered\n".to_owned());
    }
    match request.uri().path() {
        "/metrics" => respond(StatusCode::OK, metrics::CONTENT_TYPE, dispatcher.render_metrics()),
        "/healthz" => respond(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => match dispatcher.check_readiness() {
            Ok(()) => respond(StatusCode::OK, TEXT, "ready\n".to_owned()),
            Err(why) => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, why + "\n"),
        },
        _ => respond(StatusCode::NOT_FOUND, TEXT, "there are /metrics, /healthz and /readyz\n".to_owned()),
    }
}

fn respond(status: StatusCode, content: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;

    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
    }
    response
}
