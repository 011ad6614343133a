//! tarpc: one client for each connection.

use std::io;
use std::path::Path;
use std::time::Duration;

use tarpc::client::{Config, RpcError};
use tarpc::context;
use tarpc::serde_transport::unix;
use tarpc::tokio_serde::formats::Bincode;

use super::closed_loop;
use super::report::Report;
use crate::device::{DEVICE, Status};
use crate::serve::tarpc::DevicesClient;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("tarpc: cannot connect: {0}")]
    Connect(#[from] io::Error),
    #[error("tarpc: {0}")]
    Call(#[from] RpcError),
    #[error("tarpc: the server refused the update of {DEVICE}")]
    Refused,
}

pub(super) fn run(
    socket: &Path,
    connections: usize,
    window: usize,
    duration: Duration,
) -> io::Result<Report> {
    let connect = async || {
        let transport = unix::connect(socket, Bincode::default).await?;
        Ok(DevicesClient::new(Config::default(), transport).spawn())
    };
    let call = async |client: &mut DevicesClient| {
        let updated = client.update(context::current(), DEVICE.to_owned(), Status::Online).await?;
        updated.map(drop).ok_or(CallError::Refused)
    };
    closed_loop::run(connections, window, duration, connect, call)
}
