//! Every error code of the protocol, in one table: number, name, meaning, whether to try again.

use std::fmt;

/// Whether a request answered with an error may be sent again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Retry {
    /// The request was never started: sending it again, later or on another connection, cannot run it twice.
    Safe,
    /// The request may have run, wholly or in part: again only if running it twice does no harm.
    IfIdempotent,
    /// The same request would fail in the same way.
    Never,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $retry:ident;)*) => {
        /// An error code with a fixed meaning: JSON-RPC 2.0's own and the host's (protocol section 3).
        ///
        /// A plugin's own errors are plain numbers outside the reserved range, see [`is_reserved`].
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// All of them, in the order of the table in protocol section 3.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// The number on the wire.
            #[must_use]
            pub const fn as_i64(self) -> i64 {
                match self { $(Code::$variant => $number,)* }
            }

            /// The name documents use: `DEADLINE_EXCEEDED`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// What a client may do with the request that was answered so.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self { $(Code::$variant => Retry::$retry,)* }
            }

            /// The code a number stands for; `None` for a number without a fixed meaning.
            #[must_use]
            pub const fn from_i64(number: i64) -> Option<Code> {
                match number { $($number => Some(Code::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    /// The payload is not JSON.
    ParseError = -32700, "PARSE_ERROR", Never;
    /// The payload is JSON, but no request.
    InvalidRequest = -32600, "INVALID_REQUEST", Never;
    /// No route leads from this method to a plugin.
    MethodNotFound = -32601, "METHOD_NOT_FOUND", Never;
    /// The method cannot read its params.
    InvalidParams = -32602, "INVALID_PARAMS", Never;
    /// The host, or a plugin, failed in a way it has no better code for.
    InternalError = -32603, "INTERNAL_ERROR", IfIdempotent;
    /// No reply before the deadline; `data` holds `timeout_ms`.
    DeadlineExceeded = -32001, "DEADLINE_EXCEEDED", IfIdempotent;
    /// Refused for load, never started; `data` holds `retry_after_ms`.
    Overloaded = -32002, "OVERLOADED", Safe;
    /// The method panicked; `data` holds `plugin`.
    PluginPanicked = -32003, "PLUGIN_PANICKED", IfIdempotent;
    /// The process that ran the method died; `data` holds `plugin`.
    PluginCrashed = -32004, "PLUGIN_CRASHED", IfIdempotent;
    /// The plugin cannot take requests now, never started; `data` holds `plugin` and `retry_after_ms`.
    PluginUnavailable = -32005, "PLUGIN_UNAVAILABLE", Safe;
    /// The peer is not allowed to call this method.
    PermissionDenied = -32006, "PERMISSION_DENIED", Never;
    /// The payload is over the limit; `data` holds `limit`, in bytes.
    FrameTooLarge = -32007, "FRAME_TOO_LARGE", Never;
    /// The framing of this version is unknown; `data` holds `supported`.
    UnsupportedVersion = -32008, "UNSUPPORTED_VERSION", Never;
    /// The host is shutting down, never started: again on a new connection; `data` holds `retry_after_ms`.
    GoingAway = -32009, "GOING_AWAY", Safe;
    /// An extension that must be understood is not; `data` holds `tag`.
    UnsupportedExtension = -32010, "UNSUPPORTED_EXTENSION", Never;
    /// The client asked for the request to be cancelled.
    Cancelled = -32800, "CANCELLED", Never;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Code> for i64 {
    fn from(code: Code) -> i64 {
        code.as_i64()
    }
}

/// Whether `number` lies in -32768..=-32000, which JSON-RPC 2.0 keeps for itself and its servers: a plugin's own
/// errors must lie outside (protocol section 3). CANCELLED, -32800, has a fixed meaning and lies outside too.
#[must_use]
pub const fn is_reserved(number: i64) -> bool {
    -32_768 <= number && number <= -32_000
}
