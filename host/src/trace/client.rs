//! One HTTP request with a batch of spans.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::config::{Authorization, OtlpEndpoint};

/// Upper bound for the head of a response, in bytes; hyper requires at least 8 KiB.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// Upper bound for the body of a response, in bytes. A collector answers a few dozen.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Upper bound for the pause that a collector can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Why a batch was not exported.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    /// Another attempt may succeed.
    #[error("{reason}")]
    Temporary {
        reason: String,
        /// The pause before the next attempt that the collector asks for.
        retry_after: Option<Duration>,
    },

    /// The collector does not accept the batch.
    #[error("the collector answered {0}")]
    Refused(StatusCode),
}

impl ExportError {
    pub(super) fn temporary(reason: impl ToString) -> Self {
        Self::Temporary { reason: reason.to_string(), retry_after: None }
    }
}

/// Sends batches to one collector.
pub(super) struct CollectorClient {
    endpoint: OtlpEndpoint,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
}

/// The body of a response. Members that are missing or of another type read as nothing rejected.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ExportResponse {
    partial_success: Option<PartialSuccess>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct PartialSuccess {
    rejected_spans: serde_json::Value,
}

impl CollectorClient {
    /// Creates a client. `None` if the host of the endpoint cannot be written in a header, which
    /// [`Config::parse`](crate::config::Config::parse) excludes.
    pub(super) fn new(endpoint: &OtlpEndpoint, authorization: Option<&Authorization>) -> Option<Self> {
        let text = endpoint.to_string();
        let authority = text.trim_start_matches("http://").split('/').next().unwrap_or_default();
        let secret = |value: &Authorization| {
            let mut header = HeaderValue::from_str(value.value()).ok()?;
            header.set_sensitive(true);
            Some(header)
        };

        Some(Self {
            host: HeaderValue::from_str(authority).ok()?,
            authorization: authorization.and_then(secret),
            endpoint: endpoint.clone(),
        })
    }

    pub(super) fn endpoint(&self) -> &OtlpEndpoint {
        &self.endpoint
    }

    /// Sends a batch over a connection of its own, and returns how many of its spans the collector
    /// rejected. Resolving a name blocks the thread; the caller limits the rest.
    ///
    /// # Errors
    ///
    /// The batch was not exported.
    pub(super) async fn send(&self, body: Bytes) -> Result<u64, ExportError> {
        let stream = TcpStream::connect(&*self.resolve().map_err(ExportError::temporary)?).await;
        let stream = TokioIo::new(stream.map_err(ExportError::temporary)?);
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(stream)
            .await
            .map_err(ExportError::temporary)?;
        // Dropping the set ends the connection.
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);

        let request = self.request(body).map_err(ExportError::temporary)?;
        let response = sender.send_request(request).await.map_err(ExportError::temporary)?;
        read(response).await
    }

    fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let OtlpEndpoint { host, port, .. } = &self.endpoint;
        Ok((host.as_str(), *port).to_socket_addrs()?.collect())
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = Request::post(&self.endpoint.path)
            .header(HOST, &self.host)
            .header(USER_AGENT, concat!("jackfield/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::new(body))
    }
}

/// Reads a response to its end.
async fn read(response: Response<Incoming>) -> Result<u64, ExportError> {
    let status = response.status();
    if status.is_success() {
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
        let body = body.map_err(ExportError::temporary)?.to_bytes();
        return Ok(rejected_spans(&body));
    }

    // The codes that OTLP names as temporary.
    match status.as_u16() {
        429 | 502 | 503 | 504 => {
            let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| {
                let seconds = value.to_str().ok()?.trim().parse().ok()?;
                Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
            });
            Err(ExportError::Temporary { reason: format!("the collector answered {status}"), retry_after })
        }
        _ => Err(ExportError::Refused(status)),
    }
}

/// Returns how many spans a response rejects. A response without a readable body rejects none.
fn rejected_spans(body: &[u8]) -> u64 {
    let response: ExportResponse = serde_json::from_slice(body).unwrap_or_default();
    let rejected = response.partial_success.unwrap_or_default().rejected_spans;
    let of_text = rejected.as_str().and_then(|text| text.parse().ok());
    of_text.or(rejected.as_u64()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_how_many_spans_were_rejected() {
        for (body, rejected) in [
            (r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#, 3),
            (r#"{"partialSuccess":{"rejectedSpans":4}}"#, 4),
            (r#"{"partialSuccess":{}}"#, 0),
            (r#"{"partialSuccess":null}"#, 0),
            (r#"{"partialSuccess":{"rejectedSpans":-1}}"#, 0),
            ("{}", 0),
            ("", 0),
            ("<html>", 0),
        ] {
            assert_eq!(rejected_spans(body.as_bytes()), rejected, "{body}");
        }
    }
}
