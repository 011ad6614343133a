//! The limits of the protocol, each with its source.
//!
//! "Protocol section N" is that section of `docs/protocol.md`.

/// Length of a header in bytes, the same in every version (protocol section 1).
pub const HEADER_LEN: usize = 7;

/// The largest accepted payload unless configured otherwise, in bytes: 16 MiB (protocol section 1).
pub const FRAME_DEFAULT: u32 = 16 * 1024 * 1024;

/// Factor of the frame limit up to which a refused payload is read and discarded.
///
/// Up to this length the connection stays in step and usable. Above it, the connection is closed
/// (protocol section 1).
pub const DISCARD_FACTOR: u64 = 4;

/// The longest `method`, in bytes of UTF-8 after JSON escapes are decoded (protocol section 2).
pub const METHOD_MAX: usize = 256;

/// The longest `id`, in bytes as written on the wire: the quotes and escapes of a string count
/// (protocol section 2).
pub const ID_MAX: usize = 128;

/// The deepest nesting of arrays and objects in a payload, in levels. The envelope itself is level
/// 1 (protocol section 2).
pub const DEPTH_MAX: usize = 128;

/// Bytes of the longest notation of one decoded byte in a JSON string: `\u0061`.
pub(crate) const ESCAPE_LEN: usize = 6;

/// Most members of `meta` (protocol section 2).
pub const META_MEMBERS_MAX: usize = 16;

/// Most bytes of the names and values of `meta` together, with their escapes decoded (protocol
/// section 2).
pub const META_BYTES_MAX: usize = 2048;

/// The longest `meta` as written, in bytes: every byte escaped, and 96 bytes for the quotes, colons
/// and white space of each member (protocol section 2). A longer one is refused before it costs
/// memory.
pub const META_WRITTEN_MAX: usize = ESCAPE_LEN * META_BYTES_MAX + 96 * META_MEMBERS_MAX;

/// Longest `tracestate`, in bytes with its escapes decoded (protocol section 2). W3C Trace Context
/// asks for at least as much.
pub const TRACESTATE_MAX: usize = 512;
