//! The order in which an ordinary host answers async requests that are there at the same time.

use crate::wire::Frame;

/// Most requests held back to be answered in another order than they came.
const BATCH: usize = 256;

/// Who is answered first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As they came.
    Fifo,
    /// The last first.
    Lifo,
    /// In an order that looks random and is the same at every run.
    Shuffled,
}

impl Order {
    /// The order of this name.
    pub(crate) fn parse(name: &str) -> Option<Order> {
        match name {
            "fifo" => Some(Order::Fifo),
            "lifo" => Some(Order::Lifo),
            "shuffled" => Some(Order::Shuffled),
            _ => None,
        }
    }

    /// How many requests may wait for others to come.
    pub(crate) fn batch(self) -> usize {
        if self == Order::Fifo { 1 } else { BATCH }
    }

    /// Puts requests into the order of their answers.
    pub(crate) fn arrange(self, requests: &mut [Frame]) {
        match self {
            Order::Fifo => {}
            Order::Lifo => requests.reverse(),
            Order::Shuffled => {
                // Fisher and Yates with Knuth's MMIX multiplier, seeded by the count: no two runs differ.
                let mut state = requests.len() as u64;
                for last in (1..requests.len()).rev() {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let other = usize::try_from(state >> 33).unwrap_or(0) % (last + 1);
                    requests.swap(last, other);
                }
            }
        }
    }
}
