//! The error codes of the protocol: number, name, meaning and retry rule, in one table.

use std::fmt;

/// Whether a request that was answered with an error may be sent again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Retry {
    /// The request was never started. Sending it again, later or on another connection, cannot run
    /// it twice.
    Safe,
    /// The request may have run, wholly or in part. Send it again only if running it twice does no
    /// harm.
    IfIdempotent,
    /// The same request would fail in the same way.
    Never,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $retry:ident;)*) => {
        /// An error code with a fixed meaning: those of JSON-RPC 2.0 and those of the host
        /// (protocol section 3).
        ///
        /// The errors of a plugin are plain numbers outside the reserved range; see
        /// [`is_reserved`].
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// Every code, in the order of the table in protocol section 3.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// Returns the number on the wire.
            #[must_use]
            pub const fn as_i64(self) -> i64 {
                match self { $(Code::$variant => $number,)* }
            }

            /// Returns the name that documents use, such as `DEADLINE_EXCEEDED`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// Returns whether a client may repeat a request that was answered with this code.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self { $(Code::$variant => Retry::$retry,)* }
            }

            /// Returns the code with this number, or `None` if the number has no fixed meaning.
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
    /// The payload is JSON, but not a request.
    InvalidRequest = -32600, "INVALID_REQUEST", Never;
    /// No plugin serves this method.
    MethodNotFound = -32601, "METHOD_NOT_FOUND", Never;
    /// The params do not fit the method.
    InvalidParams = -32602, "INVALID_PARAMS", Never;
    /// The host or a plugin failed in a way that has no better code.
    InternalError = -32603, "INTERNAL_ERROR", IfIdempotent;
    /// The deadline passed before there was a reply; `data` holds `timeout_ms`.
    DeadlineExceeded = -32001, "DEADLINE_EXCEEDED", IfIdempotent;
    /// Rejected because of load and never started; `data` holds `retry_after_ms`.
    Overloaded = -32002, "OVERLOADED", Safe;
    /// The method panicked; `data` holds `plugin`.
    PluginPanicked = -32003, "PLUGIN_PANICKED", IfIdempotent;
    /// The process that ran the method crashed; `data` holds `plugin`.
    PluginCrashed = -32004, "PLUGIN_CRASHED", IfIdempotent;
    /// The plugin cannot take requests now, and the request was never started; `data` holds
    /// `plugin` and `retry_after_ms`.
    PluginUnavailable = -32005, "PLUGIN_UNAVAILABLE", Safe;
    /// The peer is not allowed to call this method.
    PermissionDenied = -32006, "PERMISSION_DENIED", Never;
    /// The payload is over the limit; `data` holds `limit`, in bytes.
    FrameTooLarge = -32007, "FRAME_TOO_LARGE", Never;
    /// The framing of this version is unknown; `data` holds `supported`.
    UnsupportedVersion = -32008, "UNSUPPORTED_VERSION", Never;
    /// The host is shutting down and never started the request. Send it again on a new connection;
    /// `data` holds `retry_after_ms`.
    GoingAway = -32009, "GOING_AWAY", Safe;
    /// The host does not know an extension that it must understand; `data` holds `tag`.
    UnsupportedExtension = -32010, "UNSUPPORTED_EXTENSION", Never;
    /// The client asked to cancel the request.
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

/// Returns whether `number` lies in -32768..=-32000.
///
/// JSON-RPC 2.0 reserves this range for itself and its servers, so the errors of a plugin must lie
/// outside (protocol section 3). CANCELLED (-32800) has a fixed meaning although it lies outside.
#[must_use]
pub const fn is_reserved(number: i64) -> bool {
    -32_768 <= number && number <= -32_000
}
