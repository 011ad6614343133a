//! A host of protocol 1.2 that a test plays frame by frame, on a thread of its own.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use jackfield_protocol::{
    Capabilities, Code, Framing, Header, Hello, Kind, ReplyForm, Request, Timing, Version, begin_result,
    split_bytes_body, write_error,
};

use super::scratch::ScratchDirectory;

/// Everything that a host can grant.
pub(crate) const ALL: Capabilities = Capabilities::from_bits(u64::MAX);

/// A listening socket whose connections a test accepts.
#[derive(Debug)]
pub(crate) struct Host {
    listener: UnixListener,
    scratch: ScratchDirectory,
}

impl Host {
    pub(crate) fn new() -> Host {
        let scratch = ScratchDirectory::new();
        Host { listener: UnixListener::bind(scratch.join("host.sock")).unwrap(), scratch }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.scratch.join("host.sock")
    }

    pub(crate) fn accept(&self) -> Peer {
        Peer { stream: self.listener.accept().unwrap().0 }
    }

    /// Accepts a connection, and grants its hello.
    pub(crate) fn accept_and_grant(&self, grant: Capabilities) -> Peer {
        let mut peer = self.accept();
        let hello = peer.read().unwrap();
        peer.grant(&hello, grant);
        peer
    }
}

/// A frame of a client.
#[derive(Debug)]
pub(crate) struct ClientFrame {
    pub(crate) version: u16,
    pub(crate) kind: u8,
    pub(crate) payload: Vec<u8>,
}

impl ClientFrame {
    pub(crate) fn request(&self) -> Request<'_> {
        Request::parse(self.envelope()).unwrap()
    }

    /// Returns the id of the request, as JSON.
    pub(crate) fn id(&self) -> String {
        self.request().id.unwrap().as_json().to_owned()
    }

    pub(crate) fn deadline_ms(&self) -> u32 {
        self.request().context.deadline_ms.unwrap().get()
    }

    /// Returns the opaque bytes behind the envelope.
    pub(crate) fn opaque(&self) -> &[u8] {
        split_bytes_body(&self.payload[5..]).unwrap().1
    }

    fn envelope(&self) -> &[u8] {
        if self.kind & 0x80 == 0 { &self.payload } else { split_bytes_body(&self.payload[5..]).unwrap().0 }
    }

    /// Returns the form of a reply to this request, with a timing if it is of version 1.2.
    fn form(&self) -> ReplyForm {
        let kind = if self.kind & 0x7F == 4 { Kind::AsyncResponse } else { Kind::Sync };
        match self.version {
            0x0102 => {
                let plain = ReplyForm::plain(Framing::Binary, Version::V1_2, kind);
                ReplyForm { has_timing: true, ..plain }
            }
            _ => ReplyForm::plain(Framing::Binary, Version::V1_1, kind),
        }
    }
}

/// An accepted connection.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: UnixStream,
}

impl Peer {
    /// Reads a frame; returns `None` at the end of the connection.
    pub(crate) fn read(&mut self) -> Option<ClientFrame> {
        let mut header = [0; 7];
        self.stream.read_exact(&mut header).ok()?;
        let length = u32::from_be_bytes(header[3..].try_into().unwrap());
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).ok()?;
        Some(ClientFrame { version: u16::from_be_bytes([header[0], header[1]]), kind: header[2], payload })
    }

    /// Reads a request.
    pub(crate) fn read_request(&mut self) -> ClientFrame {
        let frame = self.read().expect("the client sends a request");
        assert!(matches!(frame.kind & 0x7F, 1 | 4), "{frame:?}");
        frame
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a heartbeat with this payload.
    pub(crate) fn send_heartbeat(&mut self, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap();
        let header = Header { version: Version::V1_0, kind: Kind::Heartbeat, length };
        self.send(&[&header.encode()[..], payload].concat());
    }

    /// Answers a hello with these capabilities and with opaque bytes.
    pub(crate) fn grant(&mut self, hello: &ClientFrame, grant: Capabilities) {
        assert_eq!((hello.version, hello.kind), (0x0100, 2));
        let hello = Hello::parse(&hello.payload).unwrap();
        let mut answer = Vec::new();
        Hello { is_ack: true, capabilities: hello.capabilities.and(grant), ..hello }
            .write(&mut answer, Version::V1_0);
        self.send(&answer);
    }

    /// Answers a request with JSON, or with opaque bytes if `is_opaque`.
    pub(crate) fn answer(&mut self, request: &ClientFrame, result: &[u8], timing: Timing, is_opaque: bool) {
        let id = request.id();
        let mut frame = Vec::new();
        let head = begin_result(&mut frame, request.form(), Some(&id));
        frame.extend_from_slice(result);
        if is_opaque {
            head.finish_bytes_within(&mut frame, Some(&id), jackfield_protocol::FrameLimit::MAX).unwrap();
        } else {
            head.finish(&mut frame).unwrap();
        }
        if request.form().has_timing {
            timing.stamp(&mut frame);
        }
        self.send(&frame);
    }

    /// Answers a request with this JSON.
    pub(crate) fn answer_json(&mut self, request: &ClientFrame, json: &str) {
        self.answer(request, json.as_bytes(), Timing::default(), false);
    }

    /// Answers a request with an error of the host.
    pub(crate) fn answer_error(&mut self, request: &ClientFrame, code: Code, data: Option<&str>) {
        let mut frame = Vec::new();
        let (form, id) = (request.form(), request.id());
        write_error(&mut frame, form, Some(&id), code.as_i64(), "no", data);
        self.send(&frame);
    }
}
