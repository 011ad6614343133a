//! `[metrics]`: where what the host counts can be asked for over HTTP.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::listener;
use super::section::Section;
use super::wording::quoted;

/// What the host tells of itself over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Where `/metrics`, `/healthz` and `/readyz` are; `None`, the default: nowhere.
    pub listen: Option<MetricsEndpoint>,
}

/// A place for HTTP that other machines cannot reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsEndpoint {
    /// An address of this machine alone. Port 0: any that is free.
    Tcp(SocketAddr),
    /// A Unix socket, mode 0660, at most [`LONGEST_SOCKET_PATH`](super::LONGEST_SOCKET_PATH) bytes.
    Unix(PathBuf),
}

const EXAMPLE: &str = "write an address of this machine with a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\", \
                       or a socket's path, such as \"run/metrics.sock\"";

pub(super) fn read(section: Section<'_>, directory: &Path, others: &[&Path]) -> MetricsConfig {
    let fault =
        |what: String, instead: &str| section.fault(section.offset_of("listen"), what, instead.to_owned());
    let listen = section.string_or_else("listen", |_| EXAMPLE.to_owned()).and_then(|text| {
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => return Some(MetricsEndpoint::Tcp(address)),
            Ok(_) => {
                let what = format!("metrics.listen {} can be reached from other machines", quoted(text));
                fault(what, EXAMPLE);
                return None;
            }
            Err(_) => {}
        }
        if !text.contains('/') || text.contains('\0') || text.contains("://") {
            fault(format!("metrics.listen {} is no address", quoted(text)), EXAMPLE);
            return None;
        }
        let path = directory.join(text);
        if let Some((what, instead)) = listener::unfit(&path) {
            fault(format!("metrics.listen {what}"), &instead);
        }
        if others.iter().any(|other| listener::plain(other) == listener::plain(&path)) {
            let what = "metrics.listen is a socket of another kind too".to_owned();
            fault(what, "give the metrics a socket of their own");
        }
        Some(MetricsEndpoint::Unix(path))
    });
    section.close();
    MetricsConfig { listen }
}
