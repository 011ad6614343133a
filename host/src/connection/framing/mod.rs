//! Frames out of bytes, in the framing that the listener speaks.

mod binary;
mod frame_event;
mod framer;
mod line;

pub(super) use self::frame_event::{Frame, FrameEvent, READ_SIZE};
pub(super) use self::framer::Framer;
pub(super) use self::line::starts_binary_frame;
