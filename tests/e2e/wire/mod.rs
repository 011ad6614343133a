//! The framing: every kind and version, lengths, what only a server sends, and clients that end in
//! the middle.

mod batches;
mod concurrent_requests;
mod connection_end;
mod disconnects;
mod envelope;
mod kinds;
mod lengths;
mod line_framing;
mod reply_order;
mod vectors;
