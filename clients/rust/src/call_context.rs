//! The trace and the metadata of a call, checked before they are sent.

use std::borrow::Cow;

use jackfield_protocol::{TraceParent, limits};
use serde_json::{Map, Value};

use crate::error::EncodeError;

/// The trace and the metadata of a call, or the defaults of a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallContext {
    pub(crate) traceparent: Option<String>,
    pub(crate) tracestate: Option<String>,
    /// Names and values, in the order in which they were set.
    pub(crate) meta: Vec<(String, String)>,
}

impl CallContext {
    /// Sets a member of the metadata, in place of one of the same name.
    pub(crate) fn set_meta(&mut self, name: String, value: String) {
        self.meta.retain(|(known, _)| *known != name);
        self.meta.push((name, value));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.traceparent.is_none() && self.tracestate.is_none() && self.meta.is_empty()
    }

    /// Returns this context, completed by the defaults of the client.
    ///
    /// A `tracestate` belongs to its `traceparent`, so that a call with a trace of its own takes
    /// none of the defaults.
    pub(crate) fn with_defaults<'a>(&'a self, defaults: &'a CallContext) -> Cow<'a, CallContext> {
        if defaults.is_empty() {
            return Cow::Borrowed(self);
        }
        if self.is_empty() {
            return Cow::Borrowed(defaults);
        }

        let mut merged = defaults.clone();
        if self.traceparent.is_some() {
            merged.traceparent.clone_from(&self.traceparent);
            merged.tracestate = None;
        }
        if self.tracestate.is_some() {
            merged.tracestate.clone_from(&self.tracestate);
        }
        for (name, value) in &self.meta {
            merged.set_meta(name.clone(), value.clone());
        }
        Cow::Owned(merged)
    }

    /// Checks everything that a host would reject or ignore.
    ///
    /// # Errors
    ///
    /// The trace is not one of W3C Trace Context, or the metadata is over its limits.
    pub(crate) fn check(&self) -> Result<(), EncodeError> {
        if let Some(text) = self.traceparent.as_ref().filter(|text| TraceParent::parse(text).is_none()) {
            return Err(EncodeError::TraceParent(text.clone()));
        }
        if self.tracestate.is_some() && self.traceparent.is_none() {
            return Err(EncodeError::TraceStateAlone);
        }
        let length = self.tracestate.as_ref().map_or(0, String::len);
        if length > limits::TRACESTATE_MAX {
            return Err(EncodeError::TraceStateLength(length));
        }

        if self.meta.len() > limits::META_MEMBERS_MAX {
            return Err(EncodeError::MetaMembers(self.meta.len()));
        }
        if self.meta.iter().any(|(name, _)| name.is_empty()) {
            return Err(EncodeError::MetaName);
        }
        let bytes = self.meta.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > limits::META_BYTES_MAX {
            return Err(EncodeError::MetaBytes(bytes));
        }
        Ok(())
    }

    /// Returns the metadata as a JSON object.
    pub(crate) fn meta_json(&self) -> Option<String> {
        if self.meta.is_empty() {
            return None;
        }
        let members = self.meta.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        Some(Value::Object(Map::from_iter(members)).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn context(traceparent: Option<&str>, tracestate: Option<&str>, meta: &[(&str, &str)]) -> CallContext {
        let mut context = CallContext {
            traceparent: traceparent.map(str::to_owned),
            tracestate: tracestate.map(str::to_owned),
            meta: Vec::new(),
        };
        for (name, value) in meta {
            context.set_meta((*name).to_owned(), (*value).to_owned());
        }
        context
    }

    #[test]
    fn refuses_what_a_host_would_reject_or_ignore() {
        let check = |context: CallContext| context.check();
        assert!(matches!(check(context(Some("00-1-2-01"), None, &[])), Err(EncodeError::TraceParent(_))));
        assert!(matches!(check(context(None, Some("a=b"), &[])), Err(EncodeError::TraceStateAlone)));
        let long = "x".repeat(513);
        let error = check(context(Some(TRACE), Some(&long), &[]));
        assert!(matches!(error, Err(EncodeError::TraceStateLength(513))));

        let names: Vec<String> = (0..17).map(|n| n.to_string()).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
        assert!(matches!(check(context(None, None, &many)), Err(EncodeError::MetaMembers(17))));
        assert!(matches!(check(context(None, None, &[("", "x")])), Err(EncodeError::MetaName)));
        let value = "x".repeat(2048);
        let error = check(context(None, None, &[("a", &value)]));
        assert!(matches!(error, Err(EncodeError::MetaBytes(2049))));

        let value = "x".repeat(2047);
        check(context(Some(TRACE), Some(&long[..512]), &[("a", &value)])).unwrap();
        check(context(None, None, &many[..16])).unwrap();
    }

    #[test]
    fn completes_a_call_with_the_defaults_of_the_client() {
        let defaults = context(Some(TRACE), Some("default"), &[("tenant", "a"), ("job", "1")]);
        let own = TRACE.replace("b7ad", "c7ad");

        let merged = context(Some(&own), None, &[("job", "2")]);
        let merged = merged.with_defaults(&defaults);
        assert_eq!((merged.traceparent.as_deref(), merged.tracestate.as_deref()), (Some(own.as_str()), None));
        assert_eq!(merged.meta_json().unwrap(), r#"{"job":"2","tenant":"a"}"#);

        let merged = context(None, Some("own"), &[]);
        let merged = merged.with_defaults(&defaults);
        assert_eq!((merged.traceparent.as_deref(), merged.tracestate.as_deref()), (Some(TRACE), Some("own")));
    }
}
