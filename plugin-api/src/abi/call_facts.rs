//! The facts about a running call that a plugin may query.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::sync::{Arc, OnceLock};

use super::call_context::{CallContext, CallerRef, Content};
use super::cancellation::Cancellation;
use crate::Run;

/// The host's record of one call.
#[derive(Debug)]
pub struct CallFacts<'a> {
    /// The deadline, in nanoseconds of [`Services::now`](super::Services::now): `host_deadline`, or
    /// earlier if the client waits less long.
    pub deadline: u64,
    /// The deadline that the host has set by its own limits. A call that is late by this one is a
    /// fault of the plugin; a call that is only late for its client is not.
    pub host_deadline: u64,
    /// The id of the request, for logs.
    pub id: RequestId<'a>,
    /// The number of nested calls that led to this one; 0 for a request from a socket.
    pub depth: u32,
    /// The way the method runs.
    pub run: Run,
    /// The trial of the plugin's circuit breaker that this call decides, if it is a trial call.
    pub trial: Option<NonZeroU64>,
    /// Set when nobody waits for the reply any more.
    pub cancelled: Cancellation,
    /// The type of the params.
    pub content: Content,
    /// The sender of the request that led to this call.
    pub caller: CallerRef<'a>,
    /// Trace and metadata of the request; `None` if it has neither.
    pub context: Option<Arc<CallContext>>,
}

impl<'a> CallFacts<'a> {
    /// Creates the record of a call that the program of the host makes, without trace and metadata.
    #[must_use]
    pub fn new(deadline: u64, id: RequestId<'a>, run: Run) -> Self {
        Self {
            deadline,
            host_deadline: deadline,
            id,
            depth: 0,
            run,
            trial: None,
            cancelled: Cancellation::default(),
            content: Content::Json,
            caller: CallerRef::program(),
            context: None,
        }
    }

    /// Returns whether the client waits less long than the host would.
    #[must_use]
    pub fn is_deadline_of_client(&self) -> bool {
        self.deadline < self.host_deadline
    }

    /// Returns whether the method may wait: not on an I/O thread, nor on one that polls futures.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        self.run == Run::Blocking
    }
}

/// The id of a request as text: the client's, or one that is generated at its first use.
#[derive(Debug)]
pub struct RequestId<'a> {
    given: Option<Given<'a>>,
    generated: OnceLock<String>,
    generate: fn() -> String,
}

#[derive(Debug, Clone)]
enum Given<'a> {
    Text(Cow<'a, str>),
    /// A JSON token without escapes, shared with other owners.
    Token(Arc<str>),
}

impl Given<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Token(token) => {
                token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(token)
            }
        }
    }
}

impl<'a> RequestId<'a> {
    /// Creates the id from `given`, the text of the client's id. If the client sent none,
    /// `generate` is called once, at the first use.
    #[must_use]
    pub fn new(given: Option<Cow<'a, str>>, generate: fn() -> String) -> Self {
        Self { given: given.map(Given::Text), generated: OnceLock::new(), generate }
    }

    /// Creates the id from a JSON token of the client: a string without escapes, or an integer.
    #[must_use]
    pub fn of_token(token: Arc<str>, generate: fn() -> String) -> Self {
        Self { given: Some(Given::Token(token)), generated: OnceLock::new(), generate }
    }

    /// Returns the text of the id, and generates the id if necessary.
    #[must_use]
    pub fn text(&self) -> &str {
        match &self.given {
            Some(given) => given.text(),
            None => self.generated.get_or_init(self.generate),
        }
    }

    /// Returns the text of the id, or `None` if it would have to be generated.
    #[must_use]
    pub fn known(&self) -> Option<&str> {
        self.given.as_ref().map(Given::text).or_else(|| self.generated.get().map(String::as_str))
    }

    /// Makes `id` the id of a request without one, unless another was generated already. Returns
    /// whether `id` is the id of the request from now on.
    pub fn adopt(&self, id: String) -> bool {
        self.given.is_none() && self.generated.set(id).is_ok()
    }

    /// Returns the same id without borrowed data.
    #[must_use]
    pub fn to_owned(&self) -> RequestId<'static> {
        match &self.given {
            Some(Given::Token(token)) => RequestId::of_token(Arc::clone(token), self.generate),
            _ => RequestId::new(self.known().map(|text| Cow::Owned(text.to_owned())), self.generate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never() -> String {
        panic!("the client sent an id")
    }

    #[test]
    fn uses_the_id_of_the_client() {
        assert_eq!(RequestId::new(Some("7".into()), never).text(), "7");
        assert_eq!(RequestId::of_token("\"a\"".into(), never).text(), "a");
        assert_eq!(RequestId::of_token("42".into(), never).to_owned().text(), "42");
    }

    #[test]
    fn generates_a_missing_id_at_its_first_use_and_keeps_it() {
        let id = RequestId::new(None, || "generated".to_owned());
        assert_eq!((id.known(), id.to_owned().known()), (None, None));
        assert_eq!(id.text(), "generated");
        assert_eq!((id.known(), id.to_owned().known()), (Some("generated"), Some("generated")));
    }

    #[test]
    fn adopts_an_id_only_if_there_is_none() {
        let id = RequestId::new(None, || "generated".to_owned());
        assert!(id.adopt("adopted".to_owned()) && !id.adopt("other".to_owned()));
        assert_eq!(id.text(), "adopted");
        assert!(!RequestId::new(Some("7".into()), never).adopt("adopted".to_owned()));
    }
}
