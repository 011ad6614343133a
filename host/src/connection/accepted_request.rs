//! A request that was accepted and is not answered yet.

use std::sync::Arc;

use jackfield_protocol::ReplyForm;

use crate::clock::Time;
use crate::limits::Permit;
use crate::metrics::MethodId;
use crate::plugin::PluginCall;

/// A request that was accepted and is answered from another thread, or later.
pub(super) struct AcceptedRequest {
    /// How the reply is written.
    pub(super) form: ReplyForm,
    /// Whether the client accepts opaque bytes as a result.
    pub(super) accepts_bytes: bool,
    /// Largest payload that the client accepts, in bytes.
    pub(super) limit: u32,
    /// Name under which the metrics count it.
    pub(super) counted: MethodId,
    pub(super) accepted: Time,
    pub(super) call: Arc<PluginCall>,
    pub(super) _permit: Permit,
}
