//! HTTP requests to the metrics endpoint, written without an HTTP library.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{CEILING, HostProcess};

/// Returns the address of the metrics endpoint of a host, taken from its log.
#[track_caller]
pub(crate) fn address(host: &HostProcess) -> String {
    let line = host.wait_for_log("metrics on http://");
    let (_, rest) = line.split_once("http://").unwrap();
    rest.split('/').next().unwrap().to_owned()
}

/// A parsed HTTP response.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

fn exchange(stream: &mut (impl Read + Write), method: &str, path: &str) -> io::Result<HttpResponse> {
    stream.write_all(format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())?;
    let mut received = String::new();
    // The host closes the connection after its response.
    stream.read_to_string(&mut received)?;

    let (head, body) =
        received.split_once("\r\n\r\n").ok_or_else(|| io::Error::other(format!("{received:?}")))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("{head:?}")))?;
    Ok(HttpResponse { status, head: head.to_owned(), body: body.to_owned() })
}

/// Sends a GET request over TCP and leaves errors to the caller.
pub(crate) fn try_get(address: &str, path: &str) -> io::Result<HttpResponse> {
    request(address, "GET", path)
}

/// As [`try_get`], with another HTTP method.
pub(crate) fn request(address: &str, method: &str, path: &str) -> io::Result<HttpResponse> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(CEILING))?;
    exchange(&mut stream, method, path)
}

/// Sends a GET request over a Unix socket.
pub(crate) fn try_get_unix(socket: &Path, path: &str) -> io::Result<HttpResponse> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(CEILING))?;
    exchange(&mut stream, "GET", path)
}

/// Sends a GET request over TCP and returns the response.
#[track_caller]
pub(crate) fn get(address: &str, path: &str) -> HttpResponse {
    try_get(address, path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
