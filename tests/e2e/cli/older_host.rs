//! A host that speaks version 1.0 and knows nothing of discovery.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use serde_json::{Value, json};

use crate::support::peer::{HEARTBEAT, V1_0, frame};
use crate::support::scratch::Scratch;

/// A host at `host.sock` of a directory of its own. Its thread ends with the test program.
pub(super) struct OlderHost {
    scratch: Scratch,
}

impl OlderHost {
    /// Starts a host. `answer` gets each request and returns the reply; `None` leaves it
    /// unanswered.
    pub(super) fn start(answer: impl Fn(&Value) -> Option<Value> + Clone + Send + 'static) -> Self {
        let scratch = Scratch::new();
        let listener = UnixListener::bind(scratch.join("host.sock")).unwrap();

        thread::spawn(move || {
            for peer in listener.incoming() {
                let answer = answer.clone();
                thread::spawn(move || serve(peer.unwrap(), &answer));
            }
        });
        Self { scratch }
    }

    pub(super) fn directory(&self) -> &Path {
        self.scratch.path()
    }
}

/// Answers the frames of a client until it hangs up.
fn serve(mut peer: UnixStream, answer: &impl Fn(&Value) -> Option<Value>) {
    while let Some((kind, payload)) = read_frame(&mut peer) {
        let reply = match kind {
            HEARTBEAT => Some(frame(V1_0, HEARTBEAT, payload)),
            kind => {
                let request: Value = serde_json::from_slice(&payload).unwrap();
                answer(&request).map(|mut reply| {
                    if let Some(id) = request.get("id") {
                        reply["id"] = json!(id);
                    }
                    frame(V1_0, kind, reply.to_string())
                })
            }
        };
        // The client may have hung up.
        let _ = reply.map(|reply| peer.write_all(&reply));
    }
}

/// Reads a frame; `None` at the end.
fn read_frame(peer: &mut UnixStream) -> Option<(u8, Vec<u8>)> {
    let mut header = [0; 7];
    peer.read_exact(&mut header).ok()?;
    let mut payload = vec![0; u32::from_be_bytes(header[3..].try_into().unwrap()) as usize];
    peer.read_exact(&mut payload).ok()?;
    Some((header[2], payload))
}
