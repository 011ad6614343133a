//! The options of a call of the embedding program.

use std::collections::BTreeMap;
use std::time::Duration;

use jackfield_protocol::TraceParent;
use jackfield_protocol::limits::{META_BYTES_MAX, META_MEMBERS_MAX};

use super::call_error::CallError;
use crate::routing::ProgramContext;

/// The options of a call. The default is what a request has that carries none.
#[derive(Debug, Clone, Default)]
pub struct CallOptions {
    timeout: Option<Duration>,
    id: Option<String>,
    metadata: BTreeMap<String, String>,
    traceparent: Option<String>,
}

impl CallOptions {
    /// Returns options with this time-out, from the call on. It does not extend the time-out of the
    /// route, which is `timeouts.request` or that of a `[[route]]`.
    #[must_use]
    pub fn timeout(timeout: Duration) -> Self {
        Self::default().with_timeout(timeout)
    }

    /// Sets the time-out, as [`CallOptions::timeout`].
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the id of the call, which log messages and the slow log repeat. Without one, the host
    /// makes one when it needs it.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Adds a value that the method finds in its metadata: at most 16 of them, with at most 2 KiB
    /// of names and values together, as docs/protocol.md says.
    #[must_use]
    pub fn with_metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// Makes the call a part of a trace: a `traceparent` of W3C Trace Context. An invalid one is
    /// ignored, as the standard says.
    #[must_use]
    pub fn with_traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.traceparent = Some(traceparent.into());
        self
    }

    pub(super) fn timeout_of_call(&self) -> Option<Duration> {
        self.timeout
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns what the call carries; `None` if it carries nothing.
    pub(super) fn context(&self) -> Result<Option<ProgramContext>, CallError> {
        if self.metadata.is_empty() && self.traceparent.is_none() {
            return Ok(None);
        }
        let length: usize = self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if self.metadata.len() > META_MEMBERS_MAX || length > META_BYTES_MAX {
            return Err(CallError::Options("the metadata has more than 16 values, or more than 2 KiB"));
        }
        if self.metadata.contains_key("") {
            return Err(CallError::Options("a name in the metadata is empty"));
        }

        let meta = match self.metadata.is_empty() {
            true => None,
            false => Some(serde_json::to_string(&self.metadata).map_err(CallError::Params)?.into()),
        };
        let traceparent = self.traceparent.as_deref().and_then(TraceParent::parse);
        Ok(Some(ProgramContext { traceparent, tracestate: None, meta }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_metadata_within_the_limits_of_the_protocol() {
        assert!(CallOptions::timeout(Duration::from_secs(1)).context().unwrap().is_none());
        let context = CallOptions::default().with_metadata("a", "\"").context().unwrap().unwrap();
        assert_eq!(context.meta.as_deref(), Some(r#"{"a":"\""}"#));

        let many = (0..=META_MEMBERS_MAX)
            .fold(CallOptions::default(), |options, number| options.with_metadata(number.to_string(), ""));
        let long = CallOptions::default().with_metadata("a", "x".repeat(META_BYTES_MAX));
        for invalid in [many, long, CallOptions::default().with_metadata("", "x")] {
            assert!(matches!(invalid.context(), Err(CallError::Options(_))), "{invalid:?}");
        }
    }

    #[test]
    fn ignores_an_invalid_trace() {
        let invalid = CallOptions::default().with_traceparent("00-0-0-0").context().unwrap().unwrap();
        assert!(invalid.traceparent.is_none());
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let valid = CallOptions::default().with_traceparent(valid).context().unwrap().unwrap();
        assert!(valid.traceparent.is_some());
    }
}
