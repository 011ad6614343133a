//! A stream and its pieces: the input of the two targets that split a stream into payloads.

use jackfield_protocol::FrameLimit;

/// The limits that an input selects from, in bytes. Most are small, so that streams of a few
/// hundred bytes exceed them.
const LIMITS: [u32; 8] = [0, 1, 3, 16, 64, 256, 4096, u32::MAX];

/// A stream of bytes that arrives in pieces.
pub(crate) struct Stream<'a> {
    pub(crate) limit: FrameLimit,
    /// The variant of the reader. Each target defines the meaning of the bits.
    pub(crate) variant: u8,
    sizes: &'a [u8],
    pub(crate) bytes: &'a [u8],
}

impl<'a> Stream<'a> {
    /// Reads an input: the first byte selects the limit and the variant, the second is the number
    /// of piece sizes that follow, and the rest is the stream.
    pub(crate) fn of(input: &'a [u8]) -> Option<Self> {
        let [choice, count, rest @ ..] = input else { return None };
        let (sizes, bytes) = rest.split_at_checked(usize::from(count % 16))?;
        let limit = FrameLimit::new(LIMITS[usize::from(choice % 8)]);
        Some(Self { limit, variant: choice / 8, sizes, bytes })
    }

    /// Returns the length of the stream after each piece. The sizes repeat; without sizes, the
    /// stream arrives in one piece.
    pub(crate) fn arrivals(&self) -> impl Iterator<Item = usize> {
        let mut sizes = self.sizes.iter().cycle();
        let mut arrived = 0;
        std::iter::from_fn(move || {
            let left = self.bytes.len() - arrived;
            // A size of 0 counts as 1, because every read returns at least one byte.
            let size = sizes.next().map_or(left, |size| usize::from(*size).max(1).min(left));
            arrived += size;
            (size > 0).then_some(arrived)
        })
    }
}

/// Returns an input with these piece sizes. `limit` is an index in [`LIMITS`], plus 8 times the
/// variant.
pub(crate) fn input(limit: u8, sizes: &[u8], stream: &[u8]) -> Vec<u8> {
    let count = u8::try_from(sizes.len()).expect("at most 15 sizes");
    [&[limit, count][..], sizes, stream].concat()
}
