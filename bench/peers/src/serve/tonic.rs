//! gRPC with tonic over a Unix socket: protobuf, the multi-thread runtime.

use std::io;
use std::path::Path;

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::device::{self, UpdateParams};

/// The code that tonic generates from the description in `build.rs`.
#[allow(clippy::all, missing_docs, unreachable_pub, dead_code)]
pub(crate) mod generated {
    include!(concat!(env!("OUT_DIR"), "/peers.Device.rs"));
}

use generated::device_server::{Device, DeviceServer};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct UpdateRequest {
    #[prost(string, tag = "1")]
    pub(crate) device_id: String,
    /// 0 online, 1 offline, 2 busy, 3 error.
    #[prost(int32, tag = "2")]
    pub(crate) status: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct UpdateReply {
    #[prost(string, tag = "1")]
    device_id: String,
    #[prost(int32, tag = "2")]
    status: i32,
    #[prost(uint64, tag = "3")]
    sequence: u64,
    #[prost(int32, optional, tag = "4")]
    previous: Option<i32>,
}

const STATUSES: [device::Status; 4] =
    [device::Status::Online, device::Status::Offline, device::Status::Busy, device::Status::Error];

fn number(status: device::Status) -> i32 {
    status as i32
}

struct Service(device::Device);

#[tonic::async_trait]
impl Device for Service {
    async fn update(&self, request: Request<UpdateRequest>) -> Result<Response<UpdateReply>, Status> {
        let UpdateRequest { device_id, status } = request.into_inner();
        let status = usize::try_from(status).ok().and_then(|status| STATUSES.get(status));
        let status = *status.ok_or_else(|| Status::invalid_argument("status"))?;

        let updated = self.0.update(UpdateParams { device_id, status });
        let updated = updated.ok_or_else(|| Status::invalid_argument("deviceId"))?;
        Ok(Response::new(UpdateReply {
            device_id: updated.device_id,
            status: number(updated.status),
            sequence: updated.sequence,
            previous: updated.previous.map(number),
        }))
    }
}

/// Serves until the process is terminated.
pub(crate) fn serve(socket: &Path) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let connections = UnixListenerStream::new(UnixListener::bind(socket)?);
        let server = Server::builder().add_service(DeviceServer::new(Service(device::Device::new())));
        server.serve_with_incoming(connections).await.map_err(io::Error::other)
    })
}
