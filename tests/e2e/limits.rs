//! Limits that hold: each refusal is an answer with its code, is counted, and costs nobody else anything.

mod buffers;
mod connections;
mod descriptors;
mod in_flight;
mod slow;
