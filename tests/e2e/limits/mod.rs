//! Limits that hold: each refusal is an answer with its code, is counted, and costs nobody else
//! anything.

mod buffers;
mod busy_polling;
mod connections;
mod deadlines;
mod descriptors;
mod in_flight;
mod slow_clients;
