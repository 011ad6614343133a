//! The framing: every kind and version, lengths, what only a server sends, and clients that end in the middle.

mod gone;
mod kinds;
mod lengths;
mod many;
