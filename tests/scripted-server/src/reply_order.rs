//! The order in which an ordinary host answers async requests that arrive together.

use crate::wire::Frame;

/// Maximum number of requests that are held back to be answered in another order.
const BATCH: usize = 256;

/// The order of replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyOrder {
    /// In the order of the requests.
    Fifo,
    /// In the opposite order.
    Lifo,
    /// In a pseudo-random order that is the same in every run.
    Shuffled,
}

impl ReplyOrder {
    /// Returns the order with this name.
    pub(crate) fn parse(name: &str) -> Option<ReplyOrder> {
        match name {
            "fifo" => Some(ReplyOrder::Fifo),
            "lifo" => Some(ReplyOrder::Lifo),
            "shuffled" => Some(ReplyOrder::Shuffled),
            _ => None,
        }
    }

    /// Returns the number of requests that are answered together at most.
    pub(crate) fn batch(self) -> usize {
        if self == ReplyOrder::Fifo { 1 } else { BATCH }
    }

    /// Sorts requests into the order of their replies.
    pub(crate) fn arrange(self, requests: &mut [Frame]) {
        match self {
            ReplyOrder::Fifo => {}
            ReplyOrder::Lifo => requests.reverse(),
            ReplyOrder::Shuffled => shuffle(requests),
        }
    }
}

/// Shuffles with the algorithm of Fisher and Yates. The generator has Knuth's MMIX constants, and
/// its seed is the number of requests, so that all runs are equal.
fn shuffle(requests: &mut [Frame]) {
    let mut state = requests.len() as u64;
    for last in (1..requests.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from(state >> 33).unwrap_or(0) % (last + 1);
        requests.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arranged(order: ReplyOrder) -> Vec<u8> {
        let mut requests: Vec<Frame> =
            (0..20).map(|kind| Frame { version: 0x0101, kind, payload: Vec::new() }).collect();
        order.arrange(&mut requests);
        requests.into_iter().map(|request| request.kind).collect()
    }

    #[test]
    fn arranges_requests_in_the_named_order() {
        let forward: Vec<u8> = (0..20).collect();
        let backward: Vec<u8> = (0..20).rev().collect();
        assert_eq!(arranged(ReplyOrder::parse("fifo").unwrap()), forward);
        assert_eq!(arranged(ReplyOrder::parse("lifo").unwrap()), backward);
        assert!(ReplyOrder::parse("random").is_none());
    }

    #[test]
    fn shuffles_in_the_same_way_in_every_run() {
        let first = arranged(ReplyOrder::Shuffled);
        assert_eq!(first, arranged(ReplyOrder::Shuffled));

        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert!(sorted != first, "nothing was shuffled");
        assert_eq!(sorted, (0..20).collect::<Vec<u8>>(), "no request is lost");
    }
}
