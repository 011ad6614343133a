//! A stream and how it arrives: the input of the two targets that cut a stream into payloads.

use jackfield_protocol::FrameLimit;

/// The limits that inputs choose from, in bytes: small enough that streams of a few hundred bytes pass all of them.
const LIMITS: [u32; 8] = [0, 1, 3, 16, 64, 256, 4096, u32::MAX];

/// A stream of bytes that comes in pieces.
pub(crate) struct Stream<'a> {
    pub(crate) limit: FrameLimit,
    /// How the reader deviates from the plain one; what the bits mean is the target's matter.
    pub(crate) way: u8,
    sizes: &'a [u8],
    pub(crate) bytes: &'a [u8],
}

impl<'a> Stream<'a> {
    /// The first byte chooses the limit and the way, the second how many bytes of piece sizes follow; the rest is the
    /// stream.
    pub(crate) fn of(input: &'a [u8]) -> Option<Self> {
        let [choice, count, rest @ ..] = input else { return None };
        let (sizes, bytes) = rest.split_at_checked(usize::from(count % 16))?;
        let limit = FrameLimit::new(LIMITS[usize::from(choice % 8)]);
        Some(Self { limit, way: choice / 8, sizes, bytes })
    }

    /// How much of the stream has arrived after each piece. The sizes are used in turn; without any, it comes whole.
    pub(crate) fn arrivals(&self) -> impl Iterator<Item = usize> {
        let mut sizes = self.sizes.iter().cycle();
        let mut arrived = 0;
        std::iter::from_fn(move || {
            let left = self.bytes.len() - arrived;
            // A size of 0 counts as 1: every read brings something.
            let size = sizes.next().map_or(left, |size| usize::from(*size).max(1).min(left));
            arrived += size;
            (size > 0).then_some(arrived)
        })
    }
}

/// An input that is cut at the given sizes under the limit of this number in the list.
pub(crate) fn input(limit: u8, sizes: &[u8], stream: &[u8]) -> Vec<u8> {
    let count = u8::try_from(sizes.len()).expect("a few sizes");
    [&[limit, count][..], sizes, stream].concat()
}
