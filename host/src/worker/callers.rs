//! The callers of the calls on a channel, each sent once for many calls.
//!
//! All requests of a connection have the same caller, which takes about 60 bytes of a message and
//! three allocations in the worker. So both ends keep a table with [`PLACES`] places, and a call
//! names the place of its caller by one byte. A caller whose place has another one is sent with the
//! call and replaces it, at both ends, because messages arrive in order. The table needs no other
//! messages and cannot grow.

use std::sync::Arc;

use jackfield_plugin_api::abi::{CallerFacts, CallerRef};

use super::message::InvalidMessage;
use super::message_context::{SentCaller, SentOrigin};

/// Connections that share a place send their callers again and again, so there are more places than
/// most hosts have busy connections.
const PLACES: usize = 256;

/// The table of the sending end.
#[derive(Default)]
pub(crate) struct SentCallers(Vec<Option<Arc<CallerFacts>>>);

impl SentCallers {
    /// Names the caller of the next call that is sent.
    pub(crate) fn name<'a>(&mut self, caller: &'a Arc<CallerFacts>) -> SentCaller<'a> {
        if self.0.is_empty() {
            self.0.resize(PLACES, None);
        }
        let place = place_of(caller);
        let known = &mut self.0[usize::from(place)];
        if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, caller)) {
            return SentCaller { place, origin: None };
        }

        *known = Some(Arc::clone(caller));
        SentCaller { place, origin: Some(SentOrigin::of(caller.origin())) }
    }
}

/// Returns a place that depends on all bits of the address. The table holds the caller, so no other
/// one has its address.
fn place_of(caller: &Arc<CallerFacts>) -> u8 {
    let address = Arc::as_ptr(caller).addr() as u64;
    // The upper bits of the product by 2^64 divided by the golden ratio (Fibonacci hashing).
    let [place, ..] = address.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    place
}

/// The table of the receiving end.
#[derive(Default)]
pub(crate) struct ReceivedCallers(Vec<Option<Arc<CallerFacts>>>);

impl ReceivedCallers {
    /// Returns the caller of a call that was received.
    ///
    /// # Errors
    ///
    /// No caller was sent for its place.
    pub(crate) fn get(&mut self, sent: SentCaller<'_>) -> Result<CallerRef<'static>, InvalidMessage> {
        let place = usize::from(sent.place);
        if let Some(origin) = sent.origin {
            if self.0.is_empty() {
                self.0.resize(PLACES, None);
            }
            self.0[place] = Some(CallerFacts::new(origin.to_origin()));
        }
        let known = self.0.get(place).and_then(Option::as_ref);
        known.map(|caller| CallerRef::Shared(Arc::clone(caller))).ok_or(InvalidMessage::Value)
    }
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::abi::{Credentials, Origin};

    use super::*;

    fn connection(pid: u32) -> Arc<CallerFacts> {
        let credentials = Some(Credentials { uid: 1, gid: 2, pid });
        CallerFacts::new(Origin::Local { listener: "run/a.sock".into(), credentials })
    }

    #[test]
    fn sends_each_caller_once_while_it_keeps_its_place() {
        let (mut sent, mut received) = (SentCallers::default(), ReceivedCallers::default());
        let caller = connection(7);
        for call in 0..3 {
            let named = sent.name(&caller);
            assert_eq!(named.origin.is_some(), call == 0);
            assert_eq!(received.get(named).unwrap().get().json(), caller.json());
        }
    }

    #[test]
    fn agrees_on_more_callers_than_it_has_places() {
        let (mut sent, mut received) = (SentCallers::default(), ReceivedCallers::default());
        let callers: Vec<_> = (0..1000).map(connection).collect();
        for caller in callers.iter().chain(callers.iter().rev()) {
            let named = sent.name(caller);
            assert_eq!(received.get(named).unwrap().get().origin(), caller.origin());
        }
        assert!(sent.0.len() == PLACES && received.0.len() == PLACES);
    }

    #[test]
    fn refuses_a_place_without_a_caller() {
        let mut received = ReceivedCallers::default();
        let unknown = SentCaller { place: 9, origin: None };
        assert!(received.get(unknown).is_err());
        received.get(SentCaller { place: 8, origin: Some(SentOrigin::Program) }).unwrap();
        assert!(received.get(unknown).is_err());
    }
}
