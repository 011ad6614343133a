//! The books of a test: every request that was sent has exactly one reply in the end, of its own kind.

use std::collections::BTreeMap;

use super::peer::{ASYNC_RESPONSE, Frame};

/// What is wrong with the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Sent and never answered.
    Lost(String),
    /// Answered again.
    Duplicate(String),
    /// Answered and never sent.
    Unknown(String),
    /// A reply of another kind than the request asks for.
    WrongKind(String),
    /// A reply without an id, or with both a result and an error, or with neither.
    NoReply(String),
}

/// Requests by id, and how often each was answered.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    answers: BTreeMap<String, Vec<Option<i64>>>,
    faults: Vec<Fault>,
}

impl Ledger {
    /// An async request was sent.
    pub(crate) fn sent(&mut self, id: &str) {
        let before = self.answers.insert(id.to_owned(), Vec::new());
        assert!(before.is_none(), "the test itself used the id {id:?} twice");
    }

    /// A frame came.
    pub(crate) fn came(&mut self, frame: &Frame) {
        let json = frame.json();
        let code = json["error"]["code"].as_i64();
        let Some(id) = frame.id().filter(|_| json.get("result").is_some() != code.is_some()) else {
            self.faults.push(Fault::NoReply(format!("{frame:?}")));
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

    /// Every request was answered once.
    pub(crate) fn check(&self) -> Result<(), Vec<Fault>> {
        let lost = self.answers.iter().filter(|(_, answers)| answers.is_empty());
        let faults: Vec<_> =
            self.faults.iter().cloned().chain(lost.map(|(id, _)| Fault::Lost(id.clone()))).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// How many were answered with this code; `None` counts results.
    pub(crate) fn outcomes(&self, code: Option<i64>) -> usize {
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

    fn of_three() -> Ledger {
        let mut ledger = Ledger::default();
        ["a", "b", "c"].iter().for_each(|id| ledger.sent(id));
        ledger
    }

    #[test]
    fn books_that_are_in_order() {
        let mut ledger = of_three();
        ledger.came(&result("b"));
        ledger.came(&result("a"));
        ledger.came(&reply(ASYNC_RESPONSE, r#"{"id":"c","error":{"code":-32001,"message":"late"}}"#));
        assert_eq!(ledger.check(), Ok(()));
        assert_eq!((ledger.outcomes(None), ledger.outcomes(Some(-32001))), (2, 1));
    }

    #[test]
    fn a_planted_loss_duplicate_stranger_and_mistake_are_seen() {
        let mut ledger = of_three();
        ledger.came(&result("a"));
        ledger.came(&result("c"));
        assert_eq!(ledger.check(), Err(vec![Fault::Lost("b".into())]));

        let mut ledger = of_three();
        ["a", "b", "c", "b"].iter().for_each(|id| ledger.came(&result(id)));
        assert_eq!(ledger.check(), Err(vec![Fault::Duplicate("b".into())]));

        let mut ledger = of_three();
        ["a", "b", "c", "d"].iter().for_each(|id| ledger.came(&result(id)));
        assert_eq!(ledger.check(), Err(vec![Fault::Unknown("d".into())]));

        let mut ledger = of_three();
        ["a", "b"].iter().for_each(|id| ledger.came(&result(id)));
        ledger.came(&reply(SYNC, r#"{"id":"c","result":1}"#));
        assert_eq!(ledger.check(), Err(vec![Fault::WrongKind("c".into())]));

        let mut ledger = of_three();
        ["a", "b", "c"].iter().for_each(|id| ledger.came(&result(id)));
        ledger.came(&reply(ASYNC_RESPONSE, r#"{"id":"c"}"#));
        assert!(matches!(ledger.check().unwrap_err()[..], [Fault::NoReply(_)]));
    }
}
