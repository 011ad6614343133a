//! tarpc over a Unix socket: bincode, the multi-thread runtime, one task for each request, as in
//! its examples.

use std::io;
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt as _;
use tarpc::context::Context;
use tarpc::serde_transport::unix;
use tarpc::server::{BaseChannel, Channel as _};
use tarpc::tokio_serde::formats::Bincode;

use crate::device::{Device, Status, UpdateParams, Updated};

/// The method that every server has. A reply without a value means that the id is invalid.
#[tarpc::service]
pub(crate) trait Devices {
    async fn update(device_id: String, status: Status) -> Option<TarpcUpdated>;
}

/// [`Updated`] for bincode, which cannot omit a member.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct TarpcUpdated {
    device_id: String,
    status: Status,
    sequence: u64,
    previous: Option<Status>,
}

#[derive(Clone)]
struct Server(Arc<Device>);

impl Devices for Server {
    async fn update(self, _: Context, device_id: String, status: Status) -> Option<TarpcUpdated> {
        let Updated { device_id, status, sequence, previous } =
            self.0.update(UpdateParams { device_id, status })?;
        Some(TarpcUpdated { device_id, status, sequence, previous })
    }
}

/// Serves until the process is terminated.
pub(crate) fn serve(socket: &Path) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server(Arc::new(Device::new()));
        let mut connections = unix::listen(socket, Bincode::default).await?;
        while let Some(transport) = connections.next().await {
            let requests = BaseChannel::with_defaults(transport?).execute(server.clone().serve());
            tokio::spawn(requests.for_each(|response| async {
                tokio::spawn(response);
            }));
        }
        Ok(())
    })
}
