//! tarpc: one client for each connection.

use std::io;
use std::path::Path;
use std::time::Duration;

use tarpc::client::{Config, RpcError};
use tarpc::context;
use tarpc::serde_transport::unix;
use tarpc::tokio_serde::formats::Bincode;

use super::{Report, closed};
use crate::device::{DEVICE, Status};
use crate::serve::tarpc::DevicesClient;

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Connect(#[from] io::Error),
    #[error("{0}")]
    Call(#[from] RpcError),
    #[error("the update was refused")]
    Refused,
}

pub(super) fn run(socket: &Path, connections: usize, window: usize, length: Duration) -> io::Result<Report> {
    let connect = async || {
        let transport = unix::connect(socket, Bincode::default).await?;
        Ok(DevicesClient::new(Config::default(), transport).spawn())
    };
    let call = async |client: &mut DevicesClient| {
        let updated = client.update(context::current(), DEVICE.to_owned(), Status::Online).await?;
        updated.map(drop).ok_or(Fault::Refused)
    };
    closed::run(connections, window, length, connect, call)
}
