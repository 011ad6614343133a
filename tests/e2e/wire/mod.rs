//! The protocol on the wire: frames, envelopes, the line framing, the order of replies, and the end
//! of connections.

mod batches;
mod concurrent_requests;
mod connection_end;
mod disconnects;
mod envelope;
mod frozen_conversations;
mod kinds;
mod lengths;
mod line_framing;
mod plain_text;
mod reply_order;
mod unterminated_lines;
mod vectors;
