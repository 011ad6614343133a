//! The floor: the least that a server in Rust does for the same work.
//!
//! A bare tokio loop with one task for each connection: a read, then for each frame the envelope
//! parsed with RawValue and a typed function called through the ABI, then one write. It has no
//! limits, deadlines, routes, counters or logs.

use std::io;
use std::path::Path;
use std::sync::Arc;

use abi_stable::std_types::RVec;
use bytes::{Buf as _, BytesMut};
use jackfield_protocol::HEADER_LEN;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use super::abi::{self, BoxedMethod};

/// Free space in bytes before each read.
const READ: usize = 16 * 1024;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: &'a str,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

/// Serves until the process is terminated.
pub(crate) fn serve(socket: &Path, multi: bool) -> io::Result<()> {
    let method = Arc::new(abi::update_method());
    if multi {
        let runtime = Builder::new_multi_thread().enable_io().build()?;
        return runtime.block_on(async {
            let listener = UnixListener::bind(socket)?;
            // The acceptor runs on a thread of the runtime, as the connections do.
            let accepting = tokio::spawn(async move {
                loop {
                    tokio::spawn(connection(listener.accept().await?.0, Arc::clone(&method)));
                }
            });
            accepting.await?
        });
    }

    let runtime = Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = UnixListener::bind(socket)?;
        loop {
            tokio::task::spawn_local(connection(listener.accept().await?.0, Arc::clone(&method)));
        }
    })
}

async fn connection(mut stream: UnixStream, method: Arc<BoxedMethod>) -> io::Result<()> {
    let mut inbox = BytesMut::with_capacity(READ);
    let mut out = Vec::new();
    let mut result = RVec::new();

    while stream.read_buf(&mut inbox).await? > 0 {
        while let Some(length) = complete_payload(&inbox) {
            answer(&inbox[..HEADER_LEN + length], &method, &mut result, &mut out)?;
            inbox.advance(HEADER_LEN + length);
        }
        stream.write_all(&out).await?;
        out.clear();
        inbox.reserve(READ);
    }
    Ok(())
}

/// Returns the payload length of the first frame if it is complete.
fn complete_payload(inbox: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(inbox.get(3..HEADER_LEN)?.try_into().ok()?) as usize;
    (inbox.len() >= HEADER_LEN + length).then_some(length)
}

fn answer(frame: &[u8], method: &BoxedMethod, result: &mut RVec<u8>, out: &mut Vec<u8>) -> io::Result<()> {
    let start = out.len();
    out.extend_from_slice(&frame[..HEADER_LEN]);
    // The reply to an async request (4) has the next kind.
    out[start + 2] += u8::from(frame[2] == 4);

    let envelope: Envelope<'_> = serde_json::from_slice(&frame[HEADER_LEN..])?;
    out.push(b'{');
    if let Some(id) = envelope.id {
        out.extend_from_slice(b"\"id\":");
        out.extend_from_slice(id.get().as_bytes());
        out.push(b',');
    }

    result.clear();
    let params = envelope.params.map_or("null", RawValue::get);
    if envelope.method == "device.status.update" && method.call(params.as_bytes().into(), result) {
        out.extend_from_slice(b"\"result\":");
        out.extend_from_slice(result);
    } else {
        out.extend_from_slice(br#""error":{"code":-32601,"message":"no"}"#);
    }
    out.push(b'}');

    let length = u32::try_from(out.len() - start - HEADER_LEN).map_err(io::Error::other)?;
    out[start + 3..start + HEADER_LEN].copy_from_slice(&length.to_be_bytes());
    Ok(())
}
