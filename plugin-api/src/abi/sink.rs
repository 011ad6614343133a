//! The answer's buffer from both sides: the host lends a `Vec<u8>`, the plugin appends to it through [`Out`].
//!
//! A plugin's serializer writes straight into the buffer that leaves through the socket: no copy in between, and
//! no memory that one side allocates and the other frees.

use std::ffi::c_void;
use std::io;

use super::types::{RawOutcome, Sink, Slice, Status};
use crate::error::Error;

/// The plugin's view of the answer's buffer.
pub struct Out<'a>(&'a mut Sink);

impl<'a> Out<'a> {
    /// # Safety
    /// `sink` must be the one that the host lent for the running call.
    pub(super) unsafe fn borrow(sink: *mut Sink) -> Self {
        // SAFETY: the caller's promise; nobody else holds it during the call.
        Self(unsafe { &mut *sink })
    }

    /// How many bytes were written so far, the host's own included.
    pub(super) fn len(&self) -> usize {
        self.0.len
    }

    /// Takes back what was written behind `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        self.0.len = self.0.len.min(len);
    }

    /// Appends `bytes`; `false` when that would pass the limit.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let sink = &mut *self.0;
        if sink.cap - sink.len < bytes.len() {
            // SAFETY: `reserve` came with this very sink.
            let room = unsafe { (sink.reserve)(sink, bytes.len()) };
            if !room {
                return false;
            }
        }
        // SAFETY: there is room for `bytes` behind `len`, and the host's buffer cannot overlap the plugin's bytes.
        unsafe { sink.ptr.add(sink.len).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        sink.len += bytes.len();
        true
    }

    /// Writes an error, after taking back what was written behind `start`.
    pub(super) fn fail(&mut self, start: usize, error: &Error) -> RawOutcome {
        self.truncate(start);
        let message = error.message().as_bytes();
        let written = self.push(message);
        if !written || error.data_json().is_some_and(|data| !self.push(data.as_bytes())) {
            self.truncate(start);
            return RawOutcome { status: Status::Failed, code: error.code(), message_len: 0 };
        }
        RawOutcome { status: Status::Failed, code: error.code(), message_len: message.len() }
    }

    /// Writes the text of a panic, cut to a length that a log can bear.
    pub(super) fn panicked(&mut self, start: usize, text: &str) -> RawOutcome {
        const LONGEST: usize = 1024;
        self.truncate(start);
        let end = text.floor_char_boundary(LONGEST);
        self.push(&text.as_bytes()[..end]);
        RawOutcome::PANICKED
    }
}

impl io::Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.push(bytes) { Ok(()) } else { Err(io::ErrorKind::FileTooLarge.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the plugin left in the host's buffer, read by the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// Where it begins in the buffer.
    pub(super) start: usize,
    pub(super) message_len: usize,
    pub(super) code: i64,
    pub(super) status: Status,
}

impl Written {
    /// The error's message and data, or the panic's text, taken out of `buffer`.
    pub(super) fn take_text(&self, buffer: &mut Vec<u8>) -> (String, Option<String>) {
        let tail = buffer.split_off(self.start.min(buffer.len()));
        let cut = if self.status == Status::Panicked { tail.len() } else { self.message_len.min(tail.len()) };
        let (message, data) = tail.split_at(cut);
        let data = (!data.is_empty()).then(|| String::from_utf8_lossy(data).into_owned());
        (String::from_utf8_lossy(message).into_owned(), data)
    }
}

unsafe extern "C" fn reserve(sink: *mut Sink, additional: usize) -> bool {
    // SAFETY: only `lend` makes sinks with this function, and it sets `owner` to a vector that outlives the call.
    let sink = unsafe { &mut *sink };
    // SAFETY: as above; the vector's own fields lie elsewhere than the sink.
    let buffer = unsafe { &mut *sink.owner.cast::<Vec<u8>>() };
    match sink.len.checked_add(additional) {
        Some(wanted) if wanted <= sink.limit => {}
        _ => return false,
    }
    // SAFETY: the plugin wrote the bytes up to `len`, which is within the capacity it was given.
    unsafe { buffer.set_len(sink.len) };
    buffer.reserve(additional);
    sink.ptr = buffer.as_mut_ptr();
    sink.cap = buffer.capacity();
    true
}

/// Lends `buffer` for the length of `body`; what the plugin wrote stays in it, at most `limit` bytes more.
pub(super) fn lend(
    buffer: &mut Vec<u8>,
    limit: usize,
    body: impl FnOnce(*mut Sink, *mut RawOutcome),
) -> Written {
    let start = buffer.len();
    let mut outcome = RawOutcome::PANICKED;
    let mut sink = Sink {
        ptr: buffer.as_mut_ptr(),
        len: start,
        cap: buffer.capacity(),
        limit: start.saturating_add(limit),
        owner: std::ptr::from_mut(buffer).cast::<c_void>(),
        reserve,
    };
    body(&raw mut sink, &raw mut outcome);
    // SAFETY: `len` only grows by bytes that were written, within the capacity that `reserve` keeps true.
    unsafe { buffer.set_len(sink.len) };
    Written { start, message_len: outcome.message_len, code: outcome.code, status: outcome.status }
}

/// The text behind a slice; what is not UTF-8 is replaced.
///
/// # Safety
/// As for [`Slice::bytes`].
pub(super) unsafe fn text<'a>(slice: Slice) -> std::borrow::Cow<'a, str> {
    // SAFETY: the caller's promise.
    String::from_utf8_lossy(unsafe { slice.bytes() })
}
