//! tonic: one channel for each connection.

use std::io;
use std::path::Path;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint, Error};

use super::closed_loop;
use super::report::Report;
use crate::device::DEVICE;
use crate::serve::tonic::UpdateRequest;
use crate::serve::tonic::generated::device_client::DeviceClient;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("tonic: cannot connect: {0}")]
    Connect(#[from] Error),
    #[error("tonic: {0}")]
    Call(#[from] Box<tonic::Status>),
}

pub(super) fn run(
    socket: &Path,
    connections: usize,
    window: usize,
    duration: Duration,
) -> io::Result<Report> {
    let address = format!("unix://{}", socket.display());
    let connect = async || {
        let channel = Endpoint::from_shared(address.clone())?.connect().await?;
        Ok(DeviceClient::new(channel))
    };
    let call = async |client: &mut DeviceClient<Channel>| {
        let request = UpdateRequest { device_id: DEVICE.to_owned(), status: 0 };
        client.update(request).await.map(drop).map_err(|status| CallError::Call(Box::new(status)))
    };
    closed_loop::run(connections, window, duration, connect, call)
}
