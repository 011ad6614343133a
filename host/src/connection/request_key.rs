//! The key of a request in flight.

/// Names one request in flight of a connection.
///
/// The place is reused by later requests. The epoch is not, so that a late reply is not mistaken
/// for the reply to a newer request in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestKey {
    pub(super) place: usize,
    pub(super) epoch: u64,
}
