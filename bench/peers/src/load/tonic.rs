//! tonic: one channel for each connection.

use std::io;
use std::path::Path;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint, Error};

use super::{Report, closed};
use crate::device::DEVICE;
use crate::serve::tonic::UpdateRequest;
use crate::serve::tonic::generated::device_client::DeviceClient;

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Connect(#[from] Error),
    #[error("{0}")]
    Call(#[from] Box<tonic::Status>),
}

pub(super) fn run(socket: &Path, connections: usize, window: usize, length: Duration) -> io::Result<Report> {
    let address = format!("unix://{}", socket.display());
    let connect = async || {
        let channel = Endpoint::from_shared(address.clone())?.connect().await?;
        Ok(DeviceClient::new(channel))
    };
    let call = async |client: &mut DeviceClient<Channel>| {
        let request = UpdateRequest { device_id: DEVICE.to_owned(), status: 0 };
        client.update(request).await.map(drop).map_err(|status| Fault::Call(Box::new(status)))
    };
    closed::run(connections, window, length, connect, call)
}
