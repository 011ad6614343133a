//! A request that was accepted and is not answered yet.

use std::sync::Arc;

use crate::clock::Time;
use crate::limits::Permit;
use crate::metrics::MethodId;
use crate::plugin::PluginCall;
use crate::routing::ReplyContext;

/// A request that was accepted and is answered from another thread, or later.
pub(super) struct AcceptedRequest {
    /// How the reply is written, without the id.
    pub(super) reply: ReplyContext<'static>,
    /// Name under which the metrics count it.
    pub(super) counted: MethodId,
    pub(super) accepted: Time,
    pub(super) call: Arc<PluginCall>,
    pub(super) _permit: Permit,
}
