//! The documents and the project, checked against each other.

mod consistency;
mod log_reference;
mod message_pattern;
