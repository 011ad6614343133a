//! The HTTP endpoint for those who watch over a host: `/metrics`, `/healthz`, `/readyz`.
//!
//! It runs on the control thread, where no request does, and each connection has one request, a few seconds, and one
//! of a few places: whoever reads slowly or says nothing is cut, and harms nobody.

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
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use super::listener::{BindError, BoundSocket, SocketClaim};
use crate::config;
use crate::metrics;
use crate::routing::Dispatcher;

/// Connections at once: a Prometheus or two and somebody at a terminal. One more is closed.
const MOST: usize = 16;

/// What a request and its answer may take together: a page is some hundred kilobytes over a loopback.
const LIMIT: Duration = Duration::from_secs(5);

/// The most that is read of a request's head; a scraper's is a few hundred bytes. It is what hyper calls for at least.
const HEAD: usize = 8 * 1024;

/// How long to wait when no descriptor is left.
const BREATHER: Duration = Duration::from_millis(50);

/// Where it listens.
enum EndpointSocket {
    Tcp(StdTcpListener),
    Unix(Box<BoundSocket>),
}

/// The endpoint, bound and not yet served.
pub(crate) struct HttpEndpoint(EndpointSocket);

impl HttpEndpoint {
    /// Binds it.
    ///
    /// # Errors
    /// The address or the socket's name cannot be had.
    pub(crate) fn bind(at: &config::MetricsEndpoint) -> Result<Self, BindError> {
        let address = match at {
            config::MetricsEndpoint::Tcp(address) => address,
            config::MetricsEndpoint::Unix(path) => {
                let bound = SocketClaim::take(&config::Listener::at(path), false)?.bind()?;
                tracing::info!("metrics on {}", path.display());
                return Ok(Self(EndpointSocket::Unix(Box::new(bound))));
            }
        };
        let failed =
            |source| BindError::System { path: PathBuf::from(address.to_string()), what: "bind", source };
        let listener = StdTcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!("metrics on http://{address}/metrics");
        Ok(Self(EndpointSocket::Tcp(listener)))
    }

    /// Serves for ever, in the runtime that this is called in.
    pub(crate) async fn serve(self, dispatcher: Arc<Dispatcher>) {
        let served = match self.0 {
            EndpointSocket::Tcp(listener) => serve_tcp(listener, &dispatcher).await,
            EndpointSocket::Unix(bound) => serve_unix(*bound, &dispatcher).await,
        };
        if let Err(error) = served {
            tracing::error!(%error, "the metrics cannot be served");
        }
    }
}

async fn serve_tcp(listener: StdTcpListener, dispatcher: &Arc<Dispatcher>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => place(stream, &places, dispatcher),
            Err(_) => tokio::time::sleep(BREATHER).await,
        }
    }
}

async fn serve_unix(mut bound: BoundSocket, dispatcher: &Arc<Dispatcher>) -> io::Result<()> {
    let listener = UnixListener::from_std(bound.take_listener()?)?;
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => place(stream, &places, dispatcher),
            Err(_) => tokio::time::sleep(BREATHER).await,
        }
    }
}

/// Serves one connection beside the others, if there is a place for it.
fn place<S>(stream: S, places: &Arc<Semaphore>, dispatcher: &Arc<Dispatcher>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(permit) = Arc::clone(places).try_acquire_owned() else { return };
    let dispatcher = Arc::clone(dispatcher);
    tokio::spawn(async move {
        let answer = service_fn(|request| {
            let response = answer(&request, &dispatcher);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .max_buf_size(HEAD)
            .serve_connection(TokioIo::new(stream), answer);
        // Whatever went wrong is the scraper's: it has gone, was too slow, or speaks something else.
        let _ = tokio::time::timeout(LIMIT, connection).await;
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
