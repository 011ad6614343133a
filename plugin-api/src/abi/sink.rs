//! The output buffer of a call, from both sides: one side lends a `Vec<u8>`, and the other appends
//! to it through [`Out`].
//!
//! The serializer of a plugin writes directly into the buffer that is sent through the socket.
//! There is no copy, and no memory that one side allocates and the other frees.

use std::ffi::c_void;
use std::io;

use super::call_context::Content;
use super::types::{RawOutcome, Sink, Slice, Status};
use crate::error::Error;

/// The output buffer as the side that writes sees it.
pub struct Out<'a> {
    sink: &'a mut Sink,
    content: Content,
}

impl<'a> Out<'a> {
    /// Borrows the output buffer for a call.
    ///
    /// # Safety
    ///
    /// `sink` must be the one that was lent for the running call.
    pub(super) unsafe fn borrow(sink: *mut Sink) -> Self {
        // SAFETY: guaranteed by the caller; nobody else uses it during the call.
        Self { sink: unsafe { &mut *sink }, content: Content::Json }
    }

    /// Returns the length of the buffer in bytes, including what it held before the call.
    pub(super) fn len(&self) -> usize {
        self.sink.len
    }

    /// Returns how many bytes can be appended.
    pub(crate) fn room(&self) -> usize {
        self.sink.limit - self.sink.len
    }

    /// Sets what the written result is. It is JSON by default.
    pub(crate) fn set_content(&mut self, content: Content) {
        self.content = content;
    }

    /// Returns what the written result is.
    pub(super) fn content(&self) -> Content {
        self.content
    }

    /// Removes the bytes after `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        self.sink.len = self.sink.len.min(len);
    }

    /// Appends `bytes`, or returns `false` if that would exceed the limit.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        let sink = &mut *self.sink;
        if sink.cap - sink.len < bytes.len() {
            // SAFETY: `reserve` belongs to this sink.
            let has_room = unsafe { (sink.reserve)(sink, bytes.len()) };
            if !has_room {
                return false;
            }
        }
        // SAFETY: there is room for `bytes` after `len`, and the lent buffer cannot overlap
        // `bytes`.
        unsafe { sink.ptr.add(sink.len).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        sink.len += bytes.len();
        true
    }

    /// Removes the bytes after `start` and writes an error. If message and data exceed the limit,
    /// only the code remains.
    pub(super) fn fail(&mut self, start: usize, error: &Error) -> RawOutcome {
        self.truncate(start);
        let message = error.message().as_bytes();
        let fits = self.push(message);
        if !fits || error.data_json().is_some_and(|data| !self.push(data.as_bytes())) {
            self.truncate(start);
            return RawOutcome { status: Status::Failed, code: error.code(), message_len: 0 };
        }
        RawOutcome { status: Status::Failed, code: error.code(), message_len: message.len() }
    }

    /// Removes the bytes after `start` and writes the text of a panic, at most 1024 bytes of it,
    /// because the text goes to the log.
    pub(super) fn panicked(&mut self, start: usize, text: &str) -> RawOutcome {
        const MAX_TEXT: usize = 1024;
        self.truncate(start);
        let end = text.floor_char_boundary(MAX_TEXT);
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

/// The end of a call, with the place of its output in the lent buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// Offset of the output in the buffer.
    pub(super) start: usize,
    pub(super) message_len: usize,
    pub(super) code: i64,
    pub(super) status: Status,
}

impl Written {
    /// Takes the message and data of an error, or the text of a panic, out of `buffer`.
    pub(super) fn take_text(&self, buffer: &mut Vec<u8>) -> (String, Option<String>) {
        let tail = buffer.split_off(self.start.min(buffer.len()));
        let cut = if self.status == Status::Panicked { tail.len() } else { self.message_len.min(tail.len()) };
        let (message, data) = tail.split_at(cut);
        let data = (!data.is_empty()).then(|| String::from_utf8_lossy(data).into_owned());
        (String::from_utf8_lossy(message).into_owned(), data)
    }
}

unsafe extern "C" fn reserve(sink: *mut Sink, additional: usize) -> bool {
    // SAFETY: only `lend` creates sinks with this function, and sets `owner` to a vector that
    // outlives the call.
    let sink = unsafe { &mut *sink };
    // SAFETY: as above; the vector does not overlap the sink.
    let buffer = unsafe { &mut *sink.owner.cast::<Vec<u8>>() };

    if sink.len > sink.cap {
        return false;
    }
    match sink.len.checked_add(additional) {
        Some(wanted) if wanted <= sink.limit => {}
        _ => return false,
    }
    // SAFETY: the other side wrote the bytes up to `len`, which is within the capacity of the sink.
    unsafe { buffer.set_len(sink.len) };
    buffer.reserve(additional);
    sink.ptr = buffer.as_mut_ptr();
    sink.cap = buffer.capacity().min(sink.limit);
    true
}

/// Lends `buffer` to `body`, which may append at most `limit` bytes. The appended bytes stay in it.
pub(super) fn lend(
    buffer: &mut Vec<u8>,
    limit: usize,
    body: impl FnOnce(*mut Sink, *mut RawOutcome),
) -> Written {
    let start = buffer.len();
    let limit = start.saturating_add(limit);
    let mut outcome = RawOutcome::PANICKED;
    let mut sink = Sink {
        ptr: buffer.as_mut_ptr(),
        len: start,
        // Capacity beyond the limit is not lent: the other side calls `reserve` only if it needs
        // more than `cap`.
        cap: buffer.capacity().min(limit),
        limit,
        owner: std::ptr::from_mut(buffer).cast::<c_void>(),
        reserve,
    };
    body(&raw mut sink, &raw mut outcome);

    // The other side may be written in C, and any number may be there.
    // SAFETY: the status was initialized, and a byte may have any value.
    let status = unsafe { (&raw const outcome.status).cast::<u8>().read() };
    let fault = match Status::from_number(status) {
        Some(_) if sink.len < start || sink.len > buffer.capacity().min(limit) => {
            "its output has an invalid length"
        }
        Some(status) => {
            // SAFETY: `len` grows only by bytes that were written, within the capacity that
            // `reserve` updates.
            unsafe { buffer.set_len(sink.len) };
            return Written { start, message_len: outcome.message_len, code: outcome.code, status };
        }
        None => "it returned an unknown status",
    };
    broken(buffer, start, fault)
}

/// Returns the end of a call whose outcome cannot be used, as that of a panic with this text.
#[cold]
fn broken(buffer: &mut Vec<u8>, start: usize, fault: &str) -> Written {
    buffer.truncate(start);
    buffer.extend_from_slice(fault.as_bytes());
    Written { start, message_len: 0, code: 0, status: Status::Panicked }
}

/// Returns the text of a slice. Bytes that are not UTF-8 are replaced by U+FFFD.
///
/// # Safety
///
/// As for [`Slice::bytes`].
pub(super) unsafe fn text<'a>(slice: Slice) -> std::borrow::Cow<'a, str> {
    // SAFETY: guaranteed by the caller.
    String::from_utf8_lossy(unsafe { slice.bytes() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lends a buffer that holds `before` to `body`, and returns the buffer and the end of the
    /// call.
    fn lend_to(limit: usize, body: impl FnOnce(&mut Out<'_>) -> RawOutcome) -> (Vec<u8>, Written) {
        let mut buffer = b"before".to_vec();
        let written = lend(&mut buffer, limit, |sink, outcome| {
            // SAFETY: both pointers come from `lend` and are valid during the call.
            unsafe { *outcome = body(&mut Out::borrow(sink)) }
        });
        (buffer, written)
    }

    #[test]
    fn appends_up_to_the_limit_and_nothing_beyond() {
        let (buffer, written) = lend_to(1000, |out| {
            assert!(out.push(&[b'x'; 999]));
            assert!(!out.push(b"yz"), "two bytes over a limit with room for one");
            assert!(out.push(b"z"));
            RawOutcome::DONE
        });
        assert_eq!((written.status, written.start, buffer.len()), (Status::Done, 6, 1006));
        assert!(buffer.starts_with(b"before") && buffer.ends_with(b"xz"));
    }

    #[test]
    fn does_not_fill_spare_capacity_beyond_the_limit() {
        let mut buffer = Vec::with_capacity(4096);
        for pushes in [&[11][..], &[10, 1], &[4, 4, 4]] {
            buffer.clear();
            let written = lend(&mut buffer, 10, |sink, outcome| {
                // SAFETY: both pointers come from `lend` and are valid during the call.
                let (mut out, outcome) = unsafe { (Out::borrow(sink), &mut *outcome) };
                let fits = pushes.iter().all(|length| out.push(&vec![b'x'; *length]));
                assert!(!fits, "{pushes:?} within a limit of 10 bytes");
                *outcome = RawOutcome::DONE;
            });
            assert!(written.status == Status::Done && buffer.len() <= 10, "{pushes:?}");
        }

        // The capacity that `reserve` adds is not lent beyond the limit, either.
        let (buffer, _) = lend_to(20, |out| {
            assert!(out.push(&[b'x'; 12]) && !out.push(&[b'x'; 9]));
            RawOutcome::DONE
        });
        assert_eq!(buffer.len(), 18);
    }

    #[test]
    fn replaces_a_partial_result_by_the_error() {
        let error = Error::new(7, "a message").with_data(&[1, 2]);
        let (mut buffer, written) = lend_to(1000, |out| {
            let start = out.len();
            out.push(b"half a result");
            out.fail(start, &error)
        });
        assert_eq!((written.status, written.code), (Status::Failed, 7));
        assert_eq!(written.take_text(&mut buffer), ("a message".to_owned(), Some("[1,2]".to_owned())));
        assert_eq!(buffer, b"before");
    }

    #[test]
    fn keeps_only_the_code_of_an_error_over_the_limit() {
        let error = Error::new(7, "a message over the limit");
        let (mut buffer, written) = lend_to(8, |out| out.fail(out.len(), &error));
        assert_eq!((written.status, written.code), (Status::Failed, 7));
        assert_eq!(written.take_text(&mut buffer), (String::new(), None));
        assert_eq!(buffer, b"before");
    }

    #[test]
    fn truncates_the_text_of_a_panic() {
        let (mut buffer, written) = lend_to(10_000, |out| out.panicked(out.len(), &"é".repeat(1000)));
        assert_eq!(written.take_text(&mut buffer), ("é".repeat(512), None));
    }
}
