//! Every number of the protocol that bounds something, in one place, each with where it comes from.
//!
//! "Protocol section N" is that section of `docs/protocol.md`.

/// Bytes of a header, the same in every version (protocol section 1).
pub const HEADER_LEN: usize = 7;

/// The largest payload accepted unless configured otherwise, in bytes: 16 MiB (protocol section 1).
pub const FRAME_DEFAULT: u32 = 16 * 1024 * 1024;

/// How many times the limit a refused payload may announce and still be read away, so that the connection
/// stays in step and usable; above it, the connection closes (protocol section 1).
pub const DISCARD_FACTOR: u64 = 4;

/// The longest `method`, in bytes of UTF-8 after JSON escapes are resolved (protocol section 2).
pub const METHOD_MAX: usize = 256;

/// The longest `id`, in bytes as written on the wire: the quotes and escapes of a string count (protocol
/// section 2).
pub const ID_MAX: usize = 128;

/// The deepest nesting of arrays and objects in a payload; the envelope itself is level 1 (protocol section 2).
pub const DEPTH_MAX: usize = 128;
