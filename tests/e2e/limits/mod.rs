//! Limits of connections, requests, memory, descriptors and time. Exceeding one is answered with
//! its error code, counted, and affects no other client.

mod buffers;
mod busy_polling;
mod connections;
mod deadlines;
mod descriptors;
mod in_flight;
mod slow_clients;
