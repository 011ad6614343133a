//! The receiving end of a host without its socket, for the fuzz targets (feature `fuzzing`).

use super::frame_splitter::{FrameSplitter, ReceivedFrame};
use super::message::WorkerMessage;
use super::message_encode::ChannelMessage;

/// A frame of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFrame {
    /// The kind in its header, without the bit for a memory file.
    pub kind: u8,

    /// The payload, or its beginning.
    pub payload: Vec<u8>,

    /// The length of the rest of the payload, if that is in a memory file.
    pub detached: Option<usize>,
}

/// A stream of frames.
#[derive(Debug)]
pub struct WorkerStream(FrameSplitter);

impl WorkerStream {
    /// Creates a stream. `limit` is the upper bound for a payload, in bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(FrameSplitter::new(limit))
    }

    /// Adds bytes as if they had been received.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.0.room();
            let (piece, left) = rest.split_at(rest.len().min(room.len()));
            room[..piece.len()].copy_from_slice(piece);
            self.0.add(piece.len());
            rest = left;
        }
    }

    /// Returns the next frame that is complete.
    ///
    /// # Errors
    ///
    /// The reason why the bytes are no frame.
    pub fn next_frame(&mut self) -> Result<Option<StreamFrame>, String> {
        let frame = self.0.next_frame().map_err(|fault| fault.to_string())?;
        Ok(frame.map(|frame| match frame {
            ReceivedFrame::Whole { kind, payload } => {
                StreamFrame { kind, payload: payload.to_vec(), detached: None }
            }
            ReceivedFrame::Detached { kind, head, length } => {
                StreamFrame { kind, payload: head.to_vec(), detached: Some(length) }
            }
        }))
    }
}

/// Reads the message in a payload, and returns its kind and its payload when it is written again.
///
/// # Errors
///
/// The reason why it is no message of a worker.
pub fn rewrite(kind: u8, payload: &[u8]) -> Result<(u8, Vec<u8>), String> {
    let message = WorkerMessage::decode(kind, payload).map_err(|error| error.to_string())?;
    let mut written = Vec::new();
    message.encode_head(&mut written);
    written.extend_from_slice(message.tail());
    Ok((message.kind(), written))
}
