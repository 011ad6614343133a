//! Accounting of requests and replies: every request has exactly one reply, of the right kind.

use std::collections::BTreeMap;

use super::peer::{ASYNC_RESPONSE, Frame};

/// A violation of "one reply for each request".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Sent and never answered.
    Lost(String),
    /// Answered more than once.
    Duplicate(String),
    /// A reply to an id that was never sent.
    Unknown(String),
    /// A reply of a kind that does not belong to the request.
    WrongKind(String),
    /// A reply without an id, or with both or neither of `result` and `error`.
    InvalidReply(String),
}

/// The requests by id, each with the codes of its replies; `None` stands for a result.
#[derive(Debug, Default)]
pub(crate) struct ReplyAccounting {
    answers: BTreeMap<String, Vec<Option<i64>>>,
    faults: Vec<Fault>,
}

impl ReplyAccounting {
    /// Records that an async request was sent.
    pub(crate) fn record_request(&mut self, id: &str) {
        let previous = self.answers.insert(id.to_owned(), Vec::new());
        assert!(previous.is_none(), "the test itself used the id {id:?} twice");
    }

    /// Records a frame from the host.
    pub(crate) fn record_reply(&mut self, frame: &Frame) {
        let json = frame.json();

        let code = json["error"]["code"].as_i64();
        let Some(id) = frame.id().filter(|_| json.get("result").is_some() != code.is_some()) else {
            self.faults.push(Fault::InvalidReply(format!("{frame:?}")));
            return;
        };
        if frame.kind != ASYNC_RESPONSE {
            self.faults.push(Fault::WrongKind(id.clone()));
        }

        match self.answers.get_mut(&id) {
            None => self.faults.push(Fault::Unknown(id)),
            Some(answers) => {
                answers.push(code);
                if answers.len() > 1 {
                    self.faults.push(Fault::Duplicate(id));
                }
            }
        }
    }

    /// Returns all recorded faults and the requests without a reply as an error.
    pub(crate) fn check(&self) -> Result<(), Vec<Fault>> {
        let lost = self.answers.iter().filter(|(_, answers)| answers.is_empty());
        let faults: Vec<_> =
            self.faults.iter().cloned().chain(lost.map(|(id, _)| Fault::Lost(id.clone()))).collect();

        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Returns the number of requests that were answered with this code; `None` counts results.
    pub(crate) fn count(&self, code: Option<i64>) -> usize {
        self.answers.values().filter(|answers| answers.first() == Some(&code)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::peer::{SYNC, V1_1};
    use super::*;

    fn reply(kind: u8, text: &str) -> Frame {
        Frame { version: V1_1, kind, payload: text.as_bytes().to_vec() }
    }

    fn result(id: &str) -> Frame {
        reply(ASYNC_RESPONSE, &format!(r#"{{"id":"{id}","result":1}}"#))
    }

    fn with_three_requests() -> ReplyAccounting {
        let mut accounting = ReplyAccounting::default();
        ["a", "b", "c"].iter().for_each(|id| accounting.record_request(id));
        accounting
    }

    #[test]
    fn accepts_one_reply_for_each_request() {
        let mut accounting = with_three_requests();
        accounting.record_reply(&result("b"));
        accounting.record_reply(&result("a"));
        accounting
            .record_reply(&reply(ASYNC_RESPONSE, r#"{"id":"c","error":{"code":-32001,"message":"late"}}"#));

        assert_eq!(accounting.check(), Ok(()));
        assert_eq!((accounting.count(None), accounting.count(Some(-32001))), (2, 1));
    }

    #[test]
    fn detects_lost_duplicate_unknown_and_invalid_replies() {
        let mut accounting = with_three_requests();
        accounting.record_reply(&result("a"));
        accounting.record_reply(&result("c"));
        assert_eq!(accounting.check(), Err(vec![Fault::Lost("b".into())]));

        let mut accounting = with_three_requests();
        ["a", "b", "c", "b"].iter().for_each(|id| accounting.record_reply(&result(id)));
        assert_eq!(accounting.check(), Err(vec![Fault::Duplicate("b".into())]));

        let mut accounting = with_three_requests();
        ["a", "b", "c", "d"].iter().for_each(|id| accounting.record_reply(&result(id)));
        assert_eq!(accounting.check(), Err(vec![Fault::Unknown("d".into())]));

        let mut accounting = with_three_requests();
        ["a", "b"].iter().for_each(|id| accounting.record_reply(&result(id)));
        accounting.record_reply(&reply(SYNC, r#"{"id":"c","result":1}"#));
        assert_eq!(accounting.check(), Err(vec![Fault::WrongKind("c".into())]));

        let mut accounting = with_three_requests();
        ["a", "b", "c"].iter().for_each(|id| accounting.record_reply(&result(id)));
        accounting.record_reply(&reply(ASYNC_RESPONSE, r#"{"id":"c"}"#));
        assert!(matches!(accounting.check().unwrap_err()[..], [Fault::InvalidReply(_)]));
    }
}
