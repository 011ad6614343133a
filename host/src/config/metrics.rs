//! `[metrics]`: the HTTP endpoint for metrics and health.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::listener;
use super::section::Section;
use super::wording::quoted;

/// The HTTP endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricsConfig {
    /// The address that serves `/metrics`, `/healthz` and `/readyz`; `None`, the default, disables
    /// the endpoint.
    pub listen: Option<MetricsEndpoint>,
}

/// An address for HTTP that other machines cannot reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsEndpoint {
    /// A loopback address. Port 0 selects a free one.
    Tcp(SocketAddr),

    /// A Unix socket, mode 0660, at most [`LONGEST_SOCKET_PATH`](super::LONGEST_SOCKET_PATH) bytes.
    Unix(PathBuf),
}

const REMEDY: &str = "write a loopback address with a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\", \
                      or the path of a socket, such as \"run/metrics.sock\"";

/// Reads the section. `others` are the sockets of the listeners and of the operators.
pub(super) fn read(section: Section<'_>, directory: &Path, others: &[&Path]) -> MetricsConfig {
    let text = section.string_or_else("listen", |_| REMEDY.to_owned());
    let listen = text.and_then(|text| parse_endpoint(&section, text, directory, others));
    section.close();
    MetricsConfig { listen }
}

fn parse_endpoint(
    section: &Section<'_>,
    text: &str,
    directory: &Path,
    others: &[&Path],
) -> Option<MetricsEndpoint> {
    let fault = |problem: String, remedy: &str| {
        section.fault(section.offset_of("listen"), problem, remedy.to_owned());
    };

    if let Ok(address) = text.parse::<SocketAddr>() {
        if address.ip().is_loopback() {
            return Some(MetricsEndpoint::Tcp(address));
        }
        fault(format!("metrics.listen {} can be reached from other machines", quoted(text)), REMEDY);
        return None;
    }
    if !text.contains('/') || text.contains('\0') || text.contains("://") {
        fault(format!("metrics.listen {} is not an address", quoted(text)), REMEDY);
        return None;
    }

    let path = directory.join(text);
    if let Some((problem, remedy)) = listener::check_socket(&path) {
        fault(format!("metrics.listen {problem}"), &remedy);
    }
    if others.iter().any(|other| listener::normalized(other) == listener::normalized(&path)) {
        let problem = "metrics.listen is also the socket of a listener or the admin socket".to_owned();
        fault(problem, "write another path");
    }
    Some(MetricsEndpoint::Unix(path))
}
